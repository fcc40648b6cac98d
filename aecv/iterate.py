"""`python -m aecv.iterate`: the whole loop for a system, in one command."""

import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from aecv.ground.errors import AecvError

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--system",
    "system_name",
    required=True,
    help="A shipped system (ala2, mueller_brown), or a folder with a system.toml.",
)
@click.option("--iters", type=click.IntRange(min=1), help="Iterations, the unbiased one included.")
@click.option(
    "--ns",
    type=click.FloatRange(min=0, min_open=True),
    help="Simulated time per iteration, over all walkers.",
)
@click.option(
    "--final-ns",
    type=click.FloatRange(min=0),
    help="Simulated time of the production along the final CV; 0 for none.  [default: twice --ns]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/SYSTEM]")
@click.option("--seed", type=click.IntRange(min=0), help="Root of all random numbers.")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run in --out. --iters, --final-ns, [convergence], [production] and "
    "training.min_effective_frames may change, nothing else.",
)
@click.option("--platform", help="OpenMM platform: auto, Reference, CPU, CUDA, OpenCL, HIP.")
@click.option(
    "--engine",
    type=click.Choice(["native", "plumed", "torchforce"]),
    help="What runs the biased dynamics.  [default: native]",
)
@click.option(
    "--starts",
    type=click.Choice(["auto", "one", "given"]),
    help="Starting structures: found by a hot run, the one of the system, or its list.",
)
@click.option(
    "--pool",
    type=click.Choice(["mbar", "none"]),
    help="Train on the biased iterations together (mbar) or on the last one (none), whose error bars omit "
    "that of the bias.",
)
@click.option(
    "--stop-when-converged",
    is_flag=True,
    default=None,
    help="Stop at the first iteration that counts as converged.",
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file laid over the system's settings.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="One setting, for example training.restarts=8; may be repeated.",
)
@click.option("--print-config", is_flag=True, help="Print all settings as TOML and stop.")
@click.version_option(package_name="aecv")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(**options: Any) -> None:
    """Learn a collective variable by autoencoders and extended ABF (FEBILAE).

    \b
    Examples:
      python -m aecv.iterate --system ala2 --iters 10
      python -m aecv.iterate --system ala2 --iters 3 --ns 1 --out runs/quick
      python -m aecv.iterate --system ala2 --iters 20 --resume
    """
    try:
        _run(**options)
    except (AecvError, OSError) as error:
        if options["debug"]:
            traceback.print_exc()
        advice = "" if isinstance(error, AecvError) else "; mend that, then continue with --resume"
        click.echo(f"error: {error}{advice}", err=True)
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        click.echo("interrupted; continue with the same command and --resume", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _run(
    *,
    system_name: str,
    out: Path | None,
    resume: bool,
    config: Path | None,
    assignments: tuple[str, ...],
    print_config: bool,
    debug: bool,
    **options: Any,
) -> None:
    from aecv.ground.layers import to_toml
    from aecv.models.spec import load_system

    spec = load_system(system_name, config=config, overrides=(*assignments, *_overrides(options)))
    if print_config:
        click.echo(to_toml(spec.settings), nl=False)
        return
    # OpenMM and PyTorch take seconds to load: only when there is something for them to do
    from aecv import console
    from aecv.workflow.loop import iterate

    console.set_up_logging()
    # queues end jobs by SIGTERM: as Ctrl-C, so that what is known is saved and the way on is told
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = out if out is not None else Path("runs") / spec.name
    outcome = iterate(
        spec,
        folder,
        resume=resume,
        progress=console.bars,
        on_record=console.print_record,
    )
    click.echo(console.closing_words(outcome))
    made = f", {outcome.production.folder}/" if outcome.production else ""
    click.echo(f"results in {folder}: summary.json, pictures/, iteration_*/{made}")


def _overrides(options: dict[str, Any]) -> list[str]:
    """Options that are short for a setting."""
    keys = {
        "iters": "run.iterations",
        "seed": "run.seed",
        "ns": "sampling.ns",
        "final_ns": "production.ns",
        "platform": "dynamics.platform",
        "engine": "sampling.engine",
        "starts": "starts.mode",
        "pool": "pool.mode",
        "stop_when_converged": "convergence.stop",
    }
    texts = []
    for option, key in keys.items():
        value = options[option]
        if value is not None:
            texts.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
    return texts


if __name__ == "__main__":
    main()
