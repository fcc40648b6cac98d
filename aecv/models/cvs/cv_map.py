"""The interface of every kind of CV, with what torch does for any; a file per kind, see `kinds`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.models.cvs.description import Description
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.extended_abf.kernel_memory import KernelMemory
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.kernels.internal import InternalCoordinates

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledStep:
    """One step of extended ABF as a compiled kernel.

    Attributes:
        memory: its arrays.
        kernel: a function of `step_kernels`.
        why: what is wrong when it gives no finite number.
    """

    memory: KernelMemory
    kernel: Callable[..., Any]
    why: str


@dataclass(frozen=True, kw_only=True, eq=False)
class CVMap(ABC):
    """xi, shape (F, d), of some atoms' positions [nm], shape (F, n_atoms, 3); immutable, can be pickled.

    A kind says its sizes and its `module`; torch then evaluates it. One that has files of its own names their
    `form` and adds `description`, `read`, and `arrays` where text is not enough.

    Attributes:
        kind: its name in cv.json; empty of networks, whose files say none.
        form: what its cv.json has to hold; None where aecv writes no files of it, but copies its `path`.
        has_arrays: whether cv.npz belongs to its files.
        identity: the field of cv.json by which two files are known to be of the same CV.
        path: its TorchScript file, where it has one.
    """

    kind: ClassVar[str] = ""
    form: ClassVar[type[Description] | None] = None
    has_arrays: ClassVar[bool] = False
    identity: ClassVar[str] = "sha256"

    path: Path | None = None

    @property
    @abstractmethod
    def n_atoms(self) -> int: ...

    @property
    @abstractmethod
    def n_components(self) -> int: ...

    @cached_property
    @abstractmethod
    def module(self) -> Any:
        """It as a torch module, (F, n_atoms, 3) -> (F, d); made or read at first use."""

    @property
    def kernel(self) -> Encoder | InternalCoordinates | None:
        """Its numbers as compiled kernels and other programs take them; None where torch evaluates it."""
        return None

    @property
    def reference(self) -> FloatArray | None:
        """Structure that frames are superposed on [nm], shape (n_atoms, 3); None where nothing says so."""
        return None

    @property
    def knows_place(self) -> bool:
        """Whether its numbers say that it depends on where the molecule is and how it is turned."""
        return False

    @property
    def in_python(self) -> str:
        """What of it only Python can run, in words; empty for what TorchScript holds."""
        return ""

    @property
    def identity_text(self) -> str:
        """What its `arrays` leave unsaid and its fingerprint has to hold."""
        return ""

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its numbers by their names in cv.npz."""
        return {}

    def values(self, frames: FloatArray) -> FloatArray:
        """xi, shape (F, d), of frames [nm], shape (F, n_atoms, 3)."""
        from aecv.models.cvs.torchscript import evaluate

        return evaluate(self.module, frames)

    def with_gradient(self, frames: FloatArray) -> tuple[FloatArray, FloatArray]:
        """xi, shape (F, d), and its gradient [1/nm], shape (F, d, n_atoms, 3)."""
        from aecv.models.cvs.torchscript import evaluate_with_gradient

        return evaluate_with_gradient(self.module, frames)

    def step(self, extended: ExtendedVariable) -> CompiledStep | None:
        """Its step of extended ABF; None where torch evaluates it."""
        return None

    def description(self) -> dict[str, Any]:
        """What cv.json says of it beyond what `cv_files.write_cv` writes of every CV."""
        return {}

    def to_script(self) -> Any:
        """The torch module that cv.pt is made of."""
        return self.module

    @classmethod
    def read(cls, path: Path, said: Mapping[str, Any], arrays: Arrays | None, script: Path | None) -> Self:
        """The map that files describe.

        Args:
            path: the file that is read, for messages.
            said: cv.json, in its form.
            arrays: those of cv.npz; None where only the TorchScript file is read, or there is no cv.npz.
            script: the TorchScript file, where there is one.

        Raises:
            CVError: when they do not fit each other.
        """
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Without the module, which cannot be pickled; workers make or read it again, from any folder."""
        kept = {name: value for name, value in self.__dict__.items() if name != "module"}
        return kept | {"path": None if self.path is None else self.path.absolute()}


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchMap(CVMap):
    """A map of which only torch knows more than its sizes.

    Attributes:
        sizes: n_atoms and n_components.
    """

    sizes: tuple[int, int]

    @property
    def n_atoms(self) -> int:
        return self.sizes[0]

    @property
    def n_components(self) -> int:
        return self.sizes[1]
