"""aecv init: what is guessed, that it is validated, and every refusal with its words."""

from itertools import pairwise
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
from click.testing import CliRunner, Result
from openmm import app, unit

from aecv.commands.cli import main
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.structure import read_structure
from aecv.workflow.new_system import guesses
from aecv.workflow.new_system.guesses import Contents
from tests.sampling.system import three_atoms
from tests.sampling.system.three_atoms import write_system

ALA2 = load_system("ala2").structure_path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def init(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, arguments)], catch_exceptions=False)


def without_hydrogens(target: Path) -> Path:
    lines = ALA2.read_text(encoding="utf-8").splitlines()
    kept = [
        line for line in lines if not (line.startswith(("ATOM", "HETATM")) and line[76:78].strip() == "H")
    ]
    target.write_text("\n".join(line for line in kept if not line.startswith("CONECT")) + "\n")
    return target


def test_a_peptide_gets_a_system_that_can_be_built() -> None:
    result = init("mine", "--pdb", ALA2)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "next: aecv check mine"
    spec = load_system("mine")
    settings = spec.settings
    assert settings.system.name == "mine"
    assert settings.system.forcefield == ("amber99sbildn.xml", "amber99_obc.xml")
    assert (settings.system.nonbonded, settings.system.constraints) == ("NoCutoff", "none")
    assert settings.dynamics.timestep_ps == 0.001
    built = build(spec)
    # CH3 C N CA CB C N CH3, as in the system that comes with aecv
    assert built.cv_atom_indices.tolist() == build(load_system("ala2")).cv_atom_indices.tolist()
    shipped = build(load_system("ala2")).observables.compute(built.positions[None])
    values = built.observables.compute(built.positions[None])
    np.testing.assert_allclose(values["phi"], shipped["phi"])
    np.testing.assert_allclose(values["psi"], shipped["psi"])
    np.testing.assert_allclose(values["rmsd"], 0.0, atol=1e-9)
    assert settings.delta_f is not None
    assert settings.delta_f.observable == "phi"


def test_every_value_has_a_reason_above_it() -> None:
    init("mine", "--pdb", ALA2)
    lines = Path("mine/system.toml").read_text(encoding="utf-8").splitlines()
    for key in ("forcefield", "nonbonded", "constraints", "timestep_ps", "platform", "atoms", "ns", "mode"):
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{key} = "))
        assert lines[place - 1].startswith("# "), key


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("forcefield", ["--pdb", "tri.pdb", "--forcefield", "tri.xml"]),
        ("amber", ["--prmtop", "tri.prmtop", "--inpcrd", "tri.inpcrd"]),
        ("gromacs", ["--top", "tri.top", "--gro", "tri.gro", "--include", "itp"]),
        ("charmm", ["--psf", "tri.psf", "--pdb", "tri.pdb", "--parameters", "tri.prm"]),
        ("openmm", ["--xml", "tri_system.xml", "--pdb", "tri.pdb"]),
    ],
)
def test_every_format_becomes_a_system(kind: str, arguments: list[str]) -> None:
    write_system(Path("files"), kind)
    paths = [a if a.startswith("--") else f"files/{a}" for a in arguments]
    result = init("tri_mine", *paths)
    assert result.exit_code == 0, result.output
    built = build(load_system("tri_mine"))
    energy = three_atoms.potential_energy(built.system, built.positions)
    assert energy == pytest.approx(three_atoms.energy(), rel=2e-5)
    # two of its three atoms are hydrogens: the CV takes them all the same
    assert built.cv_atom_indices.tolist() == [0, 1, 2]
    assert built.spec.settings.dynamics.timestep_ps == 0.001
    assert built.observables.names == ("end_to_end", "rmsd")


