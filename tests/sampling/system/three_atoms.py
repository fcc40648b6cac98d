"""A bent molecule of three atoms in every format that describes one, with an energy known in closed form.

Two bonds and an angle, harmonic; atoms one or two bonds apart do not interact otherwise:
E = k/2 [(r1 - b)^2 + (r2 - b)^2] + k_angle/2 (theta - theta0)^2.
"""

from pathlib import Path

import numpy as np
import openmm
from openmm import unit

BOND_K, BOND_B = 40_000.0, 0.1
"""[kJ/mol/nm^2] and [nm]"""
ANGLE_K, ANGLE_0 = 400.0, 1.9
"""[kJ/mol/rad^2] and [rad]"""
KCAL = 4.184
POSITIONS = np.array([[0.0, 0.0, 0.0], [0.104, 0.0, 0.0], [-0.03, 0.093, 0.0]])
"""[nm], with the digits that all formats keep."""
FORMATS = {
    "forcefield": 'structure = "tri.pdb"\nforcefield = ["tri.xml"]',
    "amber": 'structure = "tri.inpcrd"\ntopology = "tri.prmtop"',
    "gromacs": 'structure = "tri.gro"\ntopology = "tri.top"\ninclude = "itp"',
    "charmm": 'structure = "tri.pdb"\ntopology = "tri.psf"\nparameters = ["tri.prm"]',
    "openmm": 'structure = "tri.pdb"\ntopology = "tri_system.xml"',
}


def energy(positions: np.ndarray = POSITIONS) -> float:
    """The energy in closed form [kJ/mol]."""
    first, second = positions[1] - positions[0], positions[2] - positions[0]
    r = np.array([np.linalg.norm(first), np.linalg.norm(second)])
    theta = np.arccos(first @ second / r.prod())
    return float(0.5 * BOND_K * np.sum((r - BOND_B) ** 2) + 0.5 * ANGLE_K * (theta - ANGLE_0) ** 2)


def write_system(folder: Path, kind: str, *, more: str = "", box_nm: float | None = None) -> Path:
    """A system's folder in one of FORMATS; `more` goes into [system]."""
    folder.mkdir(parents=True, exist_ok=True)
    _WRITERS[kind](folder, box_nm)
    (folder / "system.toml").write_text(
        f'[system]\nname = "tri"\n{FORMATS[kind]}\n{more}\n[dynamics]\ntimestep_ps = 0.0005\n'
        '[cv]\natoms = "all"\n',
        encoding="utf-8",
    )
    return folder


def write_pdb(folder: Path, box_nm: float | None) -> None:
    lines = []
    if box_nm:
        lines.append(f"CRYST1{10 * box_nm:9.3f}{10 * box_nm:9.3f}{10 * box_nm:9.3f}  90.00  90.00  90.00 P 1")
    for k, (name, element) in enumerate((("O1", "O"), ("H1", "H"), ("H2", "H"))):
        x, y, z = 10 * POSITIONS[k]
        where = f"{x:8.3f}{y:8.3f}{z:8.3f}"
        lines.append(f"HETATM{k + 1:5d}  {name:<3s} TRI A   1    {where}  1.00  0.00          {element:>2s}")
    lines += ["CONECT    1    2    3", "CONECT    2    1", "CONECT    3    1", "END", ""]
    (folder / "tri.pdb").write_text("\n".join(lines), encoding="utf-8")


