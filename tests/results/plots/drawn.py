"""What the tests of the pictures ask a figure."""

import io
import warnings

import numpy as np
from matplotlib.figure import Figure


def panels(figure: Figure) -> list:
    return [axis for axis in figure.axes if axis.get_visible() and axis.get_label() != "<colorbar>"]


def lines(figure: Figure) -> dict:
    return {line.get_label(): line for axis in figure.axes for line in axis.lines}


def extent(collection, x: float) -> tuple[float, float]:
    """Lowest and highest point at x of what was filled or drawn as vertical lines."""
    points = np.concatenate([path.vertices for path in collection.get_paths()])
    at = points[np.isclose(points[:, 0], x), 1]
    return at.min(), at.max()


def render(figure: Figure) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), dpi=40)
