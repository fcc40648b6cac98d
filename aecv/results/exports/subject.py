"""What an exported input is about: a collective variable of some atoms, and the bias along it."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import CVError, GridError, suggestion
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.numerics.kernels.network import ACTIVATIONS, TANH

Form = Literal["pytorch", "ann", "plain"]
FORMS: tuple[Form, ...] = ("pytorch", "ann", "plain")
BiasKind = Literal["drr", "metad", "opes", "none"]
BIASES: tuple[BiasKind, ...] = ("drr", "metad", "opes", "none")

LengthUnit = Literal["nm", "angstrom"]

METAD_SIGMAS = 20
"""Widths of a metadynamics kernel in the range of the CV."""


class AtomName(NamedTuple):
    """How a PDB file calls an atom."""

    name: str
    residue: str
    residue_number: int
    element: str


UNNAMED = AtomName("X", "MOL", 1, "")
"""An atom of which only the number is known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedCV:
    """The collective variable.

    Attributes:
        title: what it is called, for comments.
        kernel: network or internal coordinates; None where only a TorchScript file is known.
        n_components: d.
        atom_indices: its atoms in the whole system, 0-based, in the kernel's order, shape (n_atoms,).
        atom_names: of these atoms.
        periodic: per component.
        in_box: whether the simulation has periodic boundaries.
        paths: for a box, places in `atom_indices` of atoms that are near each other; every path but the first
            begins with a place of an earlier one. Left out: one path of all in their order.

    Raises:
        CVError: when a length does not fit.
    """

    title: str
    kernel: Encoder | InternalCoordinates | None
    n_components: int
    atom_indices: IntArray
    atom_names: tuple[AtomName, ...]
    periodic: tuple[bool, ...]
    in_box: bool
    paths: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if len(self.atom_names) != len(self.atom_indices) or len(self.periodic) != self.n_components:
            raise CVError(
                f"export of {self.title}: needs a name per atom and a periodic flag per component, got "
                f"{len(self.atom_names)} of {len(self.atom_indices)} and {len(self.periodic)} of "
                f"{self.n_components}"
            )

    @property
    def size(self) -> str:
        """How many components of how many atoms, in words."""
        return f"{_counted(self.n_components, 'component')} of {_counted(len(self.atom_indices), 'atom')}"

    @property
    def serials(self) -> list[int]:
        """Numbers of the atoms as the other programs count them, from 1."""
        return [int(index) + 1 for index in self.atom_indices]

    @property
    def entities(self) -> list[list[int]]:
        """The paths as numbers of atoms, from 1."""
        return [[self.serials[place] for place in path] for path in self.paths] or [self.serials]

    @property
    def labels(self) -> list[str]:
        """Names of the components, those of colvar.dat."""
        return [f"xi_{c + 1}" for c in range(self.n_components)]

    @property
    def reference(self) -> FloatArray:
        """Centred reference of the alignment, shape (n_atoms, 3) [nm]; (0, 3) where nothing is aligned."""
        return self.kernel.reference if isinstance(self.kernel, Encoder) else np.empty((0, 3))

    def network(self, form: str) -> Encoder:
        """The network, for a form that writes out its weights.

        Raises:
            CVError: when it is not known as arrays.
        """
        if not isinstance(self.kernel, Encoder):
            raise CVError(
                f"export of {self.title}: the form '{form}' writes the network's weights, and this CV has no "
                "cv.npz of aecv; use the form 'pytorch'"
            )
        return self.kernel


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedBias:
    """The bias, and how often results are written.

    Attributes:
        kind: drr (extended ABF), metad, opes or none.
        extended: grid, coupling and dynamics of lambda; None only for no bias.
        temperature_k: of the simulation.
        barrier_kj_mol: free energy up to which is biased.
        print_steps: MD steps between lines of COLVAR.
        output_steps: MD steps between writings of the bias.
    """

    kind: BiasKind
    extended: ExtendedVariable | None
    temperature_k: float
    barrier_kj_mol: float
    print_steps: int
    output_steps: int

    def coupled(self, cv: ExportedCV) -> ExtendedVariable:
        """The extended variable.

        Raises:
            GridError: when there is none, its grid is not that of the CV, or a period is not 2 pi.
        """
        if self.extended is None:
            raise GridError(
                f"export of {cv.title}: the bias '{self.kind}' needs the range of the CV, it is not known; "
                "export with the bias 'none'"
            )
        grid = self.extended.grid
        if grid.n_dims != cv.n_components:
            raise GridError(
                f"export of {cv.title}: the CV has {cv.n_components} components, the grid of the bias has "
                f"{grid.n_dims} dimensions; take the bias of a run along this CV"
            )
        if grid.periodic != cv.periodic:
            raise GridError(
                f"export of {cv.title}: the CV is periodic as {cv.periodic}, the grid as {grid.periodic}"
            )
        for c in np.flatnonzero(grid.periodic):
            period = grid.upper[c] - grid.lower[c]
            # dihedrals: what other programs take for one has the period of an angle
            if not np.isclose(period, 2.0 * np.pi, rtol=1e-6):
                raise GridError(
                    f"export of {cv.title}: periodic component {c + 1} needs a range of 2 pi, got "
                    f"{short(grid.lower[c])} to {short(grid.upper[c])}, {short(period)} wide; export a run "
                    "along the whole period, or with the bias 'none'"
                )
        return self.extended


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a CV is written.

    Attributes:
        form: of a learned CV.
        length: unit of length of the engine.
        timestep_ps: of the simulation.
    """

    form: Form
    length: LengthUnit = "nm"
    timestep_ps: float = 0.001

    def has_module(self, cv: ExportedCV) -> bool:
        """Whether the program reads the CV from cv.pt; internal coordinates are its own actions."""
        return self.form == "pytorch" and not isinstance(cv.kernel, InternalCoordinates)

    def listed(self, cv: ExportedCV, texts: Iterable[str]) -> list[str]:
        """Names of all files but the README."""
        return [*texts, *(["cv.pt"] if self.has_module(cv) else [])]


def sigma(extended: ExtendedVariable) -> FloatArray:
    """Spread of xi around lambda, sqrt(kT/kappa), shape (d,) [CV]."""
    return np.sqrt(extended.kt / np.array(extended.kappa))


def tau_ps(extended: ExtendedVariable) -> float:
    """Period of a free lambda on its spring, 2 pi sqrt(m/kappa) [ps]; the same for all components."""
    return float(2.0 * np.pi * np.sqrt(extended.mass[0] / extended.kappa[0]))


def hidden_activations(network: Encoder, written: Container[int], program: str) -> str:
    """Names of the activations of a network's hidden layers, for comments.

    Args:
        written: those that the other program has.

    Raises:
        CVError: for one that is not among them.
    """
    names = list(dict.fromkeys(ACTIVATIONS[f] for f in network.activations[:-1])) or [ACTIVATIONS[TANH]]
    lacking = [ACTIVATIONS[f] for f in network.activations if f not in written]
    if lacking:
        raise CVError(
            f"export: {program} has no {lacking[0]}, which the network takes on a hidden layer; "
            "use the form 'pytorch'"
        )
    return ", ".join(names)


def check_word(what: str, word: str, known: tuple[str, ...]) -> None:
    """CVError unless the word is one of the known ones."""
    if word not in known:
        raise CVError(
            f"export: {what} needs one of {', '.join(known)}, got '{word}'{suggestion(word, known)}"
        )


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def number(value: float) -> str:
    """A float with as many digits as it takes to read back the same one."""
    return repr(float(value))


def short(value: float) -> str:
    """A float for people: 10 significant digits, no trailing zeros."""
    return f"{float(value):.10g}"


def listed(values: ArrayLike) -> str:
    """Numbers joined by commas, with all their digits."""
    return ",".join(number(value) for value in np.ravel(np.asarray(values, dtype=float)))
