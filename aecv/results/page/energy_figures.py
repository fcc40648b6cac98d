"""Free energies by place: along the CV, along observables, and as frames came."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.results.page.drawing import (
    BANDS,
    INK,
    LINES,
    MUTED,
    Slot,
    Trace,
    axis,
    axis_of,
    estimate,
    hover,
    line,
    numbers,
    plain,
)
from aecv.results.story.content import MOST_PLANES, FreeEnergies, Landscape, Stop, Story
from aecv.results.story.uncertainty import CEILING_KJ_MOL, ENERGY

_ROOM = 1.05
_NEVER = {"entered": np.inf, "left": -np.inf}
"""What walkers did not do to the region of an infinite Delta F."""


def energy_slots(story: Story) -> Iterator[Slot]:
    """All figures that follow the slider of places."""
    places = story.energies
    path = story.structures.stops if story.structures else ()
    for key in _keys([place.along_cv for place in places]):
        shown = [_find(place.along_cv, key) for place in places]
        yield _landscapes("cv", shown, path)
    for key in _keys([place.planes[:MOST_PLANES] for place in places]):
        yield _landscapes("plane", [_find(place.planes, key) for place in places], path)
    for key in _keys([place.profiles for place in places]):
        yield _landscapes("profile", [_find(place.profiles, key) for place in places], ())
    yield from _in_time(places)


def _keys(figures: Sequence[tuple[Landscape, ...]]) -> list[str]:
    """Names of figures that any place has, in order."""
    return list(dict.fromkeys(item.key for found in figures for item in found))


def _find(figures: tuple[Landscape, ...], key: str) -> Landscape | None:
    return next((item for item in figures if item.key == key), None)


def _landscapes(kind: str, shown: Sequence[Landscape | None], path: Sequence[Stop]) -> Slot:
    """The same free energy of every place; the path belongs to the last one."""
    known = [item for item in shown if item is not None]
    first = known[0]
    top = max(
        (float(np.nanmax(item.values)) for item in known if np.isfinite(item.values).any()), default=1.0
    )
    is_map = len(first.coordinates) == 2
    draw = _map if is_map else _profile
    frames = [() if item is None else draw(item, min(top, CEILING_KJ_MOL)) for item in shown]
    if is_map and shown[-1] is not None:
        frames[-1] = (*frames[-1], *_way(shown[-1], path))
    labels = " and ".join(item.label for item in first.coordinates)
    caption = "Hover for F, its standard error, the number of frames and the means of their observables. "
    if is_map:
        caption += "Blank: no frame, or too few with a weight to tell F."
        caption += f" One colour above {CEILING_KJ_MOL:g} {ENERGY}." * (top > CEILING_KJ_MOL)
        layout = {"xaxis": axis_of(first.coordinates[0]), "yaxis": axis_of(first.coordinates[1])}
        if path:
            caption += (
                " Circles: the path and the basins of the structures below, at the last step of the slider."
            )
    else:
        caption += "Shaded: ±1.96 standard errors; hatched and dashed: the error is not known."
        layout = {
            "xaxis": axis_of(first.coordinates[0]),
            "yaxis": axis(f"F [{ENERGY}]", range=[-0.03 * top, _ROOM * top]),
        }
    return Slot(
        id=f"{kind}-{_safe(first.key)}",
        section="energies",
        title=f"F along {labels}",
        caption=caption.strip(),
        layout=layout,
        frames=tuple(frames),
        group="places",
    )


def _safe(key: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in key)


def _map(item: Landscape, top: float) -> tuple[Trace, ...]:
    """A heat map; the first coordinate runs to the right."""
    x, y = item.axes
    return (
        {
            "type": "heatmap",
            "x": numbers(x, 6),
            "y": numbers(y, 6),
            "z": numbers(item.values.T),
            "zmin": 0,
            "zmax": round(top, 3),
            "colorscale": "var(--scale)",
            "colorbar": {"title": {"text": f"F [{ENERGY}]", "side": "right"}, "thickness": 12, "len": 0.9},
            "hoverongaps": False,
            "hover": hover(_told(item, transposed=True)),
            "at": [plain(coordinate.label) for coordinate in item.coordinates],
        },
    )


def _profile(item: Landscape, _: float) -> tuple[Trace, ...]:
    x = item.axes[0]
    traces = estimate(x, item.values, *item.ends, name="estimate", colors=(LINES[0], BANDS[0]))
    points = traces[-1] | {"hover": hover(_told(item)), "at": [plain(item.coordinates[0].label)]}
    if item.exact is None:
        return (*traces[:-1], points)
    dot = {"dash": "dot", "width": 2}
    exact = line(x, item.exact, name="exact", color=MUTED, line=dot, hoverinfo="skip")
    return (traces[0], exact, *traces[1:-1], points)


def _told(item: Landscape, *, transposed: bool = False) -> list[tuple[str, str, FloatArray | None, int]]:
    """What is told of a bin besides where it is: F first."""
    told: list[tuple[str, str, FloatArray, int]] = []
    if item.error is not None:
        told.append(("standard error", ENERGY, item.error, 2))
    if item.exact is not None:
        told.append(("exact F", ENERGY, item.exact, 2))
    if item.n_frames is not None:
        told.append(("frames", "", item.n_frames.astype(float), 0))
    told += [(f"mean {quantity.label}", quantity.unit, values, 2) for quantity, values in item.means]
    turned = [
        (label, unit, values.T if transposed else values, digits) for label, unit, values, digits in told
    ]
    return [("F", ENERGY, None, 2), *turned]


def _way(item: Landscape, path: Sequence[Stop]) -> tuple[Trace, ...]:
    """Points of the path and numbered basins on a map of the CV or of two observables."""
    points = [(_where(item, stop), stop) for stop in path]
    known = [(point, stop) for point, stop in points if point is not None]
    if not known:
        return ()
    xy = np.array([point for point, _ in known])
    outline = {"color": "var(--path-edge)", "width": 1}
    basins = [k for k, (_, stop) in enumerate(known) if stop.basin]
    common: dict[str, Any] = {"type": "scatter", "showlegend": False, "hoverinfo": "text"}
    return (
        common
        | {
            "mode": "markers",
            "x": numbers(xy[:, 0], 4),
            "y": numbers(xy[:, 1], 4),
            "hovertext": [plain(stop.label) for _, stop in known],
            "marker": {"size": 6, "color": "var(--path)", "line": outline},
        },
        common
        | {
            "mode": "markers+text",
            "x": numbers(xy[basins, 0], 4),
            "y": numbers(xy[basins, 1], 4),
            "text": [str(known[k][1].basin) for k in basins],
            "hovertext": [plain(known[k][1].label) for k in basins],
            "textfont": {"color": "var(--path-edge)", "size": 12},
            "marker": {"size": 19, "color": "var(--path)", "line": outline},
        },
    )


def _where(item: Landscape, stop: Stop) -> tuple[float, float] | None:
    """A stop in the plane of a map; None where its coordinates are not known."""
    values = {f"xi_{k + 1}": float(value) for k, value in enumerate(stop.xi)}
    values |= {quantity.name: value for quantity, value in stop.observables}
    found = [values.get(coordinate.name) for coordinate in item.coordinates]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _in_time(places: Sequence[FreeEnergies]) -> Iterator[Slot]:
    """Delta F and the change of F along the CV as frames came."""
    found = [place.in_time for place in places]
    frames: list[tuple[Trace, ...]] = []
    never: set[str] = set()
    is_told = False
    for item in found:
        told = None if item is None else item.with_interval
        if item is None or told is None:
            frames.append(())
            continue
        is_told = True
        if not np.isfinite(told[0]).any():  # traces without a point are axes without a word
            frames.append(())
            never |= {side for side, end in _NEVER.items() if np.any(told[0] == end)}
            continue
        frames.append(estimate(item.time_ns, *told, name="ΔF", colors=(LINES[0], BANDS[0])))
    if is_told:
        why = " or never ".join(sorted(never))
        why = f" Not known where walkers never {why} the region." if why else ""
        yield Slot(
            id="in-time-delta-f",
            section="energies",
            title="ΔF from the frames up to a time",
            caption="Of these frames alone, with 95 % intervals (hatched: no bound is known): it should stop "
            f"moving before the end.{why}",
            layout={"xaxis": axis("simulated time, all walkers [ns]"), "yaxis": axis(f"ΔF [{ENERGY}]")},
            frames=tuple(frames),
            group="places",
        )
    if any(item is not None and item.xi_change is not None for item in found):
        yield Slot(
            id="in-time-xi",
            section="energies",
            title="How far F along the CV was from its final estimate",
            caption="Root-mean-square difference of F of the extended variable, below 10 kT.",
            layout={
                "xaxis": axis("simulated time, all walkers [ns]"),
                "yaxis": axis(f"difference [{ENERGY}]", rangemode="tozero"),
            },
            frames=tuple(
                ()
                if item is None or item.xi_change is None
                else (line(item.time_ns, item.xi_change, name="F(ξ)", color=INK, mode="lines+markers"),)
                for item in found
            ),
            group="places",
        )
