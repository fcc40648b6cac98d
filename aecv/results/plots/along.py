"""A free energy along one coordinate or over two, with its error, from the bins that estimates come on."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from aecv.ground.arrays import FloatArray
from aecv.numerics.statistics.intervals import Interval
from aecv.results.formats.fes import edges_of
from aecv.results.plots.planes import Plane, plane_with_error
from aecv.results.plots.profiles import Profile, profile_with_error


def free_energy_with_error(
    names: Sequence[str], axes: Sequence[FloatArray], profile: Interval, periodic: Sequence[bool]
) -> Figure:
    """A profile with its 95 % band, or a map beside its standard error.

    Args:
        names: of the one or two coordinates; with the unit unless periodic.
        axes: bin centres per coordinate, each of shape (n_c,).
        profile: F [kJ/mol], shape (n_0,) or (n_0, n_1); NaN where unknown.
        periodic: whether each coordinate is an angle in (-pi, pi].
    """
    if len(axes) == 1:
        line = Profile(
            name=names[0],
            points=axes[0],
            values=profile.estimate,
            interval=(profile.lower, profile.upper),
            periodic=periodic[0],
            label="reweighted",
        )
        return profile_with_error([line])
    x_edges, y_edges = map(edges_of, axes)
    return plane_with_error(
        Plane(
            names=(names[0], names[1]),
            periodic=(periodic[0], periodic[1]),
            x_edges=x_edges,
            y_edges=y_edges,
            values=profile.estimate,
            error=profile.standard_error,
        )
    )
