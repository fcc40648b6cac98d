"""Any Python function in torch as a kind of CV; a probed model of another program is one too.

What torch.jit.trace makes of a function keeps one way through its branches and the shapes of one input, and
so may be another CV: of a function nothing is written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from aecv.models.cvs.cv_map import TorchMap


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionMap(TorchMap):
    """A function of positions; `path` is the model of another program, of which it is the Python around it.

    Attributes:
        function: positions as a torch tensor, shape (F, n_atoms, 3) [nm], to one of shape (F, d) or (F,).
        name: what it is called.
    """

    kind: ClassVar[str] = "function"

    function: Callable[[Any], Any]
    name: str

    @property
    def in_python(self) -> str:
        return "a Python function" if self.path is None else "a model of another program"

    @property
    def identity_text(self) -> str:
        # a model of another program has a lasting hash, code has none
        return str(getattr(self.function, "fingerprint", self.name))

    @cached_property
    def module(self) -> Any:
        from aecv.models.cvs.torchscript import FunctionModule

        return FunctionModule(self.function)
