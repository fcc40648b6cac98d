"""How a TorchScript model that came without a description wants its input: found by trying."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from aecv.ground.errors import CVError
from aecv.models.cvs.torchscript import read_module

LAYOUTS = ("(F, n, 3)", "(F, 3n)", "(1, n, 3)", "(1, 3n)", "(n, 3)", "(3n,)")
"""Of the positions of n atoms: all F frames together, or a single frame."""
FEATURE_LAYOUTS = ("(F, m)", "(1, m)", "(m,)")
"""Of m features."""
MOST_COMPONENTS = 3
_MIXES = "it gives a frame another value when there are others beside it"


@dataclass(frozen=True, kw_only=True)
class InputForm:
    """Layout, one of LAYOUTS or FEATURE_LAYOUTS, and precision of a model's input."""

    layout: str
    dtype: torch.dtype


def find_form(
    path: Path, inputs: Tensor, *, layout: str | None = None, content: bytes | None = None
) -> tuple[InputForm, str]:
    """The form in which a model gives 1 to 3 finite numbers per frame, each from its own frame alone.

    With it comes what is to be said of it, in words.

    Models are lenient: what is meant for x, y, z of atoms 0 and 4 may take the flat numbers 0 and 4 as well.
    Of several forms with different values the one counts that does not feel place and orientation.

    Frames together go before one by one, float64 before the model's own precision: weights in float32 serve
    float64 as well, with smoother forces.

    Args:
        path: the TorchScript file.
        inputs: positions, shape (F, n, 3), or features, shape (F, m), float64; F > 3 and F != n.
        layout: the only one to try.
        content: of the file, where it has been read already.

    Raises:
        CVError: when no form works, or several do and give different values.
    """
    names = FEATURE_LAYOUTS if inputs.ndim == 2 else LAYOUTS
    if layout is not None and layout not in names:
        raise CVError(f"{path}: its input needs one of the shapes {', '.join(names)}, got '{layout}'")
    together = tuple(name for name in names if name.startswith("(F"))
    groups = ((layout,),) if layout else (together, names[len(together) :])
    fresh = partial(_fresh, path, content)
    own = _own_dtype(fresh())
    failures: dict[str, str] = {}
    for dtype in dict.fromkeys((torch.float64, own, torch.float32)):
        model = fresh().to(dtype)
        for group in groups:
            found = {}
            for name in group:
                values = _values(model, inputs.to(dtype), name)
                if isinstance(values, Tensor):
                    found[name] = values
                elif dtype == own or values == _MIXES:
                    failures[name] = values
            if found:
                name = _the_one(path, found, model, inputs.to(dtype))
                form = InputForm(layout=name, dtype=_precision(found[name], dtype))
                return form, _note(fresh, form, inputs, own)
            if _MIXES in failures.values():
                raise CVError(
                    f"{path}: {_MIXES}; export it so that it treats frames alone, or say with "
                    f"--input-shape '{names[len(together)]}' that it is meant for one"
                )
    raise CVError(f"{path}: {_complaint(fresh(), inputs, failures)}")


def in_layout(model: torch.nn.Module, inputs: Tensor, layout: str) -> Tensor:
    """A model's output, (F, d), for inputs of shape (F, n, 3) or (F, m) that it gets in its own layout."""
    frames = inputs.flatten(1) if "3n" in layout else inputs
    if layout.startswith("(F"):
        return _rows(model(frames), len(frames))
    batch = 1 if layout.startswith("(1") else 0
    rows = [_row(model(frame[None] if batch else frame)) for frame in frames]
    return torch.stack(rows)


class _Unfit(Exception):
    """Output that is no CV."""


def _rows(output: object, n_frames: int) -> Tensor:
    if not isinstance(output, Tensor):
        raise _Unfit(f"it returns a {type(output).__name__}, no tensor")
    if output.ndim == 1 and len(output) == n_frames:
        return output[:, None]
    if output.ndim != 2 or len(output) != n_frames or not 1 <= output.shape[1] <= MOST_COMPONENTS:
        raise _Unfit(f"it returns shape {tuple(output.shape)} for {n_frames} frames")
    return output


def _row(output: object) -> Tensor:
    if not isinstance(output, Tensor):
        raise _Unfit(f"it returns a {type(output).__name__}, no tensor")
    if not 1 <= output.numel() <= MOST_COMPONENTS:
        raise _Unfit(f"it returns shape {tuple(output.shape)} for one frame")
    return output.reshape(-1)


