"""Options that commands share, and what is made of them: settings, frames, a system, workers."""

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aecv.commands.command import SHORT_FOR, is_debugging, run_folder, say_lines
from aecv.ground.errors import SettingsError
from aecv.ground.logs import set_up_logging

if TYPE_CHECKING:
    from aecv.models.cvs.cv import CV
    from aecv.molecules.spec import SystemSpec
    from aecv.sampling.processes.workers import Workers
    from aecv.sampling.system.molecular_system import MolecularSystem
    from aecv.workflow.frames.input_frames import FrameFiles
    from aecv.workflow.frames.input_weights import Weights

logger = logging.getLogger(__name__)


class _Finite(click.FloatRange):
    """A number within bounds; click's own type lets NaN and infinity pass them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


def finite(low: float | None = None, high: float | None = None, *, above: bool = False) -> click.FloatRange:
    """The type of every option that is a number: finite, from low to high.

    Args:
        above: whether low itself is left out.
    """
    return _Finite(min=low, max=high, min_open=above)


ENGINES = ("native", "plumed", "torchforce")
"""What --engine takes; the settings check it again, but their import takes longer than a help text may."""
system_option = click.option(
    "--system",
    "system_name",
    required=True,
    help="A shipped system (ala2, mueller_brown), or a folder with a system.toml.",
)
model_option = click.option("--model", metavar="NAME", help="Kind of model.  [default: ae]")
bias_components_option = click.option(
    "--bias-components",
    metavar="I,J|auto",
    help="Components of the bottleneck that are the CV, up to three, 0 the most important; auto: the best "
    "two.  [default: all of up to three, else auto]",
)
device_option = click.option(
    "--device", type=click.Choice(("cpu", "cuda", "auto")), help="Where networks are trained.  [default: cpu]"
)
seed_option = click.option("--seed", type=click.IntRange(min=0), help="Root of all random numbers.")
platform_option = click.option("--platform", help="OpenMM platform: auto, Reference, CPU, CUDA, OpenCL, HIP.")
config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file laid over the system's settings."
)


def set_option(example: str = "training.restarts=8") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--set, whose help has an example."""
    return click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"One setting, for example {example}; may be repeated.",
    )


_RUN_OPTIONS = (
    seed_option,
    platform_option,
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        help="What runs the biased dynamics.  [default: native]",
    ),
    click.option("--walkers", type=click.IntRange(min=1), help="Walkers, which share one bias."),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Processes that run the walkers; they change no result.  [default: one per core]",
    ),
    click.option(
        "--dask",
        metavar="ADDRESS",
        help="Run the walkers on the workers of this Dask scheduler, or scheduler file.",
    ),
    click.option(
        "--devices",
        metavar="0,1,...",
        help="GPUs that worker processes take in turn.",
    ),
    click.option(
        "--starts",
        type=click.Choice(["auto", "one", "given"]),
        help="Starting structures: found by a hot run, the one of the system, or its list.",
    ),
    config_option,
    set_option(),
    click.option(
        "--quick",
        is_flag=True,
        help="A trial of about two minutes from start to report: all lengths short, by the system's speed.",
    ),
    click.option("--print-config", is_flag=True, help="Print all settings as TOML and stop."),
)
_SHORT_FOR = {
    "seed": "run.seed",
    "platform": "dynamics.platform",
    "engine": "sampling.engine",
    "starts": "starts.mode",
    "walkers": "sampling.walkers",
}


_FOREIGN_OPTIONS = (
    click.option(
        "--atoms",
        metavar="SELECTION",
        help="Atoms of another program's model: an mdtraj selection, or 0-based indices 4,6,8 in its order.",
    ),
    click.option(
        "--features",
        type=click.Path(path_type=Path),
        help="What another program's model takes instead of positions: a TOML or JSON list, see "
        "docs/howto/own_cv.md.",
    ),
    click.option(
        "--length-unit",
        type=click.Choice(["nm", "angstrom"]),
        default="nm",
        show_default=True,
        help="Of another program's positions and distances.",
    ),
    click.option(
        "--input-shape",
        metavar="SHAPE",
        help="Of another program's model: '(F, 3n)', '(n, 3)', ...  [default: (F, n, 3), else (F, 3n)]",
    ),
)
FOREIGN = ("atoms", "features", "length_unit", "input_shape")
"""What `foreign_options` give, by the names of `GivenCV`."""
color_option = click.option(
    "--color",
    metavar="FILE[:COLUMN]",
    multiple=True,
    help="A number per frame that colours a picture of them, as --weights from a file; may be repeated.",
)


