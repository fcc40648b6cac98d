"""Water and ions: what residues are called, and the solute before them in the order of atoms."""

import mdtraj

WATER = frozenset(("HOH", "WAT", "SOL", "TIP3", "TIP4", "TP3M", "SPC", "H2O", "DOD"))
"""Names of residues that are water."""
_IONS = "NA CL K NA+ CL- K+ CLA SOD POT LI CS RB MG CA ZN BR IOD F"
SOLVENT = WATER | frozenset(_IONS.split(" "))
"""Names of residues that are water or ions."""


def n_solute_atoms(topology: mdtraj.Topology) -> int:
    """Atoms up to the last one that is neither water nor an ion; all of them in a box of water alone.

    Programs write the solute first. An ion or a water among it counts with it, so that leading atoms have the
    same indices with and without the solvent.
    """
    solute = [a.index for a in topology.atoms if a.residue.name.upper() not in SOLVENT]
    return 1 + max(solute, default=topology.n_atoms - 1)
