"""Systems from every format: the same molecule gives the same energy, and bad files say what is wrong."""

import shutil
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import unit

from aecv.ground.errors import MolecularSystemError, SettingsError
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import build
from tests.sampling.system import three_atoms
from tests.sampling.system.three_atoms import (
    FORMATS,
    POSITIONS,
    nonbonded_method,
    potential_energy,
    write_system,
)

OPEN = [kind for kind in FORMATS if kind != "openmm"]
"""Formats that leave the treatment of forces open."""


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_energy_in_closed_form(tmp_path: Path, kind: str) -> None:
    """18.9 kJ/mol; Amber's and CHARMM's own units and the charges' constant are rounded in the 6th digit."""
    built = build(load_system(write_system(tmp_path / "tri", kind)))
    np.testing.assert_allclose(built.positions, POSITIONS, atol=1e-9)
    np.testing.assert_allclose(built.masses, [15.999, 1.008, 1.008])
    assert potential_energy(built.system, built.positions) == pytest.approx(three_atoms.energy(), rel=2e-5)
    assert [atom.name for atom in built.topology.atoms()] == ["O1", "H1", "H2"]
    assert built.mdtraj_topology.n_bonds == 2


@pytest.mark.parametrize("kind", OPEN)
def test_constraints_and_masses_are_treated_alike(tmp_path: Path, kind: str) -> None:
    more = 'constraints = "HBonds"\nhydrogen_mass_da = 3.0'
    built = build(load_system(write_system(tmp_path / "tri", kind, more=more)))
    lengths = [built.system.getConstraintParameters(i)[2] for i in range(built.system.getNumConstraints())]
    np.testing.assert_allclose([x.value_in_unit(unit.nanometer) for x in lengths], [0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(built.masses, [15.999 - 2 * (3.0 - 1.008), 3.0, 3.0], rtol=1e-6)


@pytest.mark.parametrize("kind", OPEN)
def test_a_box_and_a_cutoff_are_treated_alike(tmp_path: Path, kind: str) -> None:
    folder = write_system(tmp_path / "tri", kind, more='nonbonded = "PME"\ncutoff_nm = 0.9', box_nm=2.5)
    built = build(load_system(folder))
    assert nonbonded_method(built.system) == openmm.NonbondedForce.PME
    box = built.system.getDefaultPeriodicBoxVectors()
    np.testing.assert_allclose([box[i][i].value_in_unit(unit.nanometer) for i in range(3)], [2.5] * 3)
    (force,) = (f for f in built.system.getForces() if isinstance(f, openmm.NonbondedForce))
    assert force.getCutoffDistance().value_in_unit(unit.nanometer) == pytest.approx(0.9)


@pytest.mark.parametrize("kind", OPEN)
def test_a_box_that_is_missing_or_too_small_is_refused(tmp_path: Path, kind: str) -> None:
    more = 'nonbonded = "PME"'
    with pytest.raises(MolecularSystemError, match=r"'PME' needs a box, the file has none; add it"):
        build(load_system(write_system(tmp_path / "none", kind, more=more)))
    folder = write_system(tmp_path / "small", kind, more=more, box_nm=1.5)
    with pytest.raises(MolecularSystemError, match=r"box is 1\.5 nm wide, less than twice .*cutoff_nm 1;"):
        build(load_system(folder))


def test_an_openmm_system_takes_the_box_of_the_structure(tmp_path: Path) -> None:
    folder = write_system(tmp_path / "tri", "openmm", box_nm=3.0)
    system = three_atoms.openmm_system()
    force = openmm.NonbondedForce()
    for _ in range(3):
        force.addParticle(0.0, 0.1, 0.0)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    system.addForce(force)
    (folder / "tri_system.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    box = build(load_system(folder)).system.getDefaultPeriodicBoxVectors()
    assert box[0][0].value_in_unit(unit.nanometer) == pytest.approx(3.0)


@pytest.mark.parametrize("kind", ["amber", "charmm"])
def test_implicit_solvent_lowers_the_energy_of_a_dipole(tmp_path: Path, kind: str) -> None:
    """A Born term of charges 0.6, 0.3, 0.3 e in spheres of 0.15 nm is tens of kJ/mol."""
    folder = write_system(tmp_path / "tri", kind, more='implicit_solvent = "OBC2"')
    built = build(load_system(folder))
    gained = three_atoms.energy() - potential_energy(built.system, built.positions)
    assert 10.0 < gained < 200.0


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("amber", "tri.prmtop"),
        ("amber", "tri.inpcrd"),
        ("gromacs", "itp/molecule.itp"),
        ("charmm", "tri.prm"),
        ("openmm", "tri_system.xml"),
    ],
)
def test_every_file_counts_in_the_hash(tmp_path: Path, kind: str, name: str) -> None:
    folder = write_system(tmp_path / "tri", kind)
    before = load_system(folder).hash
    with open(folder / name, "a", encoding="utf-8") as handle:
        handle.write("\n")
    assert load_system(folder).hash != before


def test_a_force_field_file_that_includes_another_counts_with_it(tmp_path: Path) -> None:
    folder = write_system(tmp_path / "tri", "forcefield")
    (folder / "tri.xml").rename(folder / "inner.xml")
    (folder / "tri.xml").write_text('<ForceField><Include file="inner.xml"/></ForceField>', encoding="utf-8")
    spec = load_system(folder)
    assert potential_energy(build(spec).system, POSITIONS) == pytest.approx(three_atoms.energy(), rel=2e-5)
    (folder / "inner.xml").write_text("<ForceField> </ForceField>", encoding="utf-8")
    assert load_system(folder).hash != spec.hash


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "name", "old", "new", "message"),
    [
        ("amber", "tri.prmtop", "%FLAG MASS", "%FLAG MESS", r"tri\.prmtop: needs parameters for all"),
        (
            "amber",
            "tri.prmtop",
            "%FLAG POINTERS",
            "%FLAG NOTHING",
            r"tri\.prmtop: needs an Amber topology that",
        ),
        ("amber", "tri.inpcrd", "    3\n", "    4\n", r"tri\.inpcrd: needs a readable structure, got"),
        ("amber", "tri.inpcrd", "   1.0400000", "         nan", r"finite positions, those of atom 2 are not"),
        ("gromacs", "tri.gro", "    3\n", "    9\n", r"tri\.gro: needs a readable structure, got"),
        ("gromacs", "tri.gro", "   H2", "   C2", r"same order; atom 3 is C2, there it is H2 of TRI 1"),
        ("gromacs", "tri.top", "TRI 1", "TRI 2", r"got 3 positions for 6 atoms .* belong together"),
        ("gromacs", "tri.top", "TRI 1", "TRX 1", r"tri\.top: needs a Gromacs topology that OpenMM can read"),
        ("gromacs", "itp/ff.itp", "HX 1 1.008", "HY 1 1.008", r"tri\.top: needs a Gromacs topology .*'HX'"),
        ("charmm", "tri.psf", "3 !NATOM", "x !NATOM", r"tri\.psf: needs a CHARMM structure file"),
        ("charmm", "tri.psf", "PSF", "FSP", r"tri\.psf: needs a CHARMM structure file"),
        ("charmm", "tri.prm", "HX OX HX", "OX HX OX", r"tri\.psf: needs parameters for all of its atoms"),
        ("charmm", "tri.prm", "MASS -1 HX", "MASS x HX", r"tri\.prm: needs readable CHARMM parameters"),
        ("openmm", "tri_system.xml", 'type="System"', 'type="Sistem"', r"needs an OpenMM System that"),
        ("openmm", "tri_system.xml", "<Particles>", '<Particles><Particle mass="1"/>', r"for 3 atoms and 4"),
        (
            "forcefield",
            "tri.xml",
            'name="H2"',
            'name="H2"  element="x"',
            r"force field tri\.xml needs to know",
        ),
    ],
)
def test_a_bad_file_is_named(
    tmp_path: Path,
    kind: str,
    name: str,
    old: str,
    new: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And by the error alone: OpenMM's reader of .psf also prints what it stumbles over."""
    folder = write_system(tmp_path / "tri", kind)
    _edit(folder / name, old, new)
    with pytest.raises(MolecularSystemError, match=message):
        build(load_system(folder))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("spelling", ['type="PythonForce"', "type = 'PythonForce'", 'type="&#80;ythonForce"'])
def test_code_hidden_in_a_system_is_not_run(tmp_path: Path, spelling: str) -> None:
    """However it is spelled: OpenMM's parser knows single quotes, spaces and numbered characters."""
    folder = write_system(tmp_path / "tri", "openmm")
    system = three_atoms.openmm_system()
    system.addForce(openmm.PythonForce(nothing))
    text = openmm.XmlSerializer.serialize(system)
    assert 'type="PythonForce"' in text
    path = folder / "tri_system.xml"
    path.write_text(text.replace('type="PythonForce"', spelling), encoding="utf-8")
    with pytest.raises(MolecularSystemError, match=r"has a PythonForce, which hides Python code"):
        build(load_system(folder))
    path.write_text('<!DOCTYPE x [<!ENTITY p "PythonForce">]>' + text, encoding="utf-8")
    with pytest.raises(MolecularSystemError, match="needs an XML file without entity definitions"):
        build(load_system(folder))


def test_the_current_folder_brings_no_force_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMM alone would read amber99sbildn.xml from there, and run its script."""
    script = "<ForceField><InitializationScript>raise SystemExit('ran')</InitializationScript></ForceField>"
    (tmp_path / "amber99sbildn.xml").write_text(script)
    monkeypatch.chdir(tmp_path)
    assert build(load_system("ala2")).n_atoms == 22


def test_a_script_in_a_force_field_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(load_system("ala2").directory, folder)
    text = (folder / "system.toml").read_text()
    (folder / "system.toml").write_text(
        text.replace('"amber99sbildn.xml"]', '"amber99sbildn.xml", "own.xml"]')
    )
    (folder / "own.xml").write_text("<ForceField><Script>raise SystemExit('ran')</Script></ForceField>")
    with pytest.raises(MolecularSystemError, match=r"own.xml: holds a script, which would run"):
        build(load_system(folder))
    (folder / "own.xml").write_text('<ForceField><Include file="nowhere.xml"/></ForceField>')
    with pytest.raises(MolecularSystemError, match=r"includes 'nowhere.xml', which needs to lie beside it"):
        build(load_system(folder))


def nothing(state: openmm.State) -> tuple[float, np.ndarray]:
    """A force that can be pickled."""
    return 0.0, np.zeros((3, 3))


def test_a_second_thermostat_and_another_object_are_refused(tmp_path: Path) -> None:
    folder = write_system(tmp_path / "tri", "openmm")
    system = three_atoms.openmm_system()
    system.addForce(openmm.AndersenThermostat(300.0, 1.0))
    path = folder / "tri_system.xml"
    path.write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    with pytest.raises(MolecularSystemError, match=r"has an AndersenThermostat, and \[dynamics\] has"):
        build(load_system(folder))
    path.write_text(openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)), encoding="utf-8")
    with pytest.raises(MolecularSystemError, match=r"needs an OpenMM System, got VerletIntegrator"):
        build(load_system(folder))


@pytest.mark.parametrize(
    ("kind", "override", "message"),
    [
        ("openmm", "system.constraints=HBonds", r"system\.constraints is part of the OpenMM System"),
        ("openmm", "system.cutoff_nm=0.8", r"system\.cutoff_nm is part of the OpenMM System"),
        ("openmm", "system.hydrogen_mass_da=2", r"system\.hydrogen_mass_da is part of"),
        ("openmm", "system.nonbonded=PME", r"system\.nonbonded is part of the OpenMM System"),
        ("openmm", "system.implicit_solvent=OBC2", r"is for Amber and CHARMM topologies; take it out"),
        ("forcefield", "system.implicit_solvent=OBC2", r"name a file such as .implicit/obc2\.xml. in"),
        ("gromacs", "system.implicit_solvent=OBC2", r"is for Amber and CHARMM topologies"),
        ("amber", "system.forcefield=['amber14-all.xml']", r"brings its own forces, and system\.forcefield"),
        ("amber", "system.parameters=['tri.prm']", r"system\.parameters are those of a CHARMM \.psf"),
        ("amber", "system.include=itp", r"system\.include is for a Gromacs \.top"),
        (
            "amber",
            "system.structure=tri.gro",
            r"an Amber topology needs a file ending in \.inpcrd.*'tri\.gro'",
        ),
        ("amber", "system.topology=tri.tpr", r"system\.topology needs a file ending in .*, got 'tri\.tpr'"),
        ("charmm", "system.parameters=[]", r"system\.parameters needs the \.rtf, \.prm and \.str files"),
        ("charmm", "system.parameters=['tri.txt']", r"system\.parameters needs files ending in .*'tri\.txt'"),
        ("forcefield", "system.structure=tri.inpcrd", r"force-field files needs a file ending in \.pdb"),
    ],
)
def test_settings_that_contradict_the_files_are_refused(
    tmp_path: Path, kind: str, override: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load_system(write_system(tmp_path / "tri", kind), overrides=[override])


def test_implicit_solvent_in_a_box_is_refused(tmp_path: Path) -> None:
    changes = ["system.implicit_solvent=OBC2", "system.nonbonded=PME"]
    with pytest.raises(SettingsError, match=r"'OBC2' has no box: system\.nonbonded needs to be NoCutoff"):
        load_system(write_system(tmp_path / "tri", "amber"), overrides=changes)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("system.include=itpp", r"system\.include names 'itpp', which is no folder"),
        ("system.include=../..", r"system\.include needs a path inside"),
        ("system.topology=../tri.top", r"system\.topology needs a path inside"),
        ("system.topology=trii.top", r"system\.topology names 'trii\.top', .* did you mean 'tri\.top'"),
    ],
)
def test_paths_of_gromacs_are_checked(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(MolecularSystemError, match=message):
        load_system(write_system(tmp_path / "tri", "gromacs"), overrides=[override])


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            '#include "amber99.ff/forcefield.itp"',
            r"line 1: includes 'amber99\.ff/forcefield\.itp', .*copy it",
        ),
        ('#include "../outside.itp"', r"outside\.itp needs to be inside the system's folder"),
        ('#include "tri.top"', r"'tri\.top' includes itself"),
        ('#define POSRES\n#include "ff.itp"', r"line 4: includes 'posre\.itp'"),
    ],
)
def test_included_files_are_checked(tmp_path: Path, new: str, message: str) -> None:
    folder = write_system(tmp_path / "tri", "gromacs")
    (tmp_path / "outside.itp").write_text("; nothing\n", encoding="utf-8")
    _edit(folder / "tri.top", '#include "ff.itp"', new)
    with pytest.raises(MolecularSystemError, match=message):
        load_system(folder)


def test_a_real_topology_without_its_force_field_says_what_to_copy(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ala2_vacuum_amber99sbildn"
    for name in ("topol.top", "config.gro"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    (tmp_path / "system.toml").write_text(
        '[system]\nname = "gmx"\nstructure = "config.gro"\ntopology = "topol.top"\n[cv]\natoms = "all"\n',
        encoding="utf-8",
    )
    with pytest.raises(
        MolecularSystemError, match=r"includes 'amber99sb-ildn\.ff/forcefield\.itp', which is"
    ):
        load_system(tmp_path)
