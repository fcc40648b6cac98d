"""aecv check: what is measured, and what is said of each thing that may be wrong."""

import re
from pathlib import Path

import numpy as np
import openmm
import pytest
from click.testing import CliRunner, Result

from aecv.commands.cli import main
from aecv.molecules.spec import load_system
from aecv.sampling.system import diagnosis
from aecv.sampling.system.molecular_system import build
from aecv.workflow.new_system.checking import examine
from tests.sampling.system import three_atoms
from tests.sampling.system.three_atoms import FORMATS, write_system


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of ala2 to spoil."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("system.toml", "ala2.pdb"):
        (folder / name).write_bytes((load_system("ala2").directory / name).read_bytes())
    return folder


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)], catch_exceptions=False)


def move(folder: Path, name: str, residue: str, to: np.ndarray) -> None:
    """Put an atom of ala2 elsewhere [angstrom]."""
    path = folder / "ala2.pdb"
    lines = path.read_text(encoding="utf-8").splitlines()
    for index, line in enumerate(lines):
        if line[12:16].strip() == name and line[17:20] == residue:
            lines[index] = line[:30] + "".join(f"{x:8.3f}" for x in to) + line[54:]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def position(name: str, residue: str) -> np.ndarray:
    """Of an atom of ala2 as its file has it [angstrom]; OpenMM calls some of them otherwise."""
    for line in load_system("ala2").structure_path.read_text(encoding="utf-8").splitlines():
        if line[12:16].strip() == name and line[17:20] == residue:
            return np.array([float(line[start : start + 8]) for start in (30, 38, 46)])
    raise AssertionError(name)


def test_a_sound_system_runs_and_gives_times() -> None:
    result = examine(load_system("ala2"))
    assert result.problem is None
    assert [f for f in result.findings if not f.startswith("busy machine")] == []
    assert result.energy_after is not None
    assert result.energy_before is not None
    assert result.energy_after <= result.energy_before
    # 66 degrees of freedom: within 5 standard deviations of 17 %
    assert 300 * (1 - 0.87) < result.temperature_k < 300 * (1 + 0.87)
    times = result.times
    assert times is not None
    # 10 iterations of 10 ns and a production of 20 ns, in steps of 1 fs
    assert times.iterations == pytest.approx(1e8 / times.steps_per_s / times.processes)
    assert times.production == pytest.approx(2e7 / times.steps_per_s / times.processes)
    # hot run of 1 ns in one process, 4 walkers of 20 ps side by side
    assert times.starts == pytest.approx((1e6 + 8e4 / times.processes) / times.steps_per_s)


def test_the_screen_says_what_will_happen() -> None:
    result = check("ala2", "--steps", "100")
    assert result.exit_code == 0
    for text in (
        "22 in 3 residues; 10 are no hydrogens, 0 constraints",
        "8 (24 inputs to the autoencoder): mass > 2 and not name O",
        "phi -1.35, psi 0.94",
        "Reference: 22 atoms <= 100",
        "100 steps of 0.001 ps at 300 K",
        "10 iterations of 10 ns",
        "next: aecv iterate --system ala2",
    ):
        assert text in result.output


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_can_be_checked(tmp_path: Path, kind: str) -> None:
    result = check(write_system(tmp_path / "tri", kind), "--steps", "100")
    assert result.exit_code == 0, result.output
    assert f"{three_atoms.energy():.1f} kJ/mol as it comes, 0.0 after minimising" in result.output


def test_a_particle_can_be_checked() -> None:
    result = check("mueller_brown", "--steps", "100")
    assert result.exit_code == 0
    assert "1 in 1 residues" in result.output


