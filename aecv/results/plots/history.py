"""Histories: scores and Delta F against iterations, losses against epochs, visited bins against time."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.results.plots import intervals, style
from aecv.results.story.content import Biased, History, Training

BEST_SCORE = 1 - 1e-4
"""Scores above are drawn here: the scale of 1 - score is logarithmic and has no end."""


def score_history(history: History) -> Figure:
    """Scores against iterations, on a scale that is logarithmic in 1 - score, and what they have to reach.

    Scores below 0 are drawn at 0.
    """
    figure, axes = style.panels(1, 1, width=6.4, height=3.6)
    axis: Axes = axes[0, 0]
    worst = max(0.5, _steps_of_threshold(axis, history.index, np.array(history.required, dtype=float)))
    series = {
        "weighted": history.score,
        "unweighted": history.unweighted,
        "nonlinear": history.nonlinear,
    }
    for (name, values), colour, marker in zip(series.items(), style.LINES, style.MARKERS, strict=False):
        distance = 1 - np.clip(np.array(values, dtype=float), 0.0, BEST_SCORE)
        worst = max(worst, float(np.nanmax(distance, initial=0.0)))
        axis.plot(
            history.index, distance, color=colour, marker=marker, markersize=5, linewidth=1.5, label=name
        )
    axis.set_yscale("log")
    axis.set_ylim(1.15 * worst, (1 - BEST_SCORE) / 1.4)
    axis.yaxis.set_major_locator(FixedLocator([1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001, 0.0001]))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda distance, _: f"{1 - distance:.4g}"))
    axis.set_ylabel(r"score, $R^2$ on the CV before")
    _over_iterations(axis, history.index)
    style.legend(figure, n_columns=4)
    return figure


def _steps_of_threshold(axis: Axes, iterations: Sequence[int], s_min: FloatArray) -> float:
    """One threshold per iteration as a step of the width of the iteration; returns the largest 1 - s_min."""
    distance = 1 - np.clip(s_min, 0.0, BEST_SCORE)
    known = np.isfinite(distance)
    at, steps = np.asarray(iterations, dtype=float)[known], distance[known]
    best = np.full(len(at), (1 - BEST_SCORE) / 2)
    axis.bar(at, best - steps, width=1.0, bottom=steps, color=style.REFERENCE, linewidth=0, zorder=0)
    label = r"$s_\mathrm{min}$, converged above"
    axis.hlines(steps, at - 0.5, at + 0.5, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)), label=label)
    return float(steps.max(initial=0.0))


def delta_f_history(history: History, *, region: str) -> Figure:
    """A free-energy difference against iterations, of the pool and of each iteration alone.

    The bar of an infinite end runs out of the panel; infinite values are drawn at its edges.

    Args:
        history: of the run.
        region: what the difference is between, for the axis.
    """
    figure, axes = style.panels(1, 1, width=6.4, height=3.6)
    axis: Axes = axes[0, 0]
    intervals.known_value(axis, history.exact)
    series = {"pool": history.pool, "iteration alone": history.alone}
    points = [point for found in series.values() for point in found]
    low, high = intervals.energy_limits(
        [[point.value for point in points], () if history.exact is None else [history.exact]],
        [(point.lower, point.upper) for point in points],
    )
    edges: list[tuple[FloatArray, FloatArray, str]] = []
    for k, (name, found) in enumerate(series.items()):
        numbers = np.array([point.value for point in found], dtype=float)
        colour, marker = style.LINES[k], style.MARKERS[k]
        at = np.array(history.index, dtype=float) + 0.12 * k  # side by side, or bars would hide each other
        shown = np.where(np.isfinite(numbers), numbers, np.nan)
        axis.plot(at, shown, color=colour, marker=marker, markersize=5, linewidth=1.5, label=name)
        intervals.bars(axis, at, found, limits=(low, high), colour=colour, marker=marker)
        edges.append((at, numbers, colour))
    for at, numbers, colour in edges:
        _at_edge(axis, at, numbers == np.inf, high, "^", colour, "region never visited")
        _at_edge(axis, at, numbers == -np.inf, low, "v", colour, "region never left")
    axis.set_ylim(low, high)
    axis.set_ylabel(r"$\Delta F$ [kJ/mol], bars: 95 %" + f"\n{region} against the rest")
    _over_iterations(axis, history.index)
    style.legend(figure, n_columns=4)
    return figure


def training_curves(training: Training) -> Figure:
    """Losses of every restart against epochs; the chosen restart is drawn strong, its best epoch marked."""
    train, validation, best = training.train, training.validation, training.chosen
    figure, axes = style.panels(1, 1, width=6.4, height=3.6)
    axis: Axes = axes[0, 0]
    epochs = np.arange(1, train.shape[1] + 1)
    for restart in [index for index in range(len(train)) if index != best]:
        others = "other restarts, validation" if restart == (0 if best else 1) else None
        axis.plot(epochs, validation[restart], color=style.FAINT, linewidth=1.2, label=others)
    axis.plot(
        epochs, train[best], color=style.LINES[0], linewidth=1.4, linestyle=(0, (4, 2)), label="training"
    )
    axis.plot(epochs, validation[best], color=style.LINES[1], linewidth=1.8, label="validation")
    if np.isfinite(validation[best]).any():
        epoch = int(np.nanargmin(validation[best]))
        axis.plot(
            epochs[epoch],
            validation[best, epoch],
            marker="o",
            markersize=6,
            color=style.LINES[1],
            linestyle="none",
            label=f"kept: epoch {epochs[epoch]}, {validation[best, epoch]:.4g}",
        )
    axis.set_yscale("log")
    axis.set_xlim(0, len(epochs) + 1)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")
    axis.set_ylabel(r"weighted loss [nm$^2$]")
    axis.set_title(f"restart {best} chosen, of 0 to {len(train) - 1}", fontsize=10, color=style.INK)
    style.open_frame(axis)
    style.legend(figure, n_columns=2)
    return figure


def coverage_history(iterations: Sequence[Biased]) -> Figure:
    """Bins of the CV's grid visited so far against time, one line per iteration."""
    n_bins = iterations[-1].grid.size
    figure, axes = style.panels(1, 1, width=6.4, height=3.6)
    axis: Axes = axes[0, 0]
    colours = colormaps["viridis"](np.linspace(0.0, 0.88, max(2, len(iterations))))
    for item, colour in zip(iterations, colours, strict=False):
        axis.plot(item.time_ns, item.n_visited, color=colour, linewidth=1.5, label=item.name)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("simulated time, all walkers [ns]")
    axis.set_ylabel(f"visited bins of {n_bins:,}")
    style.open_frame(axis)
    percent = axis.secondary_yaxis(
        "right", functions=(lambda n: np.divide(n, n_bins), lambda f: np.multiply(f, n_bins))
    )
    percent.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
    percent.tick_params(colors=style.INK, labelsize=9, length=3)
    percent.spines["right"].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), fontsize=9, frameon=False, loc="outside right upper")
    return figure


def _over_iterations(axis: Axes, iterations: Sequence[int]) -> None:
    axis.set_xlabel("iteration")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    if len(iterations):
        axis.set_xlim(min(iterations) - 0.4, max(iterations) + 0.4)
    style.open_frame(axis)


def _at_edge(
    axis: Axes,
    iterations: FloatArray,
    where: NDArray[np.bool_],
    edge: float,
    marker: str,
    colour: str,
    text: str,
) -> None:
    """Hollow arrowheads at an edge of the panel for values that are infinite, said once in the legend."""
    if not where.any():
        return
    at = iterations[where]
    said = any(handle.get_label() == text for handle in axis.lines)
    axis.plot(
        at,
        np.full(len(at), edge),
        marker=marker,
        markersize=9,
        color=colour,
        markerfacecolor="white",
        linestyle="none",
        clip_on=False,
        label=None if said else text,
    )
