"""`aecv fes`: free-energy profiles with error bars from a run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aecv.commands.command import Command, say, say_lines
from aecv.commands.options import finite, slug
from aecv.ground.errors import SettingsError

if TYPE_CHECKING:
    from aecv.workflow.profiles import FreeEnergy


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--along",
    required=True,
    metavar="WHAT",
    help="One or two observables (phi or phi,psi), components of the biased CV (xi_1,xi_2), or a cv.pt.",
)
@click.option(
    "--place",
    metavar="PLACE",
    help="An iteration's number, production_NN or along.  [default: the best estimate there is]",
)
@click.option("--alone", is_flag=True, help="From the frames of that place only, not of its pool.")
@click.option("--bins", type=click.IntRange(min=2, max=2000), help="Per axis.  [default: 90, or 60 for maps]")
@click.option(
    "--range",
    "ranges",
    type=(finite(), finite()),
    multiple=True,
    metavar="LOW HIGH",
    help="Per coordinate that is not periodic.  [default: that of the frames]",
)
@click.option(
    "--region",
    type=(str, finite(), finite()),
    metavar="OBSERVABLE LOW HIGH",
    help="Delta F of this region against the rest.  [default: that of the system]",
)
@click.option(
    "--replicates", type=click.IntRange(20, 10_000), default=200, show_default=True, help="Of the bootstrap."
)
@click.option(
    "--least-visits",
    type=finite(0),
    help="Effective visits that a bin needs for its F to be known; 0: any.  [default: that of the run]",
)
@click.option("--system", help="The run's system, where its name does not find it: a name or a folder.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write; a .png is drawn beside it.  [default: fes_WHAT.dat]",
)
def main(
    run: Path,
    along: str,
    place: str | None,
    alone: bool,
    bins: int | None,
    ranges: tuple[tuple[float, float], ...],
    region: tuple[str, float, float] | None,
    replicates: int,
    least_visits: float | None,
    system: str | None,
    out: Path | None,
) -> None:
    """F along coordinates of a finished RUN, with standard errors, as a PLUMED file and a picture.

    \b
    Examples:
      aecv fes runs/ala2 --along phi
      aecv fes runs/ala2 --along phi,psi --place 6 --bins 36
      aecv fes runs/ala2 --along runs/ala2/iteration_09 --region phi 0 2.2
    """
    path = out or Path(f"fes_{slug(along)}.dat")
    picture = path.with_suffix(".png")
    if path == picture:
        raise SettingsError("--out: names the table; its picture gets .png beside it, choose another ending")
    for file in (path, picture):
        if file.exists():
            raise SettingsError(f"{file}: exists already; delete it or choose another --out")
    from aecv.commands import screens
    from aecv.workflow.profiles import coordinate, free_energy, place_of

    found = free_energy(
        run,
        coordinate(along),
        place=place_of(place),
        alone=alone,
        bins=bins,
        ranges=ranges,
        region=region,
        replicates=replicates,
        least_visits=least_visits,
        system=system,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    found.write(path)
    _draw(found, picture)
    say_lines(screens.free_energy_text(found))
    say(f"written to {path} and {picture}")


def _draw(found: "FreeEnergy", path: Path) -> None:
    from aecv.ground.files import cannot_write
    from aecv.results import plots

    place = f"iteration {found.place}" if isinstance(found.place, int) else found.place.replace("_", " ")
    try:
        plots.save(found.plot(), path, name=f"{found.system}, {place}{' alone' if found.alone else ''}")
    except OSError as error:
        raise cannot_write(path, error) from error