def _write_forcefield(folder: Path, box_nm: float | None) -> None:
    write_pdb(folder, box_nm)
    (folder / "tri.xml").write_text(
        f"""<ForceField>
 <AtomTypes>
  <Type name="tri-O" class="O" element="O" mass="15.999"/>
  <Type name="tri-H" class="H" element="H" mass="1.008"/>
 </AtomTypes>
 <Residues><Residue name="TRI">
  <Atom name="O1" type="tri-O"/><Atom name="H1" type="tri-H"/><Atom name="H2" type="tri-H"/>
  <Bond atomName1="O1" atomName2="H1"/><Bond atomName1="O1" atomName2="H2"/>
 </Residue></Residues>
 <HarmonicBondForce><Bond class1="O" class2="H" length="{BOND_B}" k="{BOND_K}"/></HarmonicBondForce>
 <HarmonicAngleForce>
  <Angle class1="H" class2="O" class3="H" angle="{ANGLE_0}" k="{ANGLE_K}"/>
 </HarmonicAngleForce>
 <NonbondedForce coulomb14scale="0.8333333333" lj14scale="0.5">
  <Atom type="tri-O" charge="-0.6" sigma="0.3" epsilon="0.6"/>
  <Atom type="tri-H" charge="0.3" sigma="0.1" epsilon="0.1"/>
 </NonbondedForce>
</ForceField>
""",
        encoding="utf-8",
    )


def _write_amber(folder: Path, box_nm: float | None) -> None:
    (folder / "tri.prmtop").write_text(_prmtop(box_nm), encoding="utf-8")
    rows = "".join(f"{value:12.7f}" for value in 10 * POSITIONS.ravel()[:6])
    last = "".join(f"{value:12.7f}" for value in 10 * POSITIONS.ravel()[6:])
    box = "" if box_nm is None else f"{10 * box_nm:12.7f}" * 3 + f"{90.0:12.7f}" * 3 + "\n"
    (folder / "tri.inpcrd").write_text(f"three atoms\n    3\n{rows}\n{last}\n{box}", encoding="utf-8")


def _prmtop(box_nm: float | None) -> str:
    pointers = [3, 2, 2, 0, 1, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 1, 1, 0, 2, 0]
    pointers += [0] * 7 + [0 if box_nm is None else 1, 3, 0, 0]
    a, b = zip(*(_lennard_jones(i, j) for i, j in (("O", "O"), ("O", "H"), ("H", "H"))), strict=True)
    sections: list[tuple[str, str, list]] = [
        ("TITLE", "20a4", ["three"]),
        ("POINTERS", "10I8", pointers),
        ("ATOM_NAME", "20a4", ["O1", "H1", "H2"]),
        ("CHARGE", "5E16.8", [18.2223 * q for q in (-0.6, 0.3, 0.3)]),
        ("ATOMIC_NUMBER", "10I8", [8, 1, 1]),
        ("MASS", "5E16.8", [15.999, 1.008, 1.008]),
        ("ATOM_TYPE_INDEX", "10I8", [1, 2, 2]),
        ("NUMBER_EXCLUDED_ATOMS", "10I8", [2, 1, 1]),
        ("NONBONDED_PARM_INDEX", "10I8", [1, 2, 2, 3]),
        ("RESIDUE_LABEL", "20a4", ["TRI"]),
        ("RESIDUE_POINTER", "10I8", [1]),
        ("BOND_FORCE_CONSTANT", "5E16.8", [BOND_K / 2 / KCAL / 100]),
        ("BOND_EQUIL_VALUE", "5E16.8", [10 * BOND_B]),
        ("ANGLE_FORCE_CONSTANT", "5E16.8", [ANGLE_K / 2 / KCAL]),
        ("ANGLE_EQUIL_VALUE", "5E16.8", [ANGLE_0]),
        *((name, "5E16.8", []) for name in ("DIHEDRAL_FORCE_CONSTANT", "DIHEDRAL_PERIODICITY")),
        ("DIHEDRAL_PHASE", "5E16.8", []),
        ("LENNARD_JONES_ACOEF", "5E16.8", list(a)),
        ("LENNARD_JONES_BCOEF", "5E16.8", list(b)),
        ("BONDS_INC_HYDROGEN", "10I8", [0, 3, 1, 0, 6, 1]),
        ("BONDS_WITHOUT_HYDROGEN", "10I8", []),
        ("ANGLES_INC_HYDROGEN", "10I8", [3, 0, 6, 1]),
        ("ANGLES_WITHOUT_HYDROGEN", "10I8", []),
        ("DIHEDRALS_INC_HYDROGEN", "10I8", []),
        ("DIHEDRALS_WITHOUT_HYDROGEN", "10I8", []),
        ("EXCLUDED_ATOMS_LIST", "10I8", [2, 3, 3, 0]),
        ("HBOND_ACOEF", "5E16.8", []),
        ("HBOND_BCOEF", "5E16.8", []),
        ("AMBER_ATOM_TYPE", "20a4", ["OX", "HX", "HX"]),
        ("RADIUS_SET", "1a80", ["modified Bondi radii (mbondi)"]),
        ("RADII", "5E16.8", [1.5, 1.2, 1.2]),
        ("SCREEN", "5E16.8", [0.85, 0.85, 0.85]),
    ]
    if box_nm is not None:
        sections.append(("BOX_DIMENSIONS", "5E16.8", [90.0, *[10 * box_nm] * 3]))
    return "%VERSION  VERSION_STAMP = V0001.000\n" + "".join(_section(*section) for section in sections)


