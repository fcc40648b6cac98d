"""The path between the two deepest basins: F along it, and the structures.

Balls and sticks are drawn by plotly.js, which the page holds anyway. A molecular viewer would draw ribbons
too, and be another script to carry, license and keep up to date; what a CV moves is seen without.
"""

from collections.abc import Iterator

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.results.page.drawing import BANDS, INK, LINES, Slot, axis, estimate, numbers, plain
from aecv.results.story.content import Story, Structures
from aecv.results.story.uncertainty import ENERGY, Z


def structure_slots(story: Story) -> Iterator[Slot]:
    """The viewer, where there are atoms to see, and F along the path, where there is one."""
    found = story.structures
    if found is None or not found.stops:
        return
    if found.elements:
        yield _viewer(found)
    if sum(stop.on_path for stop in found.stops) > 1:
        yield _along_path(found)


def stop_labels(structures: Structures) -> list[str]:
    """Per stop what is told beside the slider; plain text."""
    labels = []
    for stop in structures.stops:
        error = f" ± {stop.error:.1f}" if np.isfinite(stop.error) else ""
        seen = "".join(f", {item.label} {value:.2f}" for item, value in stop.observables)
        labels.append(f"{stop.label}: F {stop.free_energy:.1f}{error} {ENERGY}{seen}")
    return labels


def _viewer(found: Structures) -> Slot:
    left_out = f" Not shown: {found.left_out}." if found.left_out else ""
    positions = _flat_in_view(found.positions)
    reach = round(float(np.abs(positions).max()) + 0.5, 2)
    hidden = {"visible": False, "showspikes": False}
    return Slot(
        id="structures-3d",
        section="structures",
        title="Structures",
        caption="Drag to turn, scroll to zoom. Frames that lie in the bins of the path, each the one most "
        f"like the frame before, superposed.{left_out}",
        layout={
            "scene": {
                "aspectmode": "cube",
                **{f"{name}axis": hidden | {"range": [-reach, reach]} for name in "xyz"},
                "camera": {"eye": {"x": 0.0, "y": 0.0, "z": 1.25}, "up": {"x": 0, "y": 1, "z": 0}},
            },
            "uirevision": "keep",
            "showlegend": False,
        },
        frames=tuple(() for _ in found.stops),
        group="stops",
        molecule={
            "elements": list(found.elements),
            "atoms": [plain(name) for name in found.atoms],
            "bonds": [list(bond) for bond in found.bonds],
            "positions": numbers(positions, 2),
        },
    )


def _flat_in_view(positions: FloatArray) -> FloatArray:
    """Positions about their middle, turned so that the longest extent lies across and the shortest away."""
    centred = positions - positions.mean(axis=(0, 1))
    _, _, axes = np.linalg.svd(centred.reshape(-1, 3), full_matrices=False)
    axes[2] = np.cross(axes[0], axes[1])  # a rotation: a reflection would turn L into D
    return np.asarray(centred @ axes.T)


def _along_path(found: Structures) -> Slot:
    on_path = [stop for stop in found.stops if stop.on_path]
    x = np.arange(1, len(on_path) + 1)
    f = np.array([stop.free_energy for stop in on_path])
    error = np.array([stop.error for stop in on_path])
    basins = [k for k, stop in enumerate(on_path) if stop.basin]
    fixed = (
        *estimate(x, f, f - Z * error, f + Z * error, name="F", colors=(LINES[0], BANDS[0])),
        {
            "type": "scatter",
            "mode": "markers+text",
            "x": [int(x[k]) for k in basins],
            "y": numbers(f[basins]),
            "text": [f"basin {on_path[k].basin}" for k in basins],
            "textposition": "top center",
            "marker": {"color": LINES[0], "size": 8},
            "cliponaxis": False,
            "showlegend": False,
            "hoverinfo": "skip",
        },
    )
    frames = []
    for k, stop in enumerate(found.stops):
        mark = {"type": "scatter", "mode": "markers", "showlegend": False, "hoverinfo": "skip"}
        here = {"x": [int(x[k])], "y": numbers(f[k : k + 1])} if stop.on_path else {"x": [], "y": []}
        frames.append((mark | here | {"marker": {"color": INK, "size": 13, "symbol": "circle-open-dot"}},))
    return Slot(
        id="along-path",
        section="structures",
        title="F along the path between basins 1 and 2",
        caption="The way of largest flux on the grid of F(ξ) (MaxFlux: least sum of exp(F/kT) over its "
        "length); shaded: ±1.96 standard errors; hatched "
        "and dashed: the error is not known. The basins are the two deepest: a basin is as deep as the "
        "lowest pass out of it, into one that is lower, is high.",
        layout={"xaxis": axis("point of the path"), "yaxis": axis(f"F [{ENERGY}]")},
        fixed=fixed,
        frames=tuple(frames),
        group="stops",
    )
