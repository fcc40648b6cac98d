"""Pictures of free energies that were asked for after a run."""

from pathlib import Path

from matplotlib.figure import Figure

from aecv.ground.files import cannot_write
from aecv.results import plots
from aecv.results.formats.fes import edges_of
from aecv.results.plots import Plane, Profile
from aecv.workflow.profiles import FreeEnergy


def figure_of(found: FreeEnergy) -> Figure:
    """A profile with its 95 % band, or a map with its standard error."""
    if len(found.axes) == 1:
        return plots.profile_with_error([_profile(found)])
    return plots.plane_with_error(_plane(found))


def draw(found: FreeEnergy, path: Path) -> None:
    """Write the picture of a free energy."""
    place = f"iteration {found.place}" if isinstance(found.place, int) else found.place.replace("_", " ")
    try:
        plots.save(figure_of(found), path, name=f"{found.system}, {place}{' alone' if found.alone else ''}")
    except OSError as error:
        raise cannot_write(path, error) from error


def _profile(found: FreeEnergy) -> Profile:
    return Profile(
        name=found.names[0],
        points=found.axes[0],
        values=found.profile.estimate,
        interval=(found.profile.lower, found.profile.upper),
        periodic=found.periodic[0],
        label="reweighted",
        curves=(),
    )


def _plane(found: FreeEnergy) -> Plane:
    x_edges, y_edges = (edges_of(axis) for axis in found.axes)
    return Plane(
        names=(found.names[0], found.names[1]),
        periodic=(found.periodic[0], found.periodic[1]),
        x_edges=x_edges,
        y_edges=y_edges,
        values=found.profile.estimate,
        error=found.profile.standard_error,
        reference=None,
    )