def _lennard_jones(first: str, second: str) -> tuple[float, float]:
    """A and B of 4 eps [(sigma/r)^12 - (sigma/r)^6] in kcal/mol and angstrom."""
    sigma, epsilon = {"O": 3.0, "H": 1.0}, {"O": 0.6 / KCAL, "H": 0.1 / KCAL}
    s = 0.5 * (sigma[first] + sigma[second])
    e = np.sqrt(epsilon[first] * epsilon[second])
    return 4 * e * s**12, 4 * e * s**6


def _section(flag: str, form: str, values: list) -> str:
    per_line = int(form.lower().split("a")[0].split("i")[0].split("e")[0])
    cell = {"a": "{:<4s}", "i": "{:8d}", "e": "{:16.8E}"}[next(c for c in form.lower() if c.isalpha())]
    lines = [
        "".join(cell.format(value) for value in values[k : k + per_line])
        for k in range(0, max(1, len(values)), per_line)
    ]
    return f"%FLAG {flag}\n%FORMAT({form})\n" + "\n".join(lines) + "\n"


def _write_gromacs(folder: Path, box_nm: float | None) -> None:
    (folder / "itp").mkdir(exist_ok=True)
    (folder / "tri.top").write_text(
        '#include "ff.itp"\n#ifdef POSRES\n#include "posre.itp"\n#endif\n'
        "[ system ]\nthree atoms\n[ molecules ]\nTRI 1\n",
        encoding="utf-8",
    )
    (folder / "itp" / "ff.itp").write_text(
        "[ defaults ]\n1 2 yes 0.5 0.8333\n[ atomtypes ]\n"
        "OX 8 15.999 0.0 A 0.3 0.6\nHX 1 1.008 0.0 A 0.1 0.1\n"
        '#include "molecule.itp"\n',
        encoding="utf-8",
    )
    (folder / "itp" / "molecule.itp").write_text(
        "[ moleculetype ]\nTRI 3\n[ atoms ]\n"
        "1 OX 1 TRI O1 1 -0.6 15.999\n2 HX 1 TRI H1 1 0.3 1.008\n3 HX 1 TRI H2 1 0.3 1.008\n"
        f"[ bonds ]\n1 2 1 {BOND_B} {BOND_K}\n1 3 1 {BOND_B} {BOND_K}\n"
        f"[ angles ]\n2 1 3 1 {np.rad2deg(ANGLE_0):.8f} {ANGLE_K}\n",
        encoding="utf-8",
    )
    width = box_nm or 0.0
    atoms = [
        f"{1:5d}{'TRI':<5s}{name:>5s}{k + 1:5d}{x:8.4f}{y:8.4f}{z:8.4f}\n"
        for k, (name, (x, y, z)) in enumerate(zip(("O1", "H1", "H2"), POSITIONS, strict=True))
    ]
    (folder / "tri.gro").write_text(
        f"three atoms\n{3:5d}\n{''.join(atoms)}{width:10.5f}{width:10.5f}{width:10.5f}\n", encoding="utf-8"
    )


