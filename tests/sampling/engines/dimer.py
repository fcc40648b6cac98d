"""Two small molecules in a periodic box: a system's folder, a CV of both of them, and their images."""

from pathlib import Path

import numpy as np

from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.molecules.spec import load_system
from aecv.numerics.kernels.encoder import Encoder, encode
from aecv.sampling.dynamics.jobs import WalkerState
from aecv.sampling.system.images import system_box
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.platforms import choose_platform
from aecv.workflow.dynamics.coupling import extended_variable
from tests.sampling.engines.conftest import Bench
from tests.sampling.system import three_atoms

ANGLES = {"cubic": (90, 90, 90), "rectangular": (90, 90, 90), "dodecahedron": (60, 60, 90)}
SIDES = {"cubic": (2.4, 2.4, 2.4), "rectangular": (2.4, 2.6, 3.0), "dodecahedron": (2.6, 2.6, 2.6)}
"""Of the box [degrees], [nm]."""
_SECOND = np.array([0.25, 0.2, 0.1])
"""Where the second molecule is, from the first one [nm]."""
_TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def write_dimer(folder: Path, box: str, *, cut: bool = False, site: bool = False) -> Path:
    """A folder with its system.toml; `cut` puts every atom into the box, `site` adds virtual sites."""
    three_atoms.write_system(folder, "forcefield")
    first = three_atoms.POSITIONS
    molecules = [first, first @ _TURN + _SECOND]
    names = ["O1", "H1", "H2"]
    if site:
        molecules = [np.vstack([m, 0.6 * m[0] + 0.2 * m[1] + 0.2 * m[2]]) for m in molecules]
        names.append("M")
        text = (folder / "tri.xml").read_text(encoding="utf-8")
        for old, new in (
            ("</AtomTypes>", '<Type name="tri-M" class="M" mass="0"/></AtomTypes>'),
            (
                '<Bond atomName1="O1" atomName2="H1"/>',
                f'<Atom name="M" type="tri-M"/>{_SITE}\n  <Bond atomName1="O1" atomName2="H1"/>',
            ),
            ("</NonbondedForce>", '<Atom type="tri-M" charge="0" sigma="0.1" epsilon="0"/></NonbondedForce>'),
        ):
            assert old in text
            text = text.replace(old, new)
        (folder / "tri.xml").write_text(text, encoding="utf-8")
    vectors = vectors_of(box)
    lines = [
        "CRYST1" + "".join(f"{10 * side:9.3f}" for side in SIDES[box])
        + "".join(f"{angle:7.2f}" for angle in ANGLES[box]) + " P 1"
    ]  # fmt: skip
    for k, molecule in enumerate(molecules):
        for j, (name, where) in enumerate(zip(names, molecule, strict=True)):
            if cut:
                where = where - np.floor(np.linalg.solve(vectors.T, where)) @ vectors
            x, y, z = 10 * where
            serial, element = k * len(names) + j + 1, "EP" if name == "M" else name[0]
            lines.append(
                f"HETATM{serial:5d}  {name:<3s} TRI {'AB'[k]}{k + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
                f"  1.00  0.00          {element:>2s}"
            )
    for k in range(2):
        oxygen = k * len(names) + 1
        lines.append(f"CONECT{oxygen:5d}{oxygen + 1:5d}{oxygen + 2:5d}")
    (folder / "tri.pdb").write_text("\n".join([*lines, "END", ""]), encoding="utf-8")
    (folder / "system.toml").write_text(
        f'[system]\nname = "tri"\n{three_atoms.FORMATS["forcefield"]}\nconstraints = "HBonds"\n'
        'nonbonded = "CutoffPeriodic"\ncutoff_nm = 0.8\n[dynamics]\ntimestep_ps = 0.001\n[cv]\n'
        'atoms = "element O or element H"\n',
        encoding="utf-8",
    )
    return folder


_SITE = (
    '<VirtualSite type="average3" siteName="M" atomName1="O1" atomName2="H1" atomName3="H2" weight1="0.6" '
    'weight2="0.2" weight3="0.2"/>'
)


def vectors_of(box: str) -> np.ndarray:
    """Box vectors in rows, shape (3, 3) [nm]."""
    directions = np.eye(3)
    if box == "dodecahedron":
        directions[2] = 0.5, 0.5, np.sqrt(0.5)
    return np.array(SIDES[box])[:, None] * directions


def dimer_bench(folder: Path, *settings: str, platform: str = "Reference") -> Bench:
    """A bench along a made-up encoder of both molecules' atoms; lambda begins at xi, velocities at 300 K."""
    spec = load_system(folder, overrides=settings)
    system = build(spec)
    atoms = system.cv_atom_indices
    rng = np.random.default_rng(3)
    probe = system.positions[atoms] + 0.005 * rng.normal(size=(50, len(atoms), 3))
    encoder = Encoder(
        reference=system.positions[atoms],  # of a PDB file: PLUMED reads it with all digits
        weights=(3 * rng.normal(size=(20, 3 * len(atoms))), 0.3 * rng.normal(size=(2, 20))),
        biases=(0.1 * rng.normal(size=20), rng.normal(size=2)),
    )
    values = encode(encoder, probe)
    cv_range = np.array([values.min(axis=0) - 0.7, values.max(axis=0) + 0.7]).T
    out = folder / "cv"
    out.mkdir(exist_ok=True)
    export_cv(encoder, out, atom_indices=atoms, cv_range=cv_range, system="tri", system_hash="")
    cv = load_cv(out)
    extended = extended_variable(cv, probe, system.masses[atoms], spec.settings)
    with np.errstate(divide="ignore"):
        speeds = np.where(system.masses > 0, np.sqrt(2.494 / system.masses), 0.0)
    state = WalkerState(
        positions=system.positions,
        velocities=speeds[:, None] * rng.normal(size=(system.n_atoms, 3)),
        box=system_box(system.system),
        lam=cv(system.positions[atoms])[0],
        lam_velocity=np.zeros(2),
    )
    return Bench(system, choose_platform(system.system, platform), cv, extended, probe, state, spec.settings)


def images(bench: Bench, seed: int) -> dict[str, np.ndarray]:
    """The start in other images: per atom, per molecule, and all of it moved by a lattice vector."""
    box, positions = bench.state.box, bench.state.positions
    rng = np.random.default_rng(seed)
    half = len(positions) // 2
    per_molecule = np.repeat(rng.integers(-2, 3, size=(2, 3)), half, axis=0)
    return {
        "per atom": positions + rng.integers(-2, 3, size=positions.shape) @ box,
        "in the box": positions - np.floor(np.linalg.solve(box.T, positions.T).T) @ box,
        "per molecule": positions + per_molecule @ box,
        "all": positions + rng.integers(-9, 10, size=3) @ box,
    }
