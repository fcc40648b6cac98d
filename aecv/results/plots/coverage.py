"""Which basin each walker is in, against time."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from aecv.ground.arrays import IntArray
from aecv.results.plots import style
from aecv.results.story.content import Walkers

MAX_COLUMNS = 1000
"""Slices of time per walker: about as many as the picture has pixels."""
_WIDTH = 7.4
"""Of the picture [inch]."""
_LETTER, _HANDLE = 0.078, 0.62
"""A letter of the legend (9 pt), and its patch with the space between columns [inch]."""


def passages(walkers: Walkers) -> Figure:
    """One row per walker, counted from 0 as in all files, in the colour of its basin and grey between basins.

    Long runs are cut into slices of time, each in the colour of what most of its frames are in: visits much
    shorter than a slice are counted in the legend but not seen.
    """
    labels, names = walkers.basin, walkers.starts("name")
    n_basins, moves = len(names), walkers.passages.astype(np.int64)
    np.fill_diagonal(moves, 0)
    time_ns = float(walkers.time_ns.max(initial=0.0)) or 1.0
    n_walkers = len(labels)
    figure, axes = style.panels(1, 1, width=_WIDTH, height=1.6 + 0.27 * n_walkers)
    axis: Axes = axes[0, 0]
    colours = [style.FAINT, *style.colours(n_basins)]
    if labels.shape[1]:
        cells, edges = _sliced(labels, n_basins)
        axis.pcolormesh(
            edges / labels.shape[1] * time_ns,
            np.arange(n_walkers + 1) - 0.5,
            cells,
            cmap=ListedColormap(colours),
            norm=BoundaryNorm(np.arange(-1.5, n_basins), n_basins + 1),
        )
    else:
        style.say(axis, "no frames")
    axis.hlines(np.arange(1, n_walkers) - 0.5, 0, time_ns, color="white", linewidth=2)
    axis.set_xlim(0, time_ns)
    axis.set_ylim(n_walkers - 0.5, -0.5)
    axis.set_yticks(range(0, n_walkers, -(-n_walkers // 20)))
    axis.set_xlabel("time of each walker [ns]")
    axis.set_ylabel("walker")
    axis.spines[:].set_visible(False)
    total = int(moves.sum())
    text = f"{total:,} passage{'' if total == 1 else 's'} between the starts' basins"
    axis.set_title(text, fontsize=10, color=style.INK)
    texts = [
        "between",
        *(
            f"{name}, entered {n:,}\N{MULTIPLICATION SIGN}"
            for name, n in zip(names, moves.sum(axis=0), strict=True)
        ),
    ]
    _legend(figure, [*colours[1:], colours[0]], [*texts[1:], texts[0]])
    return figure


def _legend(figure: Figure, colours: Sequence[str], texts: Sequence[str]) -> None:
    """Below the panel, in as many columns as fit the picture's width; its height grows with the rows."""
    longest = int((_WIDTH - _HANDLE) / _LETTER)
    wrapped = [fill(text, longest) for text in texts]
    letters = max(len(line) for text in wrapped for line in text.splitlines())
    n_columns = max(1, min(5, len(texts), int(_WIDTH / (_HANDLE + _LETTER * letters))))
    n_rows = -(-sum(1 + text.count("\n") for text in wrapped) // n_columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * (n_rows - 1))
    figure.legend(
        handles=[Patch(color=colour, label=text) for colour, text in zip(colours, wrapped, strict=True)],
        fontsize=9,
        frameon=False,
        loc="outside lower center",
        ncols=n_columns,
    )


def _sliced(labels: IntArray, n_basins: int) -> tuple[IntArray, IntArray]:
    """The most frequent label per slice, shape (n_walkers, n_slices), and the slices' edges [frames]."""
    n_frames = labels.shape[1]
    n_slices = min(n_frames, MAX_COLUMNS)
    edges = np.arange(n_slices + 1) * n_frames // n_slices
    # Basins stand before "between", so that they win a tie.
    kinds = [*range(n_basins), -1]
    frames = [np.add.reduceat(labels == kind, edges[:-1], axis=1, dtype=np.int64) for kind in kinds]
    return np.array(kinds)[np.argmax(frames, axis=0)], edges
