"""`aecv report`: the story of a run as one page."""

import webbrowser
from pathlib import Path

import click

from aecv.commands.command import Command, say


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: RUN/report.html]")
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
def main(run: Path, out: Path | None, open_it: bool) -> None:
    """Write the story of RUN as one page: verdict, what to do next, tables, figures, settings.

    RUN is the folder of a run of iterate or sample, finished, stopped or still running. The page needs no
    network and can be sent to others as it is. A run writes it itself, after every iteration.

    \b
    Examples:
      aecv report runs/ala2 --open
      aecv report runs/ala2_phi_psi --out phi_psi.html
    """
    # mdtraj and SciPy take seconds to load: only when there is something for them to do
    from aecv.workflow.story.report import write_report

    path = write_report(run, out)
    say(f"written to {path}, {path.stat().st_size / 1e6:.1f} MB")
    if open_it and not webbrowser.open(path.resolve().as_uri()):
        say("no browser was found; open the file by hand", err=True)
