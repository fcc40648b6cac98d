"""`aecv apply`: a CV's values along any trajectory."""

from pathlib import Path
from typing import Any

import click

from aecv.commands.command import Command, is_debugging, say
from aecv.commands.options import FOREIGN, color_option, foreign_options, frame_files, frame_options
from aecv.ground.errors import SettingsError
from aecv.ground.logs import set_up_logging

PICTURES = (".png", ".pdf", ".svg")


@click.command(cls=Command)
@click.argument("cv")
@click.argument("frames", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TRAJ...")
@click.option(
    "--system",
    "system_name",
    help="A shipped system, or a folder with a system.toml.  [default: the one that the CV was learned "
    "on, or the atoms of --top]",
)
@frame_options(required=True, named=False)
@foreign_options
@color_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("xi.dat"),
    show_default=True,
    help="A COLVAR file: time, xi_1 ..., observables, weight; or .npy with xi alone.",
)
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Draw the frames in the CV, to .png, .pdf or .svg."
)
def main(
    *,
    cv: str,
    system_name: str | None,
    color: tuple[str, ...],
    out: Path,
    picture: Path | None,
    **options: Any,
) -> None:
    """Values of CV for every frame of TRAJ...

    CV is a cv.pt or the folder of one, observables of the system (phi,psi), or another program's model.

    \b
    Examples:
      aecv apply cv traj.xtc
      aecv apply runs/ala2/iteration_05 a.dcd b.dcd --out xi.npy
      aecv apply cv traj.xtc --weights COLVAR --bias-column opes.bias --picture xi.png
      aecv apply cv traj.xtc --top x.pdb
      aecv apply phi,psi traj.xtc --system ala2 --color COLVAR:ene
    """
    for path in (out, picture):
        if path is not None and path.exists():
            raise SettingsError(f"{path}: exists already; delete it or choose another name")
    if picture is not None and picture.suffix.lower() not in PICTURES:
        raise SettingsError(f"--picture {picture}: needs one of {', '.join(PICTURES)} as its ending")
    files = frame_files(options)
    assert files is not None
    from aecv.results import plots
    from aecv.workflow.given_cv.given import GivenCV
    from aecv.workflow.study.applied import apply_built, colours_of
    from aecv.workflow.study.subjects import frames_subject

    set_up_logging(works=True, debug=is_debugging())
    system = frames_subject((cv,), files, system_name)
    made = GivenCV(what=cv, **{name: options[name] for name in FOREIGN})
    found = apply_built(made(system), files, system, colours=colours_of(color))
    out.parent.mkdir(parents=True, exist_ok=True)
    found.write(out)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        plots.save(found.plot(), picture)
    d = found.xi.shape[1]
    say(f"xi of {found.n_frames} frames of {found.system}, {d} component{'s' if d > 1 else ''}")
    say(f"written to {out}{'' if picture is None else f' and {picture}'}")