def _together(options: Sequence[Callable[[Callable[..., Any]], Callable[..., Any]]]) -> Any:
    """One decorator that adds several options, in their order in the help."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


foreign_options = _together(_FOREIGN_OPTIONS)
"""What another program's model needs to be told."""
run_options = _together(_RUN_OPTIONS)
"""The options that commands which simulate a system share, besides `system_option`."""


def frame_options(*, required: bool, named: bool = True) -> Any:
    """--frames, --top, --stride and those of their weights: frames that a user brings; see `frame_files`.

    Args:
        required: whether there have to be frames.
        named: whether --frames names them; else an argument `frames` of the command does.
    """
    instead = "" if required else ", in place of dynamics or of a run"
    options = (
        click.option(
            "--frames",
            multiple=True,
            required=required,
            type=click.Path(path_type=Path),
            help=f"A trajectory (.xtc, .dcd, .nc, ...) of the system's atoms{instead}; may be repeated.",
        ),
        click.option(
            "--top",
            type=click.Path(path_type=Path),
            help="The topology of --frames (.pdb, .gro, .prmtop, ...).  [default: the system's]",
        ),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="A weight per frame: text, COLVAR, .csv, .xvg, .npy or .npz; rows with times belong to the "
            "frames of these times.  [default: equal]",
        ),
        click.option(
            "--weights-column",
            metavar="NAME|N",
            help="Column of --weights, by its name or its number from 1; needed where there are several.",
        ),
        click.option("--log-weights", is_flag=True, help="The column holds ln w."),
        click.option(
            "--bias-column",
            metavar="NAME[,NAME...]",
            help="Columns of --weights that hold a bias V in place of weights: w = exp(+V/kT).",
        ),
        click.option(
            "--bias-unit",
            type=click.Choice(["kJ/mol", "kcal/mol", "eV", "kT"]),
            help="Of the bias.  [default: kJ/mol]",
        ),
        click.option(
            "--bias-temperature",
            metavar="K",
            type=finite(0, above=True),
            help="Of the biased run.  [default: the system's dynamics.temperature_k]",
        ),
        click.option(
            "--stride",
            type=click.IntRange(1, 1_000_000_000),
            default=1,
            help="Take every n-th frame.  [default: 1]",
        ),
    )
    return _together(options if named else options[1:])


def frame_files(options: Mapping[str, Any]) -> "FrameFiles | None":
    """What `frame_options` say; None without --frames.

    Raises:
        SettingsError: when something is said about frames that are not given.
    """
    if not options["frames"]:
        told = [f"--{name}" for name in ("top", "weights") if options[name] is not None]
        told += _told_of_weights(options)
        told += ["--stride"] if options["stride"] != 1 else []
        if told:
            raise SettingsError(f"{', '.join(told)}: needs a trajectory; name it with --frames")
        return None
    from aecv.workflow.frames.input_frames import FrameFiles

    return FrameFiles(
        trajectories=tuple(options["frames"]),
        topology=options["top"],
        weights=_weights_of(options),
        stride=options["stride"],
    )


_OF_WEIGHTS = ("weights_column", "log_weights", "bias_column", "bias_unit", "bias_temperature")


def _told_of_weights(options: Mapping[str, Any]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in _OF_WEIGHTS if options[name] not in (None, False)]


