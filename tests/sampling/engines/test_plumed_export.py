"""Exported inputs in a real PLUMED: values and derivatives of the CV on frames of alanine dipeptide.

PLUMED is the library that PLUMED_KERNEL names, or the one of the command `plumed` on the PATH.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import load_cv
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.workflow.exporting.export_folder import export
from tests.sampling.engines.plumed_driver import drive, find_kernel

pytestmark = [
    pytest.mark.plumed,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

SCRIPTS = Path(__file__).resolve().parents[3] / "plumed_scripts"
N_FRAMES = 100


@pytest.fixture(scope="module")
def plumed() -> Path:
    kernel = find_kernel()
    if kernel is None:
        pytest.skip("PLUMED is not here: no command `plumed` on the PATH, and no PLUMED_KERNEL")
    return kernel


@pytest.fixture(scope="module")
def system() -> MolecularSystem:
    return build(load_system("ala2"))


@pytest.fixture(scope="module")
def frames(system: MolecularSystem) -> np.ndarray:
    """Frames of a hot run, in every orientation."""
    import openmm

    from aecv.sampling.system.molecular_system import make_context

    context, integrator = make_context(system, platform="Reference", seed=1, temperature=600.0)
    openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(600.0, 1)
    made = []
    for _ in range(N_FRAMES):
        integrator.step(200)
        state = context.getState(positions=True)
        made.append(state.getPositions(asNumpy=True)._value)
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((N_FRAMES, 3, 3)))
    q *= np.linalg.det(q)[:, None, None]
    return np.array(made) @ q


def every_frame(folder: Path) -> None:
    """One line per frame, with 14 decimals."""
    path = folder / "plumed.dat"
    text = path.read_text()
    head, _, _ = text.partition("PRINT ")
    labels = ",".join(f"xi_{c + 1}" for c in range(text.count("\nxi_1: ") + text.count("\nxi_2: ")))
    extra = f"PRINT ARG={labels} FILE=COLVAR FMT=%.14f\n"
    path.write_text(head + extra)


def computed(folder: Path, d: int) -> np.ndarray:
    return np.loadtxt(folder / "COLVAR", ndmin=2)[:, 1 : 1 + d]


@pytest.mark.parametrize(("form", "allowed"), [("pytorch", 1e-5), ("ann", 1e-10), ("plain", 1e-10)])
def test_values_on_real_frames(plumed, frames, tmp_path, form, allowed):
    cv = load_cv(SCRIPTS / "ala2" / "cv.json")
    folder = export(SCRIPTS / "ala2", tmp_path / "out", form=form, bias="none")
    every_frame(folder)
    drive(plumed, folder, frames)
    error = np.abs(computed(folder, 2) - cv.of_frames(frames)).max()
    assert error < allowed


@pytest.mark.parametrize(("form", "allowed"), [("pytorch", 1e-4), ("ann", 1e-7), ("plain", 1e-7)])
def test_forces_are_the_gradient(plumed, frames, tmp_path, form, allowed):
    """A linear bias on xi_1 and xi_2: the forces on the atoms against finite differences of load_cv's values.

    They go through FIT_TO_TEMPLATE, which is not in the derivatives of the CV with respect to its arguments.
    """
    cv = load_cv(SCRIPTS / "ala2" / "cv.json")
    folder = export(SCRIPTS / "ala2", tmp_path / "out", form=form, bias="none")
    path = folder / "plumed.dat"
    slopes = np.array([1.0, -0.6])
    bias = f"RESTRAINT ARG=xi_1,xi_2 AT=0,0 SLOPE={slopes[0]},{slopes[1]} KAPPA=0,0\n"
    path.write_text(path.read_text().partition("PRINT ")[0] + bias)
    chosen = frames[:5]
    came = drive(plumed, folder, chosen)
    expected = -differences(cv, chosen) @ slopes
    assert np.abs(came - expected).max() < allowed * np.abs(expected).max()


def differences(cv: CV, frames: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """d xi / d q by central differences, shape (F, N, 3, d); accurate to step^2."""
    gradient = np.zeros((*frames.shape, cv.n_components))
    for atom in cv.atom_indices:
        for axis in range(3):
            ends = []
            for sign in (1.0, -1.0):
                moved = frames.copy()
                moved[:, atom, axis] += sign * step
                ends.append(cv.of_frames(moved))
            gradient[:, atom, axis] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def test_observables_are_the_same_angles(plumed, system, frames, tmp_path):
    cv = replace(observable_cv(system.observables, ("phi", "psi")), system="ala2")
    folder = export(cv, tmp_path / "out", bias="none")
    every_frame(folder)
    drive(plumed, folder, frames)
    assert np.abs(computed(folder, 2) - cv.of_frames(frames)).max() < 1e-9


@pytest.mark.parametrize("bias", ["drr", "metad", "opes"])
def test_every_bias_is_accepted(plumed, frames, tmp_path, bias):
    """Its keywords are right: PLUMED refuses those that it does not know."""
    folder = export(SCRIPTS / "ala2", tmp_path / "out", form="plain", bias=bias)
    cv = load_cv(SCRIPTS / "ala2" / "cv.json")
    inside = np.all(
        (cv.of_frames(frames) > cv.cv_range[:, 0]) & (cv.of_frames(frames) < cv.cv_range[:, 1]), axis=1
    )
    drive(plumed, folder, frames[inside], stride=100)
    columns = np.loadtxt(folder / "COLVAR", ndmin=2)
    assert len(columns) == np.count_nonzero(inside) > 50
    assert np.abs(columns[:, 1:3] - cv.of_frames(frames[inside])).max() < 1e-8
