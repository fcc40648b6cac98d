"""How observables of many atoms are measured: the interface of a kind's file."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import mdtraj

from aecv.ground.arrays import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Selected:
    """The atoms that the settings of an observable name.

    Attributes:
        place: what messages call it.
        topology: all atoms.
        atoms: those selected, shape (n,).
        positions: of the structure, shape (N, 3) [nm]; None where there is none.
    """

    place: str
    topology: mdtraj.Topology
    atoms: IntArray
    positions: FloatArray | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Measure:
    """How an observable is measured.

    Attributes:
        atoms: those whose points `values` takes, shape (n,) or rows of them, (n, k).
        values: positions of these [nm], shape (F, *atoms.shape, 3), to shape (F,).
        edges: the edges of at most so many bins along it; None: even ones over the values there are.
    """

    atoms: IntArray
    values: Callable[[FloatArray], FloatArray]
    edges: Callable[[int], FloatArray] | None = None


def measured(kind: str, selected: Selected) -> Measure:
    """What `measure` of the file of a kind makes of the selected atoms.

    Raises:
        MolecularSystemError: when these are none that it can be measured of.
    """
    found = importlib.import_module(f"aecv.molecules.observables.{kind}").measure(selected)
    assert isinstance(found, Measure)
    return found
