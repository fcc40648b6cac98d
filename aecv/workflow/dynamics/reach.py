"""Whether a CV and its range suit the frames that a run begins with: it changes, and it is in reach."""

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError
from aecv.models.cvs.cv import CV

FARTHEST_START = 0.5
"""How far outside its range, in widths of it, a walker may begin. With the default spring (sigma is one of 50
bins) it has (25 sigma)^2/(2 sigma^2) = 300 kT there; alanine dipeptide's end-to-end distance, with a range of
0.1 nm, came in from one width and exploded from 1.5."""
_OUTSIDE = 1e-6
"""Share of a period by which rounding may carry a value out of it."""


def check_behaviour(cv: CV, frames: FloatArray) -> None:
    """Refuse a CV that does not change, or that leaves what it calls its period.

    Args:
        frames: of the CV's atoms, shape (F, n_atoms, 3) [nm], those of the hot run and the walkers.

    Raises:
        CVError: with the component, and the values that it takes.
    """
    xi, gradient = cv.with_gradient(frames)
    for c in range(cv.n_components):
        name = f"CV {cv.source}: component {c + 1}"
        if not gradient[:, c].any():
            raise CVError(
                f"{name} cannot be biased: it is constant: xi is {_span(xi[:, c])} in {len(xi)} frames of "
                "hot run and starts, and no atom changes it; give a function that depends on the positions"
            )
        low, high = cv.cv_range[c]
        slack = _OUTSIDE * (high - low)
        if cv.periodic[c] and (xi[:, c].min() < low - slack or xi[:, c].max() > high + slack):
            raise CVError(
                f"{name} is said to have the period [{low:g}, {high:g}], but xi is {_span(xi[:, c])} in "
                f"{len(xi)} frames of hot run and starts, so it goes on where a period would begin again. "
                "Leave the flag out if it is not periodic; else give one full period, or wrap its values "
                "into it, as torch.atan2(torch.sin(a), torch.cos(a)) does"
            )


def check_starts(cv: CV, positions: FloatArray) -> None:
    """Refuse a range that is far from where the walkers begin; the spring would tear them there.

    A start up to half the width of the range outside of it is pulled in.

    Args:
        cv: with its range.
        positions: of all atoms of the equilibrated walkers, shape (n_walkers, N, 3) [nm].

    Raises:
        CVError: with the component, xi of the starts and the range.
    """
    xi = cv.of_frames(positions)
    for c, (low, high) in enumerate(cv.cv_range):
        reach = FARTHEST_START * (high - low)
        far = (xi[:, c] < low - reach) | (xi[:, c] > high + reach)
        if far.any() and not cv.periodic[c]:
            raise CVError(
                f"CV {cv.source}: component {c + 1} is to be biased in [{low:g}, {high:g}], but xi is "
                f"{_span(xi[:, c])} where the walkers begin, {int(far.sum())} of {len(xi)} of them farther "
                f"outside than {FARTHEST_START:g} of that width; the spring would tear the system there. "
                "Give a range (--range, cv_range) that the starts lie in, or near"
            )


def _span(values: FloatArray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} .. {high:.6g}"