def test_an_openmm_system_with_constraints_gets_their_time_step() -> None:
    write_system(Path("files"), "openmm")
    system = three_atoms.openmm_system()
    system.addConstraint(0, 1, 0.1)
    Path("files/tri_system.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    init("tri_mine", "--xml", "files/tri_system.xml", "--pdb", "files/tri.pdb")
    assert load_system("tri_mine").settings.dynamics.timestep_ps == 0.002
    assert "# The System has 1 constraints." in Path("tri_mine/system.toml").read_text(encoding="utf-8")


def test_missing_hydrogens_are_added_and_it_is_said() -> None:
    """A folder of a structure without them could not run: what is written was built."""
    bare = without_hydrogens(Path("bare.pdb"))
    result = init("bare", "--pdb", bare)
    assert result.exit_code == 0, result.output
    assert "12 hydrogens added at pH 7: no force field knows the structure as it is" in result.output
    assert "missing" not in result.output
    assert build(load_system("bare")).n_atoms == 22
    asked = init("whole", "--pdb", bare, "--add-hydrogens")
    assert "12 hydrogens added at pH 7\n" in asked.output
    assert Path("whole/bare.pdb").read_bytes() == Path("bare/bare.pdb").read_bytes()


def test_crystal_waters_can_be_dropped() -> None:
    text = ALA2.read_text(encoding="utf-8")
    water = "HETATM   23  O   HOH A   9       9.000   9.000   9.000  1.00  0.00           O\nEND"
    Path("wet.pdb").write_text(text.replace("END", water), encoding="utf-8")
    result = init("wet", "--pdb", "wet.pdb")
    assert "1 waters dropped: no force field knows the structure as it is" in result.output
    assert "few waters would evaporate, --solvate 1.0 keeps them and adds more" in result.output
    assert build(load_system("wet")).n_atoms == 22
    result = init("dry", "--pdb", "wet.pdb", "--drop-solvent")
    assert "1 residues of solvent dropped" in result.output
    assert build(load_system("dry")).n_atoms == 22
    Path("water.pdb").write_text(water + "\n", encoding="utf-8")
    result = init("only", "--pdb", "water.pdb", "--drop-solvent")
    assert result.exit_code == 1
    assert "water.pdb: has nothing but water and ions" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ala2", "--pdb", ALA2], "'ala2' is the name of a system that comes with aecv; choose another"),
        (["2mine", "--pdb", ALA2], "'2mine': a system's name needs to begin with a letter"),
        (["mine", "--pdb", "none.pdb"], "none.pdb: needs a file, found none"),
        (["mine", "--pdb", "."], ".: needs a file, found a folder"),
        (["mine", "--pdb", "notes.txt"], "notes.txt: with force-field files the coordinates need to end in"),
        (["mine", "--gro", "files/tri.gro"], "it needs a Gromacs topology beside it (--topology)"),
        (["mine", "--top", "notes.txt", "--gro", "files/tri.gro"], "a .tpr holds none that can be read"),
        (["mine", "--psf", "files/tri.psf", "--pdb", ALA2], "give its .rtf, .prm and .str files"),
        (
            ["mine", "--top", "files/tri.top", "--gro", "files/tri.gro"],
            "or say where it is: --include FOLDER",
        ),
        (
            ["mine", "--top", "files/tri.top", "--gro", "files/tri.gro", "--include", "nowhere"],
            "nowhere: needs a folder, for --include",
        ),
        (["mine", "--pdb", ALA2, "--include", "files"], "--include: is for a Gromacs topology"),
        (
            ["mine", "--xml", "files/tri_system.xml", "--pdb", "files/tri.pdb", "--add-hydrogens"],
            "its atoms are fixed; --add-hydrogens, --drop-solvent, --drop and --solvate are for",
        ),
        (
            [
                "mine",
                "--xml",
                "files/tri_system.xml",
                "--pdb",
                "files/tri.pdb",
                "--forcefield",
                "amber14-all.xml",
            ],
            "brings its own forces; leave --forcefield out",
        ),
        (["mine", "--xml", "files/tri_system.xml", "--pdb", ALA2], "got 22 positions for 22 atoms and 3"),
        (["mine", "--pdb", "empty.pdb"], "empty.pdb: has no atoms"),
        (
            ["mine", "--psf", "files/tri.psf", "--pdb", "files/tri.pdb", "--parameters", "files/bad.dat"],
            "system.parameters needs files ending in",
        ),
        (
            ["mine", "--pdb", "bare.pdb", "--forcefield", "amber14/tip3p.xml", "--add-hydrogens"],
            "cannot add hydrogens, since amber14/tip3p.xml needs to know every residue",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(arguments: list[str], message: str) -> None:
    for kind in ("gromacs", "charmm", "openmm"):
        write_system(Path("files"), kind)
    for name in ("notes.txt", "empty.pdb", "files/bad.dat"):
        Path(name).write_text("nothing\n", encoding="utf-8")
    without_hydrogens(Path("bare.pdb"))
    before = sorted(path.name for path in Path().iterdir())
    result = init(*arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert sorted(path.name for path in Path().iterdir()) == before


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_is_overwritten(kind: str) -> None:
    if kind == "file":
        Path("mine").write_text("precious", encoding="utf-8")
    else:
        Path("mine").mkdir()
    result = init("mine", "--pdb", ALA2)
    assert result.exit_code == 1
    assert (
        "mine: exists already, and nothing is overwritten; choose another name, or delete it" in result.output
    )
    assert Path("mine").is_dir() == (kind == "folder")


def test_two_files_of_one_name_are_refused() -> None:
    Path("a").mkdir()
    Path("a/x.pdb").write_bytes(ALA2.read_bytes())
    Path("b").mkdir()
    Path("b/x.pdb").write_text("<ForceField/>", encoding="utf-8")
    result = init("mine", "--pdb", "a/x.pdb", "--forcefield", "b/x.pdb")
    assert result.exit_code == 1
    assert "another file is also called x.pdb; rename one of them" in result.output


def water_box(n: int, width: float) -> Contents:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(n):
        topology.add_atom("O", mdtraj.element.oxygen, topology.add_residue("HOH", chain))
    return Contents(topology=topology, positions=np.zeros((n, 3)), box=np.eye(3) * width)


def test_a_box_counts_as_water_when_water_fills_it() -> None:
    """33 waters fill a cubic nanometre."""
    full, crystal = water_box(200, 2.0), water_box(20, 2.0)
    assert guesses.guess_nonbonded(full).value == "PME"
    assert guesses.guess_starts(full).value == "one"
    assert guesses.guess_nonbonded(crystal).value == "NoCutoff"
    assert "20 waters do not fill it" in guesses.guess_nonbonded(crystal).why
    # less than half the box
    assert guesses.guess_cutoff(full, "forcefield") == pytest.approx(0.9)
    assert guesses.guess_cutoff(water_box(2000, 4.0), "charmm") == pytest.approx(1.2)


def test_the_force_field_is_one_that_knows_every_residue() -> None:
    topology, _ = read_structure(ALA2)
    assert next(guesses.guess_forcefields(topology, is_solvated=True)).value == guesses.SOLVATED
    strange = app.Topology()
    strange.addAtom("X1", app.element.carbon, strange.addResidue("QQQ", strange.addChain()))
    (guess,) = guesses.guess_forcefields(strange, is_solvated=False)
    assert "do NOT know every residue" in guess.why


def test_a_real_protein_gets_a_handful_of_dihedrals(shared_data: Path) -> None:
    result = init("hairpin", "--pdb", shared_data / "chignolin" / "2RVD.pdb")
    assert result.exit_code == 0, result.output
    built = build(load_system("hairpin"))
    assert (built.n_atoms, len(built.cv_atom_indices)) == (166, 30)
    assert built.observables.names[:4] == ("phi_2", "psi_2", "phi_4", "psi_4")
    assert built.observables.names[10:] == ("end_to_end", "rg", "helicity", "rmsd")
    # 2RVD's NMR box of 0.1 nm is none
    assert built.spec.settings.system.nonbonded == "NoCutoff"
    trajectory = mdtraj.load(str(shared_data / "chignolin" / "2RVD.pdb"))
    phi = mdtraj.compute_phi(trajectory)[1][0, 0]
    values = built.observables.compute(built.positions[None])
    assert values["phi_2"][0] == pytest.approx(phi, abs=1e-5)
    assert values["helicity"][0] == 0.0  # a hairpin
    alpha = trajectory.atom_slice(trajectory.topology.select("name CA"))
    assert values["rg"][0] == pytest.approx(mdtraj.compute_rg(alpha)[0], abs=1e-5)


def test_a_large_protein_gets_one_atom_a_residue(shared_data: Path) -> None:
    structure = shared_data / "hsp90" / "full_atom" / "3FT8_openfe_prepared.pdb"
    topology, positions = read_structure(structure)
    contents = Contents(topology=mdtraj.Topology.from_openmm(topology), positions=positions, box=None)
    atoms = guesses.guess_cv_atoms(contents)
    assert atoms.value == "protein and name CA"
    assert len(contents.topology.select(str(atoms.value))) == len(contents.protein_residues)
    assert guesses.guess_starts(contents).value == "one"


def test_a_box_of_water_on_request() -> None:
    """0.6 nm of water on all sides of 0.9 nm of molecule; the settings are those of a box."""
    result = init("wet", "--pdb", ALA2, "--solvate", "0.6")
    assert result.exit_code == 0, result.output
    spec = load_system("wet")
    settings, built = spec.settings, build(spec)
    said = next(line for line in result.output.splitlines() if line.startswith("structure"))
    n_waters = (built.n_atoms - 22) // 3
    assert f"{n_waters} waters around it" in said
    assert 100 < n_waters < 400
    assert (settings.system.nonbonded, settings.starts.mode) == ("PME", "one")
    assert settings.barostat.pressure_bar == 1.0
    assert built.n_frame_atoms == 22
    assert built.system.usesPeriodicBoundaryConditions()


def test_waters_of_the_crystal_go_into_the_box() -> None:
    """They stand before the new ones, and do not count among those that are too many."""
    text = ALA2.read_text(encoding="utf-8")
    water = "HETATM   23  O   HOH A   9       0.500   0.500   4.000  1.00  0.00           O\nEND"
    Path("wet.pdb").write_text(text.replace("END", water), encoding="utf-8")
    result = init("wet", "--pdb", "wet.pdb", "--solvate", "0.6")
    assert result.exit_code == 0, result.output
    assert "2 hydrogens added at pH 7, " in result.output
    built = build(load_system("wet"))
    assert built.n_frame_atoms == 22
    # 0.47 nm from CA in the file, and hardly moved by relaxing
    assert np.linalg.norm(built.positions[22] - built.positions[8]) == pytest.approx(0.47, abs=0.05)


def test_water_around_a_topology_is_refused(tmp_path: Path) -> None:
    folder = write_system(tmp_path / "tri", "amber")
    result = init(
        "wet", "--prmtop", folder / "tri.prmtop", "--inpcrd", folder / "tri.inpcrd", "--solvate", "1"
    )
    assert result.exit_code == 1
    assert (
        "its atoms are fixed; --add-hydrogens, --drop-solvent, --drop and --solvate are for" in result.output
    )
    assert not Path("wet").exists()
    assert init("wet", "--pdb", ALA2, "--solvate", "-1").exit_code == 2


def with_ligand(target: Path, *, ion: bool) -> Path:
    """Alanine dipeptide beside two atoms that no force field knows."""
    atoms = [
        "HETATM   23  C1  LIG A   9       9.000   9.000   9.000  1.00  0.00           C",
        "HETATM   24  O1  LIG A   9      10.200   9.000   9.000  1.00  0.00           O",
    ]
    if ion:
        atoms.append("HETATM   25 NA    NA A  10      19.200   9.000   9.000  1.00  0.00          NA")
    text = ALA2.read_text(encoding="utf-8")
    target.write_text(text.replace("END", "\n".join([*atoms, "END"])), encoding="utf-8")
    return target


@pytest.mark.parametrize("ion", [False, True])
def test_what_would_help_was_tried(ion: bool) -> None:
    """A ligand has no parameters, and an ion none in implicit solvent: the command that is advised works."""
    structure = with_ligand(Path("complex.pdb"), ion=ion)
    result = init("mine", "--pdb", structure)
    assert result.exit_code == 1
    options = "--drop-solvent --drop LIG" if ion else "--drop LIG"
    assert "not in the force field: LIG 9: it knows no residue of that name; a ligand" in result.output
    assert result.output.endswith(f"(aecv init NAME --prmtop FILE --inpcrd FILE); it works with {options}\n")
    assert not Path("mine").exists()
    followed = init("mine", "--pdb", structure, *options.split())
    assert followed.exit_code == 0, followed.output
    assert "1 LIG dropped" in followed.output
    assert build(load_system("mine")).n_atoms == 22


def test_an_ion_that_the_implicit_solvent_does_not_know() -> None:
    structure = with_ligand(Path("complex.pdb"), ion=True)
    result = init("mine", "--pdb", structure, "--drop", "LIG")
    assert result.output.endswith("; it works with --drop-solvent\n")


def test_names_to_leave_out_are_held_against_the_file() -> None:
    structure = with_ligand(Path("complex.pdb"), ion=True)
    assert (
        "complex.pdb: has no residue QQQ to leave out"
        in init("a", "--pdb", structure, "--drop", "qqq").output
    )
    every = [word for name in ("ACE", "ALA", "NME", "LIG") for word in ("--drop", name)]
    result = init("a", "--pdb", structure, *every)
    assert "has nothing but water and ions besides ACE, ALA, LIG, NME" in result.output


def test_strange_hydrogens_are_taken_away_and_placed_anew() -> None:
    """HA called HX, as a program of its own names would."""
    text = ALA2.read_text(encoding="utf-8")
    assert " HA  ALA" in text
    Path("strange.pdb").write_text(text.replace(" HA  ALA", " HX  ALA"), encoding="utf-8")
    result = init("mine", "--pdb", "strange.pdb")
    assert "hydrogens of unknown names taken away (HX of ALA 2), 1 hydrogens added at pH 7" in result.output
    assert build(load_system("mine")).n_atoms == 22


def test_a_force_field_that_knows_the_residues_has_to_know_their_atoms_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The models of implicit solvent know fewer atoms than the templates do: those of DNA, for one."""
    pairs = (("amber14-all.xml", "amber99_obc.xml"), guesses.IMPLICIT)
    monkeypatch.setitem(guesses.CANDIDATES, False, pairs)
    result = init("mine", "--pdb", ALA2)
    assert result.exit_code == 0, result.output
    assert load_system("mine").settings.system.forcefield == guesses.IMPLICIT
    monkeypatch.setitem(guesses.CANDIDATES, False, pairs[:1])
    assert "GBSAOBCForce: No parameters" in init("other", "--pdb", ALA2).output
    assert not Path("other").exists()


def test_the_cv_is_of_the_largest_molecule(shared_cases: Path) -> None:
    """A host of 126 atoms and its guest: mdtraj's words for proteins select nothing of either."""
    folder = shared_cases / "host_guest"
    result = init("hg", "--prmtop", folder / "hg.prmtop", "--inpcrd", folder / "hg.inpcrd")
    assert result.exit_code == 0, result.output
    assert "of the largest of 2 molecules, CUC 1; the others are left out" in result.output
    built = build(load_system("hg"))
    residues = {list(built.topology.atoms())[k].residue.name for k in built.cv_atom_indices}
    assert (residues, len(built.cv_atom_indices)) == ({"CUC"}, 84)
    assert built.spec.settings.starts.mode == "one"


def strands(n_strands: int, n_nucleotides: int) -> Contents:
    """Nucleotides of the atoms that a CV is made of, in strands without a bond between them."""
    topology = mdtraj.Topology()
    for _ in range(n_strands):
        chain, last = topology.add_chain(), None
        for number in range(n_nucleotides):
            residue = topology.add_residue("DA", chain, resSeq=number + 1)
            atoms = [
                topology.add_atom(name, mdtraj.element.Element.getBySymbol(name[0]), residue)
                for name in ("P", "O5'", "C4'", "C1'", "C3'", "O3'", "C2", "C4", "C6")
            ]
            for first, second in pairwise(([] if last is None else [last]) + atoms):
                topology.add_bond(first, second)
            last = atoms[5]
    positions = np.random.default_rng(0).normal(size=(topology.n_atoms, 3))
    return Contents(topology=topology, positions=positions, box=None)


def test_a_nucleic_acid_is_all_of_its_strands() -> None:
    contents = strands(2, 6)
    guess = guesses.guess_cv_atoms(contents)
    assert guess.value == 'nucleic and name P "C4\'" "C1\'" C2 C4 C6'
    assert "of all 2 strands, which hold each other" in guess.why
    chosen = contents.topology.select(str(guess.value))
    chains = [contents.topology.atom(k).residue.chain.index for k in chosen]
    assert (chains.count(0), chains.count(1)) == (36, 36)
    names = [found.name for found in guesses.guess_observables(contents, str(guess.value))]
    assert names == ["end_to_end", "rg", "rmsd"]
    # of a long one two atoms a nucleotide, or one
    long = guesses.guess_cv_atoms(strands(2, 20))
    assert 'name P "C1\'"' in str(long.value)


def beads(n: int) -> app.Topology:
    topology = app.Topology()
    chain = topology.addChain()
    for number in range(n):
        topology.addAtom("CA", app.element.carbon, topology.addResidue("ALA", chain, str(number + 1)))
    return topology


def test_beads_are_asked_for_no_helicity() -> None:
    """CA alone has neither phi nor psi; forces come from elsewhere."""
    n, system = 12, openmm.System()
    bonds = openmm.HarmonicBondForce()
    for k in range(n):
        system.addParticle(110.0)
        if k:
            bonds.addBond(k - 1, k, 0.38, 1e4)
    system.addForce(bonds)
    Path("beads.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    positions = np.array([[0.3 * k, 0.23 * (k % 2), 0.1 * (k % 3)] for k in range(n)])
    with Path("beads.pdb").open("w", encoding="utf-8") as handle:
        app.PDBFile.writeFile(beads(n), positions * unit.nanometer, handle)
    result = init("chain", "--xml", "beads.xml", "--pdb", "beads.pdb")
    assert result.exit_code == 0, result.output
    built = build(load_system("chain"))
    assert built.observables.names == ("end_to_end", "rg", "rmsd")
    assert built.cv_atom_indices.tolist() == list(range(n))
    # and without forces it is said what they are
    alone = init("alone", "--pdb", "beads.pdb")
    assert alone.exit_code == 1
    assert "beads: the amino acids have no backbone of N, CA and C" in alone.output
    assert "as an OpenMM System (.xml)" in alone.output


def test_its_own_folder_is_overwritten_on_request_alone() -> None:
    """As it was written; what was changed since, or lies there besides, is a user's."""
    init("mine", "--pdb", ALA2)
    plain = init("mine", "--pdb", ALA2, "--add-hydrogens")
    assert plain.output.endswith("or --force, since it is as aecv init wrote it\n")
    assert init("mine", "--pdb", ALA2, "--add-hydrogens", "--force").exit_code == 0
    with Path("mine/system.toml").open("a", encoding="utf-8") as handle:
        handle.write("# mine\n")
    refused = init("mine", "--pdb", ALA2, "--force")
    assert refused.exit_code == 1
    assert "system.toml has changed since aecv init wrote it; choose another name" in refused.output
    assert Path("mine/system.toml").read_text(encoding="utf-8").endswith("# mine\n")
    again = init("mine", "--pdb", ALA2)
    assert "--force" not in again.output


def test_an_amino_acid_alone_is_told_so() -> None:
    text = ALA2.read_text(encoding="utf-8").splitlines()
    Path("one.pdb").write_text("\n".join(line for line in text if " ALA " in line) + "\nEND\n")
    assert "an amino acid alone is none of its residues" in init("one", "--pdb", "one.pdb").output
