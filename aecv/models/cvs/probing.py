"""How a TorchScript model that came without a description takes its input: by a rule, or as the user says.

The rule: all frames together, positions as (F, n, 3) or, where the model cannot take these, as (F, 3n);
features as (F, m). In float64, since weights in float32 serve it as well, with smoother forces; in the
model's own precision where it computes in no other. --input-shape names the shape for any other model.
"""

from dataclasses import dataclass
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
    """The form in which a model gives 1 to 3 finite numbers per frame, each from its own frame alone; and a
    sentence on it.

    Args:
        path: the TorchScript file.
        inputs: positions, shape (F, n, 3), or features, shape (F, m), float64; F > 3 and F != n.
        layout: the one that the user names; None for the rule.
        content: of the file, where it has been read already.

    Raises:
        CVError: when it does not, or when both shapes of positions do and give different values.
    """
    names = FEATURE_LAYOUTS if inputs.ndim == 2 else LAYOUTS
    if layout is not None and layout not in names:
        raise CVError(f"{path}: its input needs one of the shapes {', '.join(names)}, got '{layout}'")
    tried = (layout,) if layout else tuple(name for name in names if name.startswith("(F"))
    own = _own_dtype(read_module(path, content)[0])
    failures: list[str] = []
    for dtype in dict.fromkeys((torch.float64, own, torch.float32)):
        model = read_module(path, content)[0].to(dtype)
        values = {name: _values(model, inputs.to(dtype), name) for name in tried}
        found = {name: xi for name, xi in values.items() if isinstance(xi, Tensor)}
        if found:
            (first, xi), *others = found.items()
            if any(xi.shape != other.shape or not _alike(xi, other) for _, other in others):
                raise CVError(
                    f"{path}: takes inputs of shape {' and of shape '.join(found)} and gives different "
                    "values; say which is meant with --input-shape"
                )
            # a model that casts on its way computes no better than its output
            form = InputForm(layout=first, dtype=dtype if xi.dtype == torch.float64 else torch.float32)
            single = None
            if form.dtype != own == torch.float32:
                single = _values(read_module(path, content)[0], inputs.to(own), first)
            return form, _note(form, inputs, xi, single)
        failures = [reason for reason in values.values() if isinstance(reason, str)]
    raise CVError(f"{path}: {_complaint(model, inputs, failures, names)}")


def in_layout(model: torch.nn.Module, inputs: Tensor, layout: str) -> Tensor:
    """A model's output, (F, d), for inputs of shape (F, n, 3) or (F, m) that it gets in its own layout."""
    frames = inputs.flatten(1) if "3n" in layout else inputs
    if layout.startswith("(F"):
        return _rows(model(frames), len(frames))
    batches = frames[:, None] if layout.startswith("(1") else frames
    return torch.cat([_rows(model(batch), 1) for batch in batches])


class _Unfit(Exception):
    """Output that is no CV."""


def _rows(output: object, n_frames: int) -> Tensor:
    if not isinstance(output, Tensor):
        raise _Unfit(f"it returns a {type(output).__name__}, no tensor")
    d, rest = divmod(output.numel(), n_frames)
    is_row_each = n_frames == 1 or (output.ndim in (1, 2) and len(output) == n_frames)
    if rest or not 1 <= d <= MOST_COMPONENTS or not is_row_each:
        frames = "one frame" if n_frames == 1 else f"{n_frames} frames"
        raise _Unfit(f"it returns shape {tuple(output.shape)} for {frames}")
    return output.reshape(n_frames, d)


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


def _own_dtype(model: torch.nn.Module) -> torch.dtype:
    numbers = [value for value in model.state_dict().values() if value.is_floating_point()]
    return numbers[0].dtype if numbers else torch.float64


def _note(form: InputForm, inputs: Tensor, xi: Tensor, single: Tensor | str | None) -> str:
    """What is said of a form; `single`: the values in float32 where xi are those of weights taken further."""
    note = ""
    if isinstance(single, Tensor):
        change = float((single.double() - xi).abs().max())
        note = f"; its float32 numbers are taken to float64, which changes values by {change:.1e}"
    elif form.dtype != torch.float64:
        note = "; positions and forces are cast"
    what, precision = "features" if inputs.ndim == 2 else "positions", str(form.dtype).removeprefix("torch.")
    return f"takes {what} of shape {form.layout} in {precision}{note}"


def _complaint(model: torch.nn.Module, inputs: Tensor, reasons: list[str], names: tuple[str, ...]) -> str:
    came = inputs[0].numel()
    what = f"{came} features" if inputs.ndim == 2 else f"{came} coordinates of {came // 3} atoms"
    alone = next(name for name in names if not name.startswith("(F"))
    if _MIXES in reasons:
        return (
            f"{_MIXES}; export it so that it treats frames alone, or say with --input-shape '{alone}' that "
            "it is meant for one"
        )
    matrices = (value for value in model.state_dict().values() if value.ndim == 2 and min(value.shape) > 1)
    first = next((matrix for matrix in matrices if matrix.is_floating_point()), None)
    if first is not None and first.shape[1] != came:
        return (
            f"wants {first.shape[1]} numbers per frame (its first layer), got {what}; give the atoms or the "
            "features that it was trained on, in its order"
        )
    spoken = [reason for reason in dict.fromkeys(reasons) if reason.startswith("it ")]
    return (
        f"needs to return 1 to {MOST_COMPONENTS} finite numbers per frame, shape (F, d), for {what}: "
        f"{'; '.join(spoken or dict.fromkeys(reasons))}; the shape of a model of single frames is said with "
        f"--input-shape ({alone}, ...)"
    )