def _values(model: torch.nn.Module, inputs: Tensor, layout: str) -> Tensor | str:
    """Output in a layout, (F, d), or why it is no CV in it."""
    try:
        with torch.no_grad():
            together = in_layout(model, inputs, layout)
            if not torch.is_floating_point(together):
                return f"it returns {together.dtype}, no floating-point numbers"
            if not bool(torch.isfinite(together).all()):
                return "it returns NaN or infinity"
            same = (together == together[0]).all(dim=0)
            if bool(same.any()):
                component = int(same.nonzero()[0]) + 1
                return f"it is constant: component {component} is the same in {len(together)} frames"
            if layout.startswith("(F"):
                apart = torch.cat([in_layout(model, frame[None], layout) for frame in inputs])
                # a model may compute in single precision inside, whose rounding differs from batch to batch
                if apart.shape != together.shape or not _alike(apart.float(), together.float()):
                    return _MIXES
        return together
    except _Unfit as problem:
        return str(problem)
    except Exception as error:  # whatever somebody's model raises
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _alike(first: Tensor, second: Tensor) -> bool:
    tolerance = 1e-4 if first.dtype == torch.float32 else 1e-9
    return bool(torch.allclose(first, second, rtol=tolerance, atol=tolerance))


def _the_one(path: Path, found: dict[str, Tensor], model: torch.nn.Module, inputs: Tensor) -> str:
    first, *others = found
    alike = [found[first].shape == found[name].shape and _alike(found[first], found[name]) for name in others]
    if all(alike):
        return first
    invariant = [name for name in found if inputs.ndim == 3 and _is_invariant(model, inputs, name)]
    if len(invariant) == 1:
        return invariant[0]
    other = others[alike.index(False)]
    raise CVError(
        f"{path}: takes inputs of shape {first} and of shape {other} and gives different values; "
        "say which is meant with --input-shape"
    )


def _is_invariant(model: torch.nn.Module, positions: Tensor, layout: str) -> bool:
    """Whether the output stays the same when the positions are moved and turned."""
    turn = torch.tensor([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]], dtype=positions.dtype)
    here, there = (_values(model, frames, layout) for frames in (positions, positions @ turn + 0.5))
    return isinstance(here, Tensor) and isinstance(there, Tensor) and _alike(here, there)


def _fresh(path: Path, content: bytes | None) -> torch.nn.Module:
    """The model as it is in its file."""
    return read_module(path, content)[0]


def _own_dtype(model: torch.nn.Module) -> torch.dtype:
    numbers = [value for value in model.state_dict().values() if value.is_floating_point()]
    return numbers[0].dtype if numbers else torch.float64


def _precision(values: Tensor, dtype: torch.dtype) -> torch.dtype:
    """A model that casts on its way computes no better than its output."""
    return dtype if values.dtype == torch.float64 else torch.float32


def _note(fresh: Callable[[], torch.nn.Module], form: InputForm, inputs: Tensor, own: torch.dtype) -> str:
    what = "features" if inputs.ndim == 2 else "positions"
    precision = str(form.dtype).removeprefix("torch.")
    note = ""
    if form.dtype == torch.float64 and own == torch.float32:
        with torch.no_grad():
            single = in_layout(fresh(), inputs.to(own), form.layout).double()
            double = in_layout(fresh().to(form.dtype), inputs, form.layout)
        change = float((single - double).abs().max())
        note = f"; its float32 numbers are taken to float64, which changes values by {change:.1e}"
    elif form.dtype != torch.float64:
        note = "; positions and forces are cast"
    return f"takes {what} of shape {form.layout} in {precision}{note}"


def _complaint(model: torch.nn.Module, inputs: Tensor, failures: dict[str, str]) -> str:
    came = inputs[0].numel()
    what = f"{came} features" if inputs.ndim == 2 else f"{came} coordinates of {came // 3} atoms"
    wanted = _first_width(model)
    if wanted is not None and wanted != came:
        return (
            f"wants {wanted} numbers per frame (its first layer), got {what}; give the atoms or the "
            "features that it was trained on, in its order"
        )
    reasons = list(dict.fromkeys(failures.values()))
    spoken = [reason for reason in reasons if reason.startswith("it ")]
    return (
        f"needs to return 1 to {MOST_COMPONENTS} finite numbers per frame, shape (F, d), for {what}: "
        f"{'; '.join(spoken or reasons)}"
    )


def _first_width(model: torch.nn.Module) -> int | None:
    """Inputs of the first weight matrix."""
    for value in model.state_dict().values():
        if value.ndim == 2 and value.is_floating_point() and min(value.shape) > 1:
            return int(value.shape[1])
    return None
