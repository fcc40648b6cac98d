"""The reference of the alignment as a PDB file, with all the digits that its columns hold.

A coordinate has eight columns. The format asks for three decimals; PLUMED reads any number that stands in
them (src/tools/PDB.cpp), so that molecules within 10 A of their centre get five. The rotation that fits a
frame onto the reference depends on the reference, and with it xi does: the file should hold it exactly. A
centred one has endless digits, but the structure that it came from had three, and where it lies is without
effect on the rotation. So it is moved, by less than a unit of the last decimal, to where its coordinates are
short again; the network's first biases make up for the centre that this leaves.
"""

from collections.abc import Sequence

import numpy as np

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import CVError
from aecv.numerics.kernels.encoder import Encoder
from aecv.results.exports.subject import AtomName

ANGSTROM_PER_NM = 10.0
COLUMNS = 8
LARGEST_SERIAL = 99_999


def reference_pdb(reference: FloatArray, serials: Sequence[int], names: Sequence[AtomName]) -> str:
    """The text of the file: equal weights (occupancy and beta 1) for all atoms.

    Args:
        reference: centred, shape (n_atoms, 3) [nm].
        serials: numbers of the atoms in the whole system, from 1.
        names: of the atoms.

    Raises:
        CVError: when a number does not fit its columns.
    """
    if max(serials) > LARGEST_SERIAL:
        raise CVError(
            f"reference.pdb: atom number {max(serials)} does not fit its five columns; number the CV's atoms "
            f"below {LARGEST_SERIAL + 1} (the solvent last), or use the form 'pytorch'"
        )
    units, decimals = rounded(reference)
    rows = [
        "REMARK   1 reference of the alignment: the atoms of the CV, equal weights",
        f"REMARK   1 coordinates in A with {decimals} decimals, not the usual 3",
    ]
    for serial, name, point in zip(serials, names, units, strict=True):
        x, y, z = (f"{value / 10**decimals:{COLUMNS}.{decimals}f}" for value in point)
        # one letter of the element stands in the second column of the name
        atom = name.name[:4] if len(name.name) >= 4 else f" {name.name:<3}"
        rows.append(
            f"ATOM  {serial:5d} {atom:<4} {name.residue[:3]:>3} A{name.residue_number % 10_000:4d}    "
            f"{x}{y}{z}  1.00  1.00          {name.element[:2]:>2}"
        )
    return "\n".join([*rows, "END", ""])


def rounded(reference: FloatArray) -> tuple[IntArray, int]:
    """The reference as whole numbers of 10^-decimals A, moved so that the first atom is one.

    Coordinates of a structure with no more decimals than that differ by whole numbers: then nothing is lost.

    Args:
        reference: centred, shape (n_atoms, 3) [nm].

    Returns:
        whole numbers, shape (n_atoms, 3), and the decimals.

    Raises:
        CVError: when the molecule is too large for a PDB file.
    """
    angstrom = ANGSTROM_PER_NM * reference
    # one unit more, since rounding may add a digit
    widest = int(np.abs(angstrom).max() + 1.0)
    decimals = COLUMNS - len("-.") - len(str(widest))
    if decimals < 0:
        raise CVError(f"reference.pdb: a coordinate of {widest} A does not fit its {COLUMNS} columns")
    exact = angstrom * 10**decimals
    moved = exact + (np.round(exact[0]) - exact[0])
    return np.round(moved).astype(np.int64), decimals


def written_reference(reference: FloatArray) -> FloatArray:
    """The reference as the file holds it, shape (n_atoms, 3) [nm]; its centre is near the origin."""
    units, decimals = rounded(reference)
    return np.asarray(units / (ANGSTROM_PER_NM * 10**decimals), dtype=float)


def biases_after_fit(network: Encoder) -> tuple[FloatArray, ...]:
    """Biases for positions that are fitted onto the file: W_1 y + b_1 with y around the file's centre.

    Returns:
        per layer, shape (n_out,); only the first one differs from the network's.
    """
    if not network.is_aligned:
        return network.biases
    centre = written_reference(network.reference).mean(axis=0)
    first = network.biases[0] - network.weights[0] @ np.tile(centre, network.n_atoms)
    return (first, *network.biases[1:])