def _write_charmm(folder: Path, box_nm: float | None) -> None:
    write_pdb(folder, box_nm)
    atoms = [
        f"{k + 1:8d} TRI  1    TRI  {name:<4s} {kind:<4s} {q:10.6f}     {m:9.4f}           0\n"
        for k, (name, kind, q, m) in enumerate(
            (("O1", "OX", -0.6, 15.999), ("H1", "HX", 0.3, 1.008), ("H2", "HX", 0.3, 1.008))
        )
    ]
    empty = ("!NPHI: dihedrals", "!NIMPHI: impropers", "!NDON: donors", "!NACC: acceptors")
    (folder / "tri.psf").write_text(
        "PSF\n\n       1 !NTITLE\n REMARKS three atoms\n\n"
        f"{3:8d} !NATOM\n{''.join(atoms)}\n"
        f"{2:8d} !NBOND: bonds\n{1:8d}{2:8d}{1:8d}{3:8d}\n\n"
        f"{1:8d} !NTHETA: angles\n{2:8d}{1:8d}{3:8d}\n\n"
        + "".join(f"{0:8d} {title}\n\n\n" for title in empty)
        + f"{0:8d} !NNB\n\n{0:8d}{0:8d}{0:8d}\n\n"
        + f"{1:8d}{0:8d} !NGRP NST2\n{0:8d}{1:8d}{0:8d}\n\n",
        encoding="utf-8",
    )
    (folder / "tri.prm").write_text(
        "* three atoms\n*\n\nATOMS\nMASS -1 OX 15.999 O\nMASS -1 HX 1.008 H\n\n"
        f"BONDS\nOX HX {BOND_K / 2 / KCAL / 100:.8f} {10 * BOND_B:.6f}\n\n"
        f"ANGLES\nHX OX HX {ANGLE_K / 2 / KCAL:.8f} {np.rad2deg(ANGLE_0):.8f}\n\n"
        "NONBONDED nbxmod 5 atom cdiel fshift vatom vdistance vfswitch -\n"
        "cutnb 14.0 ctofnb 12.0 ctonnb 10.0 eps 1.0 e14fac 1.0 wmin 1.5\n"
        "OX 0.0 -0.1434 1.6837\nHX 0.0 -0.0239 0.5612\n\nEND\n",
        encoding="utf-8",
    )


def openmm_system() -> openmm.System:
    """The same as a System made by hand."""
    system = openmm.System()
    for mass in (15.999, 1.008, 1.008):
        system.addParticle(mass)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for end in (1, 2):
        bonds.addBond(0, end, BOND_B, BOND_K)
    angles.addAngle(1, 0, 2, ANGLE_0, ANGLE_K)
    system.addForce(bonds)
    system.addForce(angles)
    return system


def _write_openmm(folder: Path, box_nm: float | None) -> None:
    write_pdb(folder, box_nm)
    text = openmm.XmlSerializer.serialize(openmm_system())
    (folder / "tri_system.xml").write_text(text, encoding="utf-8")


_WRITERS = {
    "forcefield": _write_forcefield,
    "amber": _write_amber,
    "gromacs": _write_gromacs,
    "charmm": _write_charmm,
    "openmm": _write_openmm,
}


def potential_energy(system: openmm.System, positions: np.ndarray) -> float:
    """[kJ/mol]"""
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions)
    value = context.getState(energy=True).getPotentialEnergy()
    return float(value.value_in_unit(unit.kilojoule_per_mole))


def nonbonded_method(system: openmm.System) -> int:
    """Of the force that holds the charges."""
    (force,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    return int(force.getNonbondedMethod())
