"""CVs on systems that they were not learned on: what is refused, what is a warning, and what is silent."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.errors import CVError
from aecv.models.cvs.cv import CV
from aecv.models.cvs.encoder_map import EncoderMap
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.numerics.kernels.encoder import NO_REFERENCE, Encoder
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.workflow.given_cv.same_system import atom_names, check_same_system
from aecv.workflow.sample_along import sample_along
from tests.workflow.test_sample_along import SMALL

NAMES = "ACE1-CH3, ACE1-C, ALA2-N, ALA2-CA, ALA2-CB, ALA2-C, NME3-N, NME3-C"


@pytest.fixture(scope="module")
def ala2() -> MolecularSystem:
    return build(load_system("ala2"))


@pytest.fixture(scope="module")
def learned(ala2: MolecularSystem) -> CV:
    return made(ala2.cv_reference, ala2.cv_atom_indices, system="ala2", system_hash=ala2.spec.hash)


def made(reference: np.ndarray, atoms: np.ndarray, *, system: str, system_hash: str) -> CV:
    weights = np.random.default_rng(0).normal(size=(1, 3 * len(atoms)))
    return CV(
        source="made",
        map=EncoderMap(encoder=Encoder(reference=reference, weights=(weights,), biases=(np.zeros(1),))),
        atom_indices=atoms,
        cv_range=np.array([[-1.0, 1.0]]),
        system=system,
        system_hash=system_hash,
    )


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(load_system(name).directory, folder / "copy"))


def swap(path: Path, first: str, second: str) -> None:
    """Exchange the lines of two atoms of ALA in a PDB file."""
    lines = path.read_text().splitlines()
    i, j = (
        next(k for k, line in enumerate(lines) if line[12:16].strip() == name and line[17:20] == "ALA")
        for name in (first, second)
    )
    lines[i], lines[j] = lines[j], lines[i]
    path.write_text("\n".join(lines) + "\n")


def test_atoms_are_named_by_residue(learned: CV, ala2: MolecularSystem) -> None:
    assert atom_names(learned, ala2) == NAMES


@pytest.mark.parametrize(("first", "second"), [("CB", "C"), ("N", "CA"), ("CA", "HA")])
def test_another_order_of_atoms_is_refused(learned: CV, tmp_path: Path, first: str, second: str) -> None:
    folder = copy_of("ala2", tmp_path)
    swap(folder / "ala2.pdb", first, second)
    with pytest.raises(CVError, match=r"'ala2': \d of 7 bonds .*none here \(\S+ to \S+ 0\.\d+ nm, 0\.1"):
        sample_along(load_system(folder, overrides=SMALL), learned, tmp_path / "run", ns=0.002)
    assert not (tmp_path / "run").exists()


def test_a_changed_setting_alone_is_a_warning_with_the_names_of_the_atoms(
    learned: CV, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_of("ala2", tmp_path)
    with (folder / "system.toml").open("a") as file:
        file.write("# a remark\n")
    check_same_system(learned, build(load_system(folder)))
    assert "was learned on 'ala2', this system of that name has other files" in caplog.text
    # the reference is the structure itself
    assert "the 7 bonds of its reference are here too, within 0.000 nm" in caplog.text
    assert NAMES in caplog.text


def test_bonds_of_other_conformers_are_the_same(
    learned: CV, ala2: MolecularSystem, caplog: pytest.LogCaptureFixture
) -> None:
    """Bonds stretched by 0.025 nm are more than heat does, and not another order."""
    settings = ala2.spec.settings
    water = settings.model_copy(update={"system": settings.system.model_copy(update={"name": "water"})})
    wide = replace(
        ala2, spec=replace(ala2.spec, settings=water, hash="other"), positions=1.15 * ala2.positions
    )
    check_same_system(learned, wide)
    assert "was learned on 'ala2', this is 'water'" in caplog.text
    assert "within 0.02" in caplog.text


def test_the_same_files_and_cvs_without_a_system_are_silent(
    learned: CV, ala2: MolecularSystem, caplog: pytest.LogCaptureFixture
) -> None:
    check_same_system(learned, ala2)
    check_same_system(observable_cv(ala2.observables, ("phi",)), ala2)
    assert not caplog.text


@pytest.mark.parametrize("kind", ["network", "coordinate"])
def test_a_cv_of_positions_of_another_system_is_refused(ala2: MolecularSystem, kind: str) -> None:
    particle = build(load_system("mueller_brown"))
    if kind == "network":
        cv = made(NO_REFERENCE, np.array([0]), system="mueller_brown", system_hash=particle.spec.hash)
    else:
        x = observable_cv(particle.observables, ("x",))
        cv = replace(x, system="mueller_brown", system_hash=particle.spec.hash)
    check_same_system(cv, particle)
    with pytest.raises(CVError, match="was learned on 'mueller_brown', this is 'ala2'; it takes positions"):
        check_same_system(cv, ala2)


def test_dihedrals_of_another_name_and_particles_with_other_settings_are_warnings(
    ala2: MolecularSystem, caplog: pytest.LogCaptureFixture
) -> None:
    phi = observable_cv(ala2.observables, ("phi",))
    check_same_system(replace(phi, system="dipeptide", system_hash="other"), ala2)
    assert "It acts on ACE1-C, ALA2-N, ALA2-CA, ALA2-C:" in caplog.text
    caplog.clear()
    particle = build(load_system("mueller_brown"))
    check_same_system(
        made(NO_REFERENCE, np.array([0]), system="mueller_brown", system_hash="other"), particle
    )
    assert "it has no reference structure to compare with this one" in caplog.text
