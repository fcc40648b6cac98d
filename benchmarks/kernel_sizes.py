"""CVs of many sizes with their kernels, made up, for `kernel_cost.py`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from aecv.ground.grid import FloatArray
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import load_cv
from aecv.models.cvs.plain_cv import observable_cv, with_range, write_cv
from aecv.models.cvs.torchscript import read_module
from aecv.molecules.observables import ObservableSet
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf import step_kernels
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.extended_abf.kernel_memory import KernelMemory
from aecv.numerics.kernels.encoder import Encoder
from aecv.workflow.dynamics.coupling import extended_variable

N_ATOMS, HIDDEN, N_COMPONENTS = 8, (40,), 2
N_FRAMES = 200
CARBON_DA = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Size:
    """One row before it is measured: a CV with its kernel, and how both are called.

    Attributes:
        varied: what differs from the default.
        module: the CV as the exported TorchScript module.
        frames: of the CV's atoms, shape (N_FRAMES, n_atoms, 3) [nm].
    """

    varied: str
    cv: CV
    extended: ExtendedVariable
    module: torch.jit.ScriptModule
    frames: FloatArray
    kernel: Callable[..., float]
    memory: KernelMemory

    @property
    def layers(self) -> str:
        """24-40-2, or what a plain CV is called."""
        return str(self.cv.source) if self.cv.encoder is None else "-".join(map(str, self.cv.encoder.layers))


def make_sizes(
    hidden: Sequence[str], components: Sequence[int], atoms: Sequence[int], folder: Path
) -> Iterator[Size]:
    """The default, those that differ from it in one thing, and plain CVs; their files go into a folder."""
    encoders = [("default", N_ATOMS, HIDDEN, N_COMPONENTS)]
    encoders += [
        ("hidden layers", N_ATOMS, tuple(map(int, name.split("-"))), N_COMPONENTS) for name in hidden
    ]
    encoders += [("components", N_ATOMS, HIDDEN, d) for d in components]
    encoders += [("atoms", n, HIDDEN, N_COMPONENTS) for n in atoms]
    for index, (varied, n_atoms, widths, d) in enumerate(encoders):
        frames = made_up_frames(n_atoms)
        cv = made_up_encoder(frames[0], widths, d)
        yield _make_size(varied, cv, frames, folder / str(index))
    frames = made_up_frames(5)
    plain = ObservableSet(
        kinds={"phi": "dihedral", "psi": "dihedral", "distance": "distance"},
        indices={"phi": np.arange(4), "psi": np.arange(1, 5), "distance": np.arange(2)},
    )
    for names in (("phi", "psi"), ("distance",)):
        cv = observable_cv(plain, names)
        yield _make_size("plain CV", cv, frames[:, cv.atom_indices], folder / names[0])


def made_up_frames(n_atoms: int) -> FloatArray:
    """Atoms that scatter by 0.03 nm about random places, turned at random, shape (N_FRAMES, n_atoms, 3)."""
    rng = np.random.default_rng(n_atoms)
    places = 0.3 * rng.normal(size=(n_atoms, 3))
    frames = places + 0.03 * rng.normal(size=(N_FRAMES, n_atoms, 3))
    turns = Rotation.random(N_FRAMES, rng=rng).as_matrix()
    return np.einsum("fab,fib->fia", turns, frames)


def made_up_encoder(reference: FloatArray, hidden: Sequence[int], n_components: int) -> CV:
    """An encoder whose weights keep every layer's numbers near 1; they do not change what a step costs."""
    rng = np.random.default_rng(0)
    sizes = (reference.size, *hidden, n_components)
    scales = [3.0] + [1.0] * len(hidden)  # positions are a third of a nm
    pairs = zip(sizes[:-1], sizes[1:], scales, strict=True)
    encoder = Encoder(
        reference=reference,
        weights=tuple(scale * rng.normal(size=(n_out, n_in)) / np.sqrt(n_in) for n_in, n_out, scale in pairs),
        biases=tuple(0.1 * rng.normal(size=n_out) for n_out in sizes[1:]),
    )
    return CV(
        source="made up",
        encoder=encoder,
        module_path=None,
        atom_indices=np.arange(len(reference)),
        cv_range=np.full((n_components, 2), np.nan),
        system="",
        system_hash="",
        n_components=n_components,
    )


def _make_size(varied: str, cv: CV, frames: FloatArray, folder: Path) -> Size:
    """A CV written and read again, with its kernel; plain CVs keep the name that says what they are."""
    bins = 24 if cv.n_components == 3 else 50
    settings = load_system("ala2", overrides=[f"eabf.bins={bins}"]).settings
    local = replace(cv, atom_indices=np.arange(cv.n_atoms))
    write_cv(with_range(local, frames, margin=settings.eabf.margin), folder, system="", system_hash="")
    read = replace(load_cv(folder), source=cv.source)
    extended = extended_variable(read, frames, np.full(cv.n_atoms, CARBON_DA), settings)
    kernel, memory = kernel_of(read, extended)
    return Size(
        varied=varied,
        cv=read,
        extended=extended,
        module=read_module(folder / "cv.pt")[0],
        frames=frames,
        kernel=kernel,
        memory=memory,
    )


def kernel_of(cv: CV, extended: ExtendedVariable) -> tuple[Callable[..., float], KernelMemory]:
    """What OpenMM's callback calls for a CV, and the memory on which it works."""
    if cv.encoder is not None:
        return step_kernels.encoder_step, step_kernels.encoder_memory(cv.encoder, extended)
    return step_kernels.internal_step, step_kernels.internal_memory(cv.internal, extended)
