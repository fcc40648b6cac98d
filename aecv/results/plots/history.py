"""Histories: scores and Delta F against iterations, losses against epochs, visited bins against time."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray
from aecv.results.plots import intervals, style

BEST_SCORE = 1 - 1e-4
"""Scores above are drawn here: the scale of 1 - score is logarithmic and has no end."""


def score_history(
    iterations: Sequence[int],
    scores: Mapping[str, Sequence[float | None]],
    *,
    s_min: float | Sequence[float | None] | FloatArray | None,
) -> Figure:
    """Scores against iterations, on a scale that is logarithmic in 1 - score.

    Args:
        iterations: their numbers.
        scores: label -> one score per iteration, None or NaN where there is none; below 0 drawn at 0.
        s_min: the score from which on the CV counts as converged: one number, or one per iteration with None
            or NaN where there is none; None draws nothing.

    Raises:
        GridError: when there is not one score, or s_min, per iteration.
    """
    n = (len(iterations),)
    series = {name: _floats(values) for name, values in scores.items()}
    intervals.check_shape("score history", n, **series)
    figure, axes = style.panels(1, 1, width=6.4, height=3.6)
    axis: Axes = axes[0, 0]
    worst = 0.5
    if isinstance(s_min, int | float):
        _constant_threshold(axis, s_min)
    elif s_min is not None:
        intervals.check_shape("score history", n, s_min=_floats(s_min))
        worst = max(worst, _steps_of_threshold(axis, iterations, _floats(s_min)))
    for (name, values), colour, marker in zip(series.items(), style.LINES, style.MARKERS, strict=False):
        distance = 1 - np.clip(values, 0.0, BEST_SCORE)
        worst = max(worst, float(np.nanmax(distance, initial=0.0)))
        axis.plot(iterations, distance, color=colour, marker=marker, markersize=5, linewidth=1.5, label=name)
    axis.set_yscale("log")
    axis.set_ylim(1.15 * worst, (1 - BEST_SCORE) / 1.4)
    axis.yaxis.set_major_locator(FixedLocator([1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001, 0.0001]))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda distance, _: f"{1 - distance:.4g}"))
    axis.set_ylabel(r"score, $R^2$ on the CV before")
    _over_iterations(axis, iterations)
    style.legend(figure, n_columns=4)
    return figure


def _constant_threshold(axis: Axes, s_min: float) -> None:
    axis.axhspan(1 - s_min, (1 - BEST_SCORE) / 2, color=style.REFERENCE, linewidth=0, zorder=0)
    axis.axhline(1 - s_min, color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axis.text(
        0.01,
        0.98,
        rf"converged: score $\geq s_\mathrm{{min}}$ = {s_min:g}",
        transform=axis.transAxes,
        va="top",
        fontsize=9,
        color=style.INK,
    )


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


def delta_f_history(
    iterations: Sequence[int],
    values: Mapping[str, Sequence[float | None]],
    *,
    label: str,
    reference: float | tuple[float, float] | None = None,
    error_bars: Mapping[str, Sequence[tuple[float, float] | None]] | None = None,
) -> Figure:
    """A free-energy difference against iterations.

    Args:
        iterations: their numbers.
        values: label -> one Delta F [kJ/mol] per iteration; None or NaN where there is none; +inf where
            the region was never visited and -inf where it was never left, drawn at the edges.
        label: what the difference is between, for the axis.
        reference: a known value, drawn as a black line, or a trusted interval [kJ/mol].
        error_bars: label -> lower and upper end of the 95 % interval [kJ/mol] per iteration, None where there
            is none; the bar of an infinite end runs out of the panel. With them series stand side by side.

    Raises:
        GridError: when there is not one value, or interval, per iteration.
    """
    figure, axes = style.panels(1, 1, width=6.4, height=3.6)
    axis: Axes = axes[0, 0]
    intervals.known_value(axis, reference)
    series = {name: _floats(numbers) for name, numbers in values.items()}
    intervals.check_shape("Delta F history", (len(iterations),), **series)
    ends = [pair for pairs in (error_bars or {}).values() for pair in pairs if pair is not None]
    low, high = intervals.energy_limits(
        [*series.values(), () if reference is None else np.ravel(reference)], ends
    )
    aside = 0.12 if error_bars else 0.0
    edges: list[tuple[FloatArray, FloatArray, str]] = []
    for k, (name, numbers) in enumerate(series.items()):
        colour, marker = style.LINES[k % len(style.LINES)], style.MARKERS[k % len(style.MARKERS)]
        at = np.asarray(iterations, dtype=float) + k * aside
        shown = np.where(np.isfinite(numbers), numbers, np.nan)
        axis.plot(at, shown, color=colour, marker=marker, markersize=5, linewidth=1.5, label=name)
        if error_bars and name in error_bars:
            bounds = error_bars[name]
            intervals.bars(axis, at, numbers, bounds, limits=(low, high), colour=colour, marker=marker)
        edges.append((at, numbers, colour))
    for at, numbers, colour in edges:
        _at_edge(axis, at, numbers == np.inf, high, "^", colour, "region never visited")
        _at_edge(axis, at, numbers == -np.inf, low, "v", colour, "region never left")
    axis.set_ylim(low, high)
    axis.set_ylabel(r"$\Delta F$ [kJ/mol]" + (", bars: 95 %" if error_bars else "") + f"\n{label}")
    _over_iterations(axis, iterations)
    style.legend(figure, n_columns=4)
    return figure


def training_curves(
    train: FloatArray, validation: FloatArray, *, best: int, label: str = r"weighted loss [nm$^2$]"
) -> Figure:
    """Losses of every restart against epochs; the chosen restart is drawn strong, its best epoch marked.

    Args:
        train, validation: shape (n_restarts, n_epochs); NaN after a restart has stopped.
        best: index of the chosen restart.
        label: of the loss.
    """
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
    axis.set_ylabel(label)
    axis.set_title(f"restart {best} chosen, of 0 to {len(train) - 1}", fontsize=10, color=style.INK)
    style.open_frame(axis)
    style.legend(figure, n_columns=2)
    return figure


def coverage_history(curves: Sequence[tuple[str, ArrayLike, ArrayLike]], *, n_bins: int) -> Figure:
    """Bins of the CV's grid visited so far against time, one line per iteration.

    Args:
        curves: per iteration a label, times [ns] and numbers of visited bins, shape (n,) each.
        n_bins: bins of the grid.
    """
    figure, axes = style.panels(1, 1, width=6.4, height=3.6)
    axis: Axes = axes[0, 0]
    colours = colormaps["viridis"](np.linspace(0.0, 0.88, max(2, len(curves))))
    for (name, time, visited), colour in zip(curves, colours, strict=False):
        axis.plot(np.asarray(time), np.asarray(visited), color=colour, linewidth=1.5, label=name)
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


def _floats(values: Sequence[float | None] | FloatArray) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


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