def test_missing_hydrogens_cannot_run(own: Path) -> None:
    path = own / "ala2.pdb"
    lines = [
        x for x in path.read_text().splitlines() if x[76:78].strip() != "H" and not x.startswith("CONECT")
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = check(own)
    assert result.exit_code == 1
    assert "missing hydrogens: 3 of 3 residues have none (ACE 1, ALA 2, NME 3)" in result.output
    assert "not in the force field: ACE 1, ALA 2, NME 3: hydrogens are missing" in result.output
    assert "cannot run" in result.output
    advised = re.search(r"aecv (init NAME --pdb \S+ --add-hydrogens)", result.output)
    assert advised is not None
    place = own.parent / "whole"
    words = advised.group(1).replace("NAME", str(place)).split()
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    assert check(place).exit_code == 0


def rename(folder: Path, old: str, new: str) -> None:
    path = folder / "ala2.pdb"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_a_residue_that_no_template_knows_is_named(own: Path) -> None:
    rename(own, "ALA", "LIG")
    result = check(own)
    assert result.exit_code == 1
    assert "not in the force field: LIG 2: it knows no residue of that name" in result.output
    assert "as an Amber topology" in result.output


def test_an_end_without_its_atoms_is_told(own: Path) -> None:
    """Without its cap the last residue lacks OXT."""
    path = own / "ala2.pdb"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text(
        "\n".join(x for x in lines if "NME" not in x and "CONECT" not in x) + "\n", encoding="utf-8"
    )
    result = check(own)
    assert result.exit_code == 1
    assert "ALA 2: it ends its chain, and an end needs all of its atoms" in result.output
    assert "or caps (ACE, NME)" in result.output


def test_atoms_that_a_residue_does_not_have_are_named(own: Path) -> None:
    rename(own, " HB3 ALA", " HX3 ALA")
    rename(own, " CB  ALA", " SB  ALA")
    path = own / "ala2.pdb"
    path.write_text(path.read_text(encoding="utf-8").replace("  C  \n", "  C  \n"), encoding="utf-8")
    result = check(own)
    said = result.output
    assert result.exit_code == 1, said
    assert "ALA 2: its atoms are not those of ALA (missing: CB HB3; not known there: HX3 SB)" in said


def test_alternate_locations_are_said(own: Path) -> None:
    """Both of the carbonyl oxygen: the one of 0.70 is taken, whose energy differs."""
    path = own / "ala2.pdb"
    lines = path.read_text(encoding="utf-8").splitlines()
    row = next(i for i, x in enumerate(lines) if x[12:16].strip() == "O" and x[17:20] == "ALA")
    shifted = f"{lines[row][:30]}{float(lines[row][30:38]) + 0.1:8.3f}{lines[row][38:]}"
    lines[row : row + 1] = [
        f"{line[:16]}{location}{line[17:54]}{share:6.2f}{line[60:]}"
        for line, location, share in ((lines[row], "A", 0.3), (shifted, "B", 0.7))
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = check(own, "--steps", "100")
    assert result.exit_code == 0, result.output
    assert "ALA 2 B (0.70; A 0.30)" in result.output


def test_a_clash_is_named(own: Path) -> None:
    move(own, "CB", "ALA", position("O", "ACE") + np.array([0.5, 0.0, 0.0]))
    result = examine(load_system(own), n_steps=100)
    assert any(
        f.startswith("clash: ") and "CB of ALA 2" in f and "0.050 nm apart" in f for f in result.findings
    )
    assert any(f.startswith("huge force in the structure as it comes") for f in result.findings)


def test_a_molecule_that_the_box_cuts_is_whole(own: Path) -> None:
    rename(own, "HETATM    1", "CRYST1   30.000   30.000   30.000  90.00  90.00  90.00 P 1\nHETATM    1")
    for name in ("N", "H", "CH3", "HH31", "HH32", "HH33"):
        move(own, name, "NME", position(name, "NME") + np.array([30.0, 0.0, 0.0]))
    result = examine(load_system(own, overrides=["system.nonbonded=CutoffPeriodic"]), n_steps=100)
    assert not [f for f in result.findings if "bond" in f or "force" in f]
    assert result.system is not None
    pairs = np.array([(a.index, b.index) for a, b in result.system.topology.bonds()])
    lengths = np.linalg.norm(np.diff(result.system.positions[pairs], axis=1), axis=2)
    assert lengths.max() < 0.2


def test_a_gap_in_a_chain_is_a_long_bond(own: Path) -> None:
    for name in ("N", "H", "CH3", "HH31", "HH32", "HH33"):
        move(own, name, "NME", position(name, "NME") + np.array([5.0, 0.0, 0.0]))
    result = examine(load_system(own), n_steps=100)
    (finding,) = (f for f in result.findings if f.startswith("long bond"))
    assert "residues are missing between them" in finding


def test_a_time_step_that_is_too_long_is_found() -> None:
    """Bonds of hydrogens vibrate with 10 fs: 5 fs cannot follow them."""
    result = check("ala2", "--set", "dynamics.timestep_ps=0.005", "--set", "sampling.frame_ps=0.1")
    assert result.exit_code == 1
    assert "exploded near step" in result.output
    assert "mostly from " in result.output
    assert "lower dynamics.timestep_ps (0.005), or set system.constraints" in result.output


def test_a_missing_system_and_bad_settings_are_errors(tmp_path: Path) -> None:
    result = check(tmp_path / "nowhere")
    assert (result.exit_code, "needs the name of a shipped system" in result.output) == (1, True)
    result = check("ala2", "--platform", "Referense")
    assert (result.exit_code, "did you mean 'Reference'" in result.output) == (1, True)
    result = check("ala2", "--steps", "1")
    assert result.exit_code == 2


def test_the_diagnosis_names_atom_and_term() -> None:
    """The O-H bond of 0.104 instead of 0.1 nm pulls with k 0.004; terms add up to the energy."""
    built = build(load_system("ala2"))
    wild = built.positions.copy()
    atom = next(a.index for a in built.topology.atoms() if a.name == "CB")
    wild[atom] += [0.5, 0.0, 0.0]
    found = diagnosis.diagnose(built, wild)
    assert found.term == "bonds"
    assert found.atom_name.startswith(("CB of ALA 2", "CA of ALA 2", "HB"))
    assert found.largest > diagnosis.HUGE
    assert sum(term.energy for term in found.terms) == pytest.approx(found.energy)
    assert found.energy == pytest.approx(three_atoms.potential_energy(built.system, wild), rel=1e-9)


def test_forces_of_the_diagnosis_are_those_in_closed_form(tmp_path: Path) -> None:
    built = build(load_system(write_system(tmp_path / "tri", "openmm")))
    straight = np.array([[0.0, 0.0, 0.0], [0.12, 0.0, 0.0], [0.1 * np.cos(1.9), 0.1 * np.sin(1.9), 0.0]])
    found = diagnosis.diagnose(built, straight)
    # k (r - b) on both ends of the one bond that is stretched
    assert found.largest == pytest.approx(three_atoms.BOND_K * 0.02, rel=1e-9)
    assert (found.term, found.atom in (0, 1)) == ("bonds", True)
    assert str(found).startswith("the largest force, 8.0e+02 kJ/mol/nm, is on ")
    assert {type(force) for force in built.system.getForces()} == {
        openmm.HarmonicBondForce,
        openmm.HarmonicAngleForce,
    }
