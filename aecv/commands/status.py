"""`aecv status`: how far a run has come."""

import json
from pathlib import Path

import click

from aecv.commands.command import Command, say_lines


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def main(run: Path, as_json: bool) -> None:
    """How far RUN has come: running, stopped or finished, its iterations, and the verdict so far.

    Looks at the folder and changes nothing in it.

    \b
    Examples:
      aecv status runs/ala2
      aecv status runs/ala2 --json
    """
    from aecv.commands import screens
    from aecv.workflow.story.status import status

    found = status(run)
    say_lines(json.dumps(found.as_dict(), indent=2) if as_json else screens.status_text(run, found))
