"""`aecv train`: a CV from frames that are there."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aecv.commands.command import Command, is_debugging, say, say_lines
from aecv.commands.options import (
    bias_components_option,
    color_option,
    config_option,
    device_option,
    finite,
    frame_files,
    frame_options,
    model_option,
    seed_option,
    set_option,
)
from aecv.ground.logs import set_up_logging

if TYPE_CHECKING:
    from aecv.molecules.spec import SystemSpec
    from aecv.molecules.subject import Subject


@click.command(cls=Command)
@click.option(
    "--system",
    "system_name",
    help="A shipped system (ala2, chignolin), or a folder with a system.toml; or give --atoms.",
)
@frame_options(required=True)
@click.option(
    "--atoms",
    metavar="SELECTION",
    help='In place of --system: those of --top that train, an mdtraj selection such as "name CA".',
)
@click.option(
    "--power",
    type=finite(0, 1),
    default=1.0,
    show_default=True,
    help="Of the weights that train: 1 for their ensemble, less for a closer look at rare frames.",
)
@model_option
@bias_components_option
@device_option
@color_option
@seed_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the CV.")
@config_option
@set_option("autoencoder.latent=1")
def main(
    *,
    system_name: str | None,
    atoms: str | None,
    power: float,
    model: str | None,
    bias_components: str | None,
    device: str | None,
    color: tuple[str, ...],
    seed: int | None,
    out: Path,
    config: Path | None,
    assignments: tuple[str, ...],
    **options: Any,
) -> None:
    """Train an autoencoder on given frames and weights, and write its encoder as a CV.

    \b
    Examples:
      aecv train --system ala2 --frames traj.xtc --out cv
      aecv train --system my_system --frames a.dcd --frames b.dcd --top x.pdb --weights w.npy --out cv
      aecv train --frames x.xtc --top x.pdb --atoms "name CA" --out cv
    """
    short_for = {
        "run.seed": seed,
        "autoencoder.model": model,
        "autoencoder.bias_components": bias_components,
        "training.device": device,
    }
    texts = (*assignments, *(f"{key}={value}" for key, value in short_for.items() if value is not None))
    if (system_name is None) == (atoms is None):
        raise click.UsageError(
            "needs '--system', whose cv.atoms train ('--set cv.atoms=...' takes others), or '--atoms' of the "
            "topology that '--top' names; give one of the two"
        )
    files = frame_files(options)
    assert files is not None
    what: SystemSpec | Subject
    if system_name is not None:
        from aecv.molecules.spec import load_system

        spec = what = load_system(system_name, config=config, overrides=texts)
    else:
        from aecv.workflow.frames.input_frames import check_frames
        from aecv.workflow.frames.own_topology import read_subject

        what = read_subject(files, atoms=str(atoms), config=config, overrides=texts)
        check_frames(files, what)  # what does not fit is told before PyTorch is loaded
        spec = what.spec
    # OpenMM and PyTorch take seconds to load: only when there is something for them to do
    from aecv.commands import console, screens
    from aecv.workflow.study.applied import colours_of
    from aecv.workflow.study.offline import train

    set_up_logging(works=True, debug=is_debugging())
    colours = colours_of(color)
    trained = train(what, files, out, power=power, colours=colours, progress=console.bars)
    say(f"CV of '{spec.settings.cv.atoms}' of {spec.name}: {screens.learned_text(trained.cv)}")
    say_lines(screens.trained_text(trained))
    say(
        f"written to {out}: cv.pt, cv.npz, cv.json, training.json, frames.json, xi.dat (xi of every frame), "
        "latent_map.png"
    )
