"""Numbers per iteration, the training, and where the walkers were."""

from collections.abc import Iterator, Sequence

import numpy as np

from aecv.results.page.drawing import (
    LINES,
    MUTED,
    Slot,
    Trace,
    axis,
    line,
    numbers,
    plain,
)
from aecv.results.story.content import History, Point, Story, Training, Walkers
from aecv.results.story.uncertainty import ENERGY, UNKNOWN

MOST_TICKS = 12
"""Of iterations on an axis."""
MOST_TIMES = 300
"""Of every walker."""


def history_slots(story: Story) -> Iterator[Slot]:
    """Scores, Delta F and losses by iteration, then the restarts, then the walkers."""
    if story.history is not None:
        yield _scores(story.history)
        if any(np.isfinite(point.value) for point in (*story.history.pool, *story.history.alone)):
            yield _delta_f(story.history, story.region)
        yield _loss(story.history)
    if story.training is not None:
        yield _training(story.training)
    if story.walkers is not None:
        yield _walkers(story.walkers)


def _iterations(history: History, *, with_production: bool = False) -> dict[str, object]:
    """The axis of iterations; the production stands behind the last one."""
    every = max(1, -(-len(history.index) // MOST_TICKS))
    ticks, labels = list(history.index[::every]), [str(k) for k in history.index[::every]]
    if with_production:
        ticks.append(history.index[-1] + 1)
        labels.append("prod.")
    return axis("iteration", tickmode="array", tickvals=ticks, ticktext=labels)


def _scores(history: History) -> Slot:
    x = history.index
    traces = [
        line(x, history.required, name="needed (s_min)", color=MUTED, line={"dash": "dash", "shape": "hvh"}),
        line(x, history.nonlinear, name="nonlinear", color=LINES[2], mode="lines+markers"),
        line(x, history.unweighted, name="unweighted", color=LINES[4], mode="lines+markers"),
        line(x, history.score, name="score", color=LINES[0], mode="lines+markers", line={"width": 3}),
    ]
    return Slot(
        id="scores",
        section="convergence",
        title="Scores: does the CV repeat itself?",
        caption="R² of each CV on the one before. The score (weighted, linear) has to reach the dashed line.",
        layout={"xaxis": _iterations(history), "yaxis": axis("R²")},
        frames=(tuple(traces),),
    )


def _delta_f(history: History, region: str) -> Slot:
    x = np.array(history.index, dtype=float)
    production = [] if history.production is None else [history.production]
    series = (
        (x + 0.08, _finite(history.alone), "iteration alone", LINES[1]),
        (x - 0.08, _finite(history.pool), "pool", LINES[0]),
        (x[-1:] + 1.0, _finite(production), "production", LINES[2]),
    )
    points = [point for _, found, *_ in series for point in found]
    low, high = _limits(history.exact, points)
    traces: list[Trace] = []
    if history.exact is not None:
        ends = [x[0], x[-1] + len(production)]
        traces.append(line(ends, [history.exact] * 2, name="exact", color=MUTED, line={"dash": "dash"}))
    for at, found, name, color in series:
        if found:
            traces += [*_without_bound(at, found, (low, high), color), _with_bars(at, found, name, color)]
    return Slot(
        id="delta-f",
        section="convergence",
        title="ΔF by iteration",
        caption=f"ΔF = F({region}) - F(elsewhere), with 95 % intervals; hollow, with a dashed bar that "
        "leaves the panel: no bound is known.",
        layout={
            "xaxis": _iterations(history, with_production=history.production is not None),
            "yaxis": axis(f"ΔF [{ENERGY}]", range=[round(low, 3), round(high, 3)]),
        },
        frames=(tuple(traces),),
    )


def _finite(points: Sequence[Point]) -> list[Point]:
    """Points of which an infinite number is unknown: the page has no arrows for it."""
    ends = [(point.value, point.lower, point.upper) for point in points]
    known = [[end if np.isfinite(end) else np.nan for end in item] for item in ends]
    return [Point(value=value, lower=lower, upper=upper) for value, lower, upper in known]


def _limits(exact: float | None, points: Sequence[Point]) -> tuple[float, float]:
    """The range of an axis that shows all numbers and all ends that are known, with some room."""
    ends = [end for point in points for end in (point.value, point.lower, point.upper)]
    shown = [end for end in (*ends, np.nan if exact is None else exact) if np.isfinite(end)]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room


def _with_bars(x: np.ndarray, points: Sequence[Point], name: str, color: str) -> Trace:
    values = np.array([point.value for point in points])
    up = np.array([point.upper for point in points]) - values
    down = values - np.array([point.lower for point in points])
    bare = ~(np.isfinite(up) & np.isfinite(down))
    told = [
        f"{value:.2f}, {UNKNOWN}" if unknown else f"{value:.2f} (+{above:.2f} -{below:.2f})"
        for value, above, below, unknown in zip(values, up, down, bare, strict=True)
    ]
    symbols = ["circle-open" if unknown else "circle" for unknown in bare]
    return line(x, values, name=name, color=color, mode="markers") | {
        "marker": {"color": color, "size": 8, "symbol": symbols},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "visible": not bare.all(),
            "array": numbers(up),
            "arrayminus": numbers(down),
            "color": color,
            "thickness": 1.5,
            "width": 4,
        },
        "text": told,
        "hovertemplate": "%{text}",
    }


def _without_bound(
    x: np.ndarray, points: Sequence[Point], limits: tuple[float, float], color: str
) -> list[Trace]:
    """Dashed bars of the ends that are not known, out of the panel; none where all are known."""
    reach = 10.0 * (limits[1] - limits[0])
    xs: list[float | None] = []
    ys: list[float | None] = []
    for at, point in zip(x.tolist(), points, strict=True):
        for end, far in ((point.lower, limits[0] - reach), (point.upper, limits[1] + reach)):
            if np.isfinite(point.value) and not np.isfinite(end):
                xs += [at, at, None]
                ys += [round(point.value, 3), round(far, 3), None]
    if not xs:
        return []
    dash = {"dash": "dash", "width": 1.5}
    return [
        line([], [], name=UNKNOWN, color=color, line=dash, hoverinfo="skip", showlegend=False)
        | {"x": xs[:-1], "y": ys[:-1]}
    ]


def _loss(history: History) -> Slot:
    return Slot(
        id="loss",
        section="learning",
        title="Validation loss by iteration",
        caption="Of the chosen autoencoder, on held-out blocks, under the weights that train. Iterations "
        "have other frames, so that it need not fall.",
        layout={"xaxis": _iterations(history), "yaxis": axis("loss [nm²]", rangemode="tozero")},
        frames=(
            (line(history.index, history.loss, name="loss", color=LINES[0], digits=8, mode="lines+markers"),),
        ),
    )


def _training(training: Training) -> Slot:
    epochs = np.arange(1, training.validation.shape[1] + 1)
    others = [k for k in range(len(training.validation)) if k != training.chosen]
    traces = [
        line(epochs, training.validation[k], name=f"restart {k}", color=MUTED, digits=8, line={"width": 1})
        | {"showlegend": False, "opacity": 0.6, "hoverinfo": "skip"}
        for k in others
    ]
    chosen = training.chosen
    dash = {"dash": "dot"}
    traces += [
        line(epochs, training.train[chosen], name="chosen, training", color=LINES[1], digits=8, line=dash),
        line(epochs, training.validation[chosen], name="chosen, validation", color=LINES[0], digits=8),
    ]
    return Slot(
        id="training",
        section="learning",
        title=f"Training in iteration {training.iteration}",
        caption="Grey: validation losses of the other restarts. Of the good ones the one most like the "
        "others is chosen.",
        layout={"xaxis": axis("epoch"), "yaxis": axis("loss [nm²]", type="log", exponentformat="power")},
        frames=(tuple(traces),),
    )


def _walkers(walkers: Walkers) -> Slot:
    labels = [plain(text) for text in walkers.starts("label")]
    n_starts = len(labels)
    thin = slice(None, None, max(1, -(-walkers.basin.shape[1] // MOST_TIMES)))
    basin = np.where(walkers.basin < 0, np.nan, walkers.basin.astype(float))[:, thin]
    text = [[labels[int(k)] if np.isfinite(k) else "" for k in row] for row in basin]
    scale = []
    for k in range(n_starts):
        color = LINES[k % len(LINES)]
        scale += [[k / n_starts, color], [(k + 1) / n_starts, color]]
    return Slot(
        id="walkers",
        section="coverage",
        title=f"Basins of the walkers, {walkers.place}",
        caption="Per walker the start that it was clearly nearest to; blank: between them.",
        layout={
            "xaxis": axis("time of each walker [ns]"),
            "yaxis": axis("walker", tickmode="array", tickvals=list(range(len(basin))), autorange="reversed"),
        },
        frames=(
            (
                {
                    "type": "heatmap",
                    "x": numbers(walkers.time_ns[thin], 5),
                    "y": list(range(len(basin))),
                    "z": numbers(basin, 0),
                    "zmin": -0.5,
                    "zmax": n_starts - 0.5,
                    "colorscale": scale,
                    "colorbar": {
                        "tickmode": "array",
                        "tickvals": list(range(n_starts)),
                        "ticktext": [f"start {k}" for k in range(n_starts)],
                        "thickness": 12,
                    },
                    "text": text,
                    "hoverongaps": False,
                    "hovertemplate": "walker %{y}, %{x:.3g} ns<br>%{text}<extra></extra>",
                    "ygap": 3,
                },
            ),
        ),
        wide=True,
    )