def _weights_of(options: Mapping[str, Any]) -> "Weights | None":
    told = _told_of_weights(options)
    if options["weights"] is None:
        if told:
            raise SettingsError(f"{', '.join(told)}: needs a file of weights; name it with --weights")
        return None
    from aecv.workflow.frames.input_weights import Weights

    return Weights(
        source=options["weights"],
        column=options["weights_column"],
        is_log=options["log_weights"],
        bias=options["bias_column"] or (),
        bias_unit=options["bias_unit"] or "kJ/mol",
        temperature_k=options["bias_temperature"],
    )


def resume_option(may_change: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--resume, whose help says what may differ from the run so far."""
    return click.option("--resume", is_flag=True, help=f"Continue the run in --out. {may_change}".rstrip())


def begin(
    options: Mapping[str, Any],
    short_for: Mapping[str, str],
    *,
    suffix: str = "",
    cv: "Callable[[MolecularSystem], CV] | None" = None,
) -> "tuple[SystemSpec, Path] | None":
    """The system with its settings, those of --quick too, and the folder of its run; None where the settings
    were to be printed (--print-config), which is done then.

    Args:
        options: those of `system_option`, `resume_option`, `run_options`, and --out.
        short_for: options of this command that are short for a setting.
        suffix: of the system's name in that of the folder.
        cv: as in `load_trial`.
    """
    from aecv.ground.layers import to_toml
    from aecv.molecules.spec import load_system

    quick, resume, prints = options["quick"], options["resume"], options["print_config"]
    texts = (*options["assignments"], *overrides(options, short_for))
    load = partial(load_system, options["system_name"], config=options["config"], overrides=texts)
    spec = load()
    folder = run_folder(options["out"], f"{spec.name}{suffix}{'_trial' if quick else ''}")
    if not prints or quick or resume:
        set_up_logging(works=True, debug=is_debugging())
    if quick and not prints:
        from aecv.workflow.run_folder.store import check_folder

        check_folder(folder, resume=resume)  # a trial's speed takes a minute to measure
    if resume:
        spec = _resumed(spec, folder, load, quick=quick)
    elif quick:
        from aecv.workflow.planning.trial import load_trial

        with workers_of(options, spec) as workers:
            spec = load_trial(
                options["system_name"], config=options["config"], overrides=texts, cv=cv,
                n_processes=workers.count(), devices=workers.devices,
            )  # fmt: skip
    if prints:
        say_lines(to_toml(spec.settings), nl=False)
        return None
    return spec, folder


def _resumed(
    spec: "SystemSpec", folder: Path, load: "Callable[..., SystemSpec]", *, quick: bool
) -> "SystemSpec":
    """The system with the settings of the trial that a folder holds; as it is where that is none."""
    from aecv.workflow.planning.trial import stored_trial

    stored = stored_trial(folder)
    if stored is None:
        if quick and (folder / "run.json").is_file():
            raise SettingsError(f"{folder}: was begun without --quick; leave it out to resume it")
        return spec
    if not quick:
        logger.info(
            "%s: is a trial (--quick) and goes on as one; begin the run itself with another --out", folder
        )
    return load(trial=stored)


def workers_of(options: Mapping[str, Any], spec: "SystemSpec") -> "AbstractContextManager[Workers]":
    """The processes that --workers, --dask and --devices ask for."""
    from aecv.sampling.processes.opening import open_workers

    return open_workers(
        spec.settings.sampling.walkers,
        n_local=options["workers"],
        address=options["dask"],
        devices=options["devices"] or "",
    )


def overrides(options: Mapping[str, Any], keys: Mapping[str, str]) -> list[str]:
    """Options that are short for a setting, as --set has them; `keys` maps option to setting."""
    texts, both = [], {**_SHORT_FOR, **keys}
    click.get_current_context().meta[SHORT_FOR] = {
        key: f"--{option.replace('_', '-')}" for option, key in both.items()
    }
    for option, key in both.items():
        value = options[option]
        if value is not None:
            texts.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
    return texts


def slug(what: str) -> str:
    """A CV in the name of a file or folder: phi_psi for phi,psi, and a file's name without its ending."""
    path = Path(what)
    return re.sub(r"[^A-Za-z0-9-]+", "_", path.stem if path.suffix else path.name).strip("_") or "cv"
