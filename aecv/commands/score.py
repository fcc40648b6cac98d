"""`aecv score`: is one CV a function of another?"""

import json
from pathlib import Path
from typing import Any

import click

from aecv.commands.command import Command, say_lines
from aecv.commands.options import frame_files, frame_options
from aecv.ground.errors import SettingsError


@click.command(cls=Command)
@click.argument("new", type=click.Path(path_type=Path))
@click.argument("old", type=click.Path(path_type=Path))
@click.option("--run", type=click.Path(path_type=Path), help="On the frames and weights of this run.")
@click.option("--iteration", type=click.IntRange(min=0), help="Of --run.  [default: its last one]")
@click.option(
    "--system",
    "system_name",
    help="Of --frames: a shipped system, or a folder with a system.toml.  [default: the one that NEW was "
    "learned on, or the atoms of --top]",
)
@frame_options(required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def main(
    *,
    new: Path,
    old: Path,
    run: Path | None,
    iteration: int | None,
    system_name: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """R^2 of the regression of the CV NEW on the CV OLD, on weighted frames.

    1: every component of NEW is an affine function of OLD. Without --run and --frames the frames are those of
    the iteration that NEW comes from.

    \b
    Examples:
      aecv score runs/ala2/iteration_05 runs/ala2/iteration_04
      aecv score runs/a/iteration_09 runs/b/iteration_09 --run runs/a
      aecv score cv other --system ala2 --frames traj.xtc --weights w.npy
      aecv score cv other --frames traj.xtc --top x.pdb
    """
    files = frame_files(options)
    if files is None and system_name is not None:
        raise SettingsError("score: --system is of --frames; give both or none")
    if files is not None and (run is not None or iteration is not None):
        raise SettingsError(
            "score: takes frames of a run (--run, --iteration) or those of --frames; give one"
        )
    from aecv.commands import screens
    from aecv.workflow.run_folder.cv_of_run import load_cv
    from aecv.workflow.study.offline import score, score_in_run

    cvs = load_cv(new), load_cv(old)
    if files is not None:
        found = score(*cvs, system_name, files)
    else:
        found = score_in_run(*cvs, *_place(new, run, iteration))
    say_lines(json.dumps(found.as_dict(), indent=2) if as_json else screens.score_text(found))


def _place(new: Path, run: Path | None, iteration: int | None) -> tuple[Path, int | None]:
    """The run and iteration whose frames are meant."""
    if run is not None:
        return run, iteration
    folder = (new if new.is_dir() else new.parent).resolve()
    number = folder.name.removeprefix("iteration_")
    if not (folder.parent / "run.json").is_file() or not number.isdigit():
        raise SettingsError(
            f"score: needs frames; {new} is of no iteration of a run: name one with --run, or a trajectory "
            "with --frames, and its atoms with --top or --system"
        )
    return folder.parent, int(number) if iteration is None else iteration
