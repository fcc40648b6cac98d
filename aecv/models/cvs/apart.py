"""Models of others, tried in a process of their own: it may open no file and write none.

TorchScript is a program. It can make and overwrite files (`torch.from_file`, `torch.save`), crash, or never
come to an end, and parts of it run when it is loaded. The process that tries it has read the model before it
gives up its right to open anything, has no environment to tell, and a limit of time and memory.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aecv.ground.errors import CVError
from aecv.models.cvs.archive import looked_at
from aecv.models.cvs.probing import InputForm, find_form
from aecv.models.cvs.torchscript import evaluate, read_module

PATIENCE_S = 300
"""Longest wait; loading torch takes seconds, from a cold, busy disk a minute."""
_CPU_S = 120
_MEMORY = 8 << 30
"""Beyond what torch itself takes [bytes]."""
_ENVIRONMENT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "CONDA_PREFIX",
    "SYSTEMROOT",
    "LANG",
    "LC_ALL",
)
_NO_FILES = "Too many open files"
"""What the operating system says when a process may open no more."""
TRUST = "CV: %s is a program, and runs with your rights: use those that you trust (docs/howto/trust.md)"
"""What is said where the model of another program is loaded."""


def find_form_apart(path: Path, inputs: Tensor, *, layout: str | None = None) -> tuple[InputForm, str]:
    """As `probing.find_form`, in a process of its own."""
    answer = _ask(path, inputs=inputs.numpy(), layout=np.array(layout or ""))
    return InputForm(layout=answer["layout"], dtype=getattr(torch, answer["dtype"])), answer["note"]


def n_components_apart(path: Path, n_atoms: int) -> int:
    """How many components a model gives of positions (1, n_atoms, 3); errors as `evaluate`."""
    return int(_ask(path, n_atoms=np.array(n_atoms))["n_components"])


def _ask(path: Path, **arrays: Any) -> dict[str, Any]:
    """The answer of the process.

    Raises:
        CVError: what the process raised, or how it ended.
    """
    if not path.is_file():
        raise CVError(f"{path}: needs a TorchScript file, there is none; check the path")
    model = looked_at(path)
    request = io.BytesIO()
    np.savez(request, path=np.array(str(path)), model=np.frombuffer(model, dtype=np.uint8), **arrays)
    home = Path(__file__).parents[3]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join([str(home), *filter(os.path.isabs, sys.path)])}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        with TemporaryDirectory(prefix="aecv-") as place:
            done = subprocess.run(
                [sys.executable, "-P", "-m", __name__],
                input=request.getvalue(),
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
                cwd=place,
                env=environment,
            )
    except subprocess.TimeoutExpired as error:
        raise CVError(f"{path}: gives no answer in {PATIENCE_S} s for a few frames") from error
    answer = _last_object(done.stdout)
    if answer is None:
        raise CVError(f"{path}: ends the process that tries it ({_ending(done)}); export the model again")
    if "error" in answer:
        raise CVError(answer["error"])
    return answer


def _last_object(output: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, IndexError):
        answer = json.loads(output.splitlines()[-1])
        return answer if isinstance(answer, dict) else None
    return None


def _ending(done: "subprocess.CompletedProcess[bytes]") -> str:
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    path, content = Path(str(request["path"])), request["model"].tobytes()
    if "n_atoms" in request:
        xi = evaluate(read_module(path, content)[0], np.zeros((1, int(request["n_atoms"]), 3)))
        return {"n_components": xi.shape[1]}
    inputs, layout = torch.tensor(request["inputs"]), str(request["layout"])
    form, note = find_form(path, inputs, layout=layout or None, content=content)
    return {"layout": form.layout, "dtype": str(form.dtype).removeprefix("torch."), "note": note}


def _warm_up() -> None:
    """Let torch load what it loads at first use, while it still can."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(6, 1), torch.zeros(1, 6)), buffer)
    _said(lambda: _answer({"path": "", "model": np.frombuffer(buffer.getvalue(), dtype=np.uint8),
                           "inputs": np.arange(24.0).reshape(4, 6) ** 2, "layout": ""}))  # fmt: skip


def _give_up_rights() -> None:
    """No further file, nothing written, an end; as far as the operating system knows such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = 0
    with suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    free = os.dup(0)  # the lowest number that the next file would get
    os.close(free)
    limits = {"FSIZE": 0, "CORE": 0, "CPU": _CPU_S, "NOFILE": free}
    if used:
        limits["AS"] = used + _MEMORY
    for name, limit in limits.items():
        with suppress(OSError, ValueError):  # it has less already
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))


def _said(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except CVError as error:
        return {"error": str(error)}


def _main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a model prints is no answer
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as archive:
        request = dict(archive)
    torch.set_num_threads(1)
    _warm_up()
    _give_up_rights()
    answer = _said(lambda: _answer(request))
    if _NO_FILES in answer.get("error", ""):
        answer["error"] = f"{request['path']}: opens files, which no CV needs to do; do not use it"
    answers.write(json.dumps(answer) + "\n")
    answers.close()


if __name__ == "__main__":
    _main()
