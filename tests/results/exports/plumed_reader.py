"""A small interpreter of PLUMED inputs in numpy, written from PLUMED's manual and sources.

It knows the actions that computing a CV takes, and shares nothing with the exporter. FIT_TO_TEMPLATE is a
Kabsch fit by SVD.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch


@dataclass
class Action:
    name: str
    label: str
    keywords: dict[str, str]
    flags: list[str] = field(default_factory=list)

    def numbers(self, key: str) -> np.ndarray:
        signs = {"pi": np.pi, "-pi": -np.pi}
        return np.array([signs.get(word) or float(word) for word in self.keywords[key].split(",")])

    def atoms(self, key: str = "ATOMS") -> list[int]:
        return [int(word) - 1 for word in self.keywords[key].split(",")]


def read_actions(text: str) -> list[Action]:
    """Every action of an input; lines from `NAME ...` to `...` belong together."""
    actions = []
    for words in _statements(text):
        label = words.pop(0)[:-1] if words[0].endswith(":") else ""
        name, *rest = words
        keywords = dict(word.split("=", 1) for word in rest if "=" in word)
        actions.append(Action(name, label, keywords, [word for word in rest if "=" not in word]))
    return actions


def _statements(text: str) -> Iterator[list[str]]:
    continued: list[str] | None = None
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if continued is not None:
            if words[:1] == ["..."]:
                yield continued
                continued = None
            else:
                continued += words
        elif words and words[-1] == "...":
            continued = words[:-1]
        elif words:
            yield words
    assert continued is None, "an action is not closed"


def read_pdb(path: Path) -> tuple[list[int], np.ndarray]:
    """Serial numbers and positions [nm], by columns as PLUMED reads them; weights must be equal."""
    serials, points = [], []
    for line in path.read_text().splitlines():
        if line.startswith(("ATOM  ", "HETATM")):
            serials.append(int(line[6:11]))
            points.append([float(line[k : k + 8]) for k in (30, 38, 46)])
            assert float(line[54:60]) == 1.0
            assert float(line[60:66]) == 1.0
    return serials, np.array(points) / 10.0


def evaluate(folder: Path, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Value of every action per frame; frames of all atoms, shape (F, N, 3) [nm]."""
    values: dict[str, np.ndarray] = {}
    positions = np.array(frames, dtype=float)
    for action in read_actions((folder / "plumed.dat").read_text()):
        if action.name == "FIT_TO_TEMPLATE":
            assert action.keywords["TYPE"] == "OPTIMAL"
            positions = _fit(positions, *read_pdb(folder / action.keywords["REFERENCE"]))
        elif action.name in _KNOWN:
            values |= _KNOWN[action.name](action, values, positions, folder)
    return values


def _fit(positions: np.ndarray, serials: list[int], reference: np.ndarray) -> np.ndarray:
    chosen, centre = [serial - 1 for serial in serials], reference.mean(axis=0)
    turned = np.empty_like(positions)
    for k, frame in enumerate(positions):
        moved = frame - frame[chosen].mean(axis=0)
        u, _, vt = np.linalg.svd(moved[chosen].T @ (reference - centre))
        u[:, -1] *= np.sign(np.linalg.det(u @ vt))
        turned[k] = moved @ (u @ vt) + centre
    return turned


def _position(action, values, positions, folder):
    point = positions[:, action.atoms("ATOM")[0]]
    return {f"{action.label}.{axis}": point[:, k] for k, axis in enumerate("xyz")}


def _arguments(action, values) -> np.ndarray:
    return np.stack([values[word] for word in action.keywords["ARG"].split(",")], axis=1)


def _combine(action, values, positions, folder):
    assert action.keywords["PERIODIC"] == "NO"
    x = _arguments(action, values)
    c = action.numbers("COEFFICIENTS") if "COEFFICIENTS" in action.keywords else np.ones(x.shape[1])
    return {action.label: x @ c}


def _custom(action, values, positions, folder):
    (x,) = _arguments(action, values).T
    function = action.keywords["FUNC"]
    assert re.fullmatch(r"(tanh|exp|log|abs|min|max|x|[0-9.,/e+\-()])+", function), function
    names = {"tanh": np.tanh, "exp": np.exp, "log": np.log, "abs": np.abs}
    return {action.label: eval(function, names | {"min": np.minimum, "max": np.maximum, "x": x})}


def _ann(action, values, positions, folder):
    x, sizes = _arguments(action, values), action.numbers("NUM_NODES").astype(int)
    activations = action.keywords["ACTIVATIONS"].split(",")
    assert len(sizes) == int(action.keywords["NUM_LAYERS"]) == len(activations) + 1
    for k, activation in enumerate(activations):
        w = action.numbers(f"WEIGHTS{k}").reshape(sizes[k + 1], sizes[k])
        x = x @ w.T + action.numbers(f"BIASES{k}")
        x = {"Tanh": np.tanh, "Linear": lambda y: y}[activation](x)
    return {f"{action.label}.node-{k}": column for k, column in enumerate(x.T)}


def _pytorch(action, values, positions, folder):
    """As PLUMED does: freeze, optimise, a first call with zeros, then one frame in single precision each."""
    module = torch.jit.load(str(folder / action.keywords["FILE"])).eval()
    module = torch.jit.optimize_for_inference(torch.jit.freeze(module))
    rows = torch.tensor(_arguments(action, values), dtype=torch.float32)
    first = module(torch.zeros_like(rows[:1]))
    assert bool(torch.isfinite(first).all())
    xi = np.concatenate([module(row[None]).detach().numpy() for row in rows])
    return {f"{action.label}.node-{k}": column for k, column in enumerate(xi.T.astype(float))}


def _torsion(action, values, positions, folder):
    a, b, c, d = np.moveaxis(positions[:, action.atoms()], 1, 0)
    middle = (c - b) / np.linalg.norm(c - b, axis=1)[:, None]
    v = (a - b) - np.sum((a - b) * middle, axis=1)[:, None] * middle
    w = (d - c) - np.sum((d - c) * middle, axis=1)[:, None] * middle
    return {action.label: np.arctan2(np.sum(np.cross(middle, v) * w, axis=1), np.sum(v * w, axis=1))}


def _angle(action, values, positions, folder):
    a, b, c = np.moveaxis(positions[:, action.atoms()], 1, 0)
    cosine = np.sum((a - b) * (c - b), axis=1)
    cosine /= np.linalg.norm(a - b, axis=1) * np.linalg.norm(c - b, axis=1)
    return {action.label: np.arccos(cosine)}


def _distance(action, values, positions, folder):
    a, b = np.moveaxis(positions[:, action.atoms()], 1, 0)
    return {action.label: np.linalg.norm(a - b, axis=1)}


_KNOWN = {
    "POSITION": _position,
    "COMBINE": _combine,
    "CUSTOM": _custom,
    "ANN": _ann,
    "PYTORCH_MODEL": _pytorch,
    "TORSION": _torsion,
    "ANGLE": _angle,
    "DISTANCE": _distance,
}
