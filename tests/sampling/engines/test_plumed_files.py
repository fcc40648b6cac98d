"""What the PLUMED engine writes for a segment, and what it says of a PLUMED that lacks something."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
import torch

from aecv.ground.errors import CVError, SettingsError, SimulationError
from aecv.ground.grid import Grid
from aecv.ground.settings import BarostatSettings
from aecv.models.cvs.cv import CV
from aecv.models.cvs.observable_cv import observable_cv
from aecv.models.cvs.torchscript import write_flat_module
from aecv.numerics.extended_abf.abf import ExtendedVariable, couple
from aecv.numerics.kernels import encoder_kernels as kernels
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentSeed
from aecv.sampling.engines import plumed, plumed_force, plumed_kernel
from aecv.sampling.engines.availability import Availability, Ending
from aecv.sampling.engines.plumed_cv import choose_form, write_cv
from aecv.sampling.engines.plumed_kernel import Kernel, interpret
from aecv.sampling.engines.plumed_segment import (
    NOISE,
    REFINEMENT,
    SegmentInput,
    write_frozen_bias,
    write_noise,
)
from tests.sampling.engines.conftest import Bench

EVERYTHING = Kernel(
    openmm="8.4",
    version="2.10.1",
    actions=frozenset((*plumed_kernel.NEEDED, *plumed_kernel.OF_NETWORKS)),
    faults={},
    broken="",
)


def extended(grid: Grid) -> ExtendedVariable:
    return couple(
        grid, kt=2.494, sigma=1.3 * grid.widths, tau_ps=0.5, friction_per_ps=8.0, timestep_ps=0.002,
        full_samples=200,
    )  # fmt: skip


GRIDS = {
    1: Grid(lower=(-1.0,), upper=(2.0,), n_bins=(7,)),
    2: Grid(lower=(-1.0, 0.0), upper=(2.0, 1.0), n_bins=(6, 5)),
}


def test_noise_gives_lambda_the_temperature_of_its_bath(bench: Bench, tmp_path: Path) -> None:
    """A free lambda in DRR's own update, with its noise taken away, keeps m <v^2> = kT.

    The bound is four standard errors: the correlation time of v^2 is 1/(2 friction) = 31 steps.
    """
    variable = extended(GRIDS[2])
    n_steps = 20_000
    seed = SegmentSeed(root=3, stage="test", walker=0, segment=0)
    job = SegmentJob(state=bench.state, n_steps=n_steps, frame_steps=100, seed=seed)
    write_noise(tmp_path / NOISE, job, variable)
    lines = (tmp_path / NOISE).read_text().splitlines()
    assert lines[0] == "#! FIELDS time noise.r1 noise.r2 noise.row"
    table = np.array([[float(word) for word in line.split()] for line in lines[1:]])
    np.testing.assert_array_equal(table[:, 3], np.arange(n_steps + 1))
    mass, dt = np.array(variable.mass), variable.timestep_ps
    half_damping = math.exp(-0.5 * variable.friction_per_ps * dt)
    velocity, squares = np.zeros(2), np.zeros(2)
    for force in table[:n_steps, 1:3]:
        velocity = half_damping**2 * (velocity + 0.5 * dt / mass * force) + 0.5 * dt / mass * force
        squares += velocity**2
    # v' = a v + (a + 1) dt/(2 m) R with a = exp(-friction dt) keeps m <v^2> = kT for this spread of R
    a = half_damping**2
    spread = 2.0 / dt * np.sqrt(mass * variable.kt * (1.0 - a) / (1.0 + a))
    np.testing.assert_allclose(table[:, 1:3].std(axis=0), spread, rtol=0.02)  # 20 000 draws: 0.5 %
    error = math.sqrt(2.0 * 2.0 * 31.0 / n_steps)
    np.testing.assert_allclose(mass * squares / n_steps, variable.kt, rtol=4 * error)


@pytest.mark.parametrize("n_dims", [1, 2])
def test_a_frozen_bias_has_the_slopes_of_the_native_engine(n_dims: int, tmp_path: Path) -> None:
    """EXTERNAL takes the row of the grid point below a place; it is exact in 1-D and off by the change of the
    slope over half a cell in 2-D."""
    grid, path = GRIDS[n_dims], tmp_path / "bias.grid"
    variable = extended(grid)
    rng = np.random.default_rng(5)
    potential = rng.normal(size=grid.size)
    labels = tuple(f"xi_{c + 1}" for c in range(n_dims))
    write_frozen_bias(path, potential, variable, labels)
    table = np.array([line.split() for line in path.read_text().splitlines() if line[0] != "#"], dtype=float)
    points = rng.uniform(grid.lower, grid.upper, size=(300, n_dims))
    cells = np.floor((points - np.array(grid.lower)) / (grid.widths / REFINEMENT[n_dims])).astype(int)
    n_points = REFINEMENT[n_dims] * np.array(grid.n_bins) + 1
    # the first dimension runs fastest
    row = cells @ np.concatenate([[1], np.cumprod(n_points)[:-1]])
    bins = np.array(grid.n_bins)
    expected = [
        [kernels.slope(potential, point, variable.constants, bins, c) for c in range(n_dims)]
        for point in points
    ]
    difference = np.abs(-table[row, n_dims + 1 :] - expected)
    if n_dims == 1:
        assert difference.max() < 1e-9
    else:
        # the slope along one axis goes linearly along the other, by one mixed difference per bin
        mixed = np.abs(np.diff(np.diff(potential.reshape(grid.shape), axis=0), axis=1)).max()
        half_cell = 0.5 / REFINEMENT[2]
        assert 0.0 < difference.max() < half_cell * mixed / grid.widths.min()


def test_a_segment_asks_for_lambda_s_coupling_and_no_noise_of_drr(tmp_path: Path) -> None:
    grid = Grid(lower=(-math.pi, 0.0), upper=(math.pi, 1.0), n_bins=(6, 5), periodic=(True, False))
    variable = extended(grid)
    task = SegmentInput(
        cv_block="# xi", labels=("xi_1", "xi_2"), temperature_k=300.0, extended=variable, folder=tmp_path,
        last_step=1500, frame_steps=500,
    )  # fmt: skip
    drr = dict(word.split("=") for word in task.drr(restart=True).split() if "=" in word)
    assert [float(k) for k in drr["KAPPA"].split(",")] == list(variable.kappa)
    assert drr["EXTTEMP"] == "0,0"
    assert drr["GRID_MIN"] == "-pi,0.0"
    assert drr["REFLECTINGWALL"] == "0,1"
    assert drr["OUTPUTFREQ"] == "1500"
    assert float(drr["TAU"].split(",")[0]) == pytest.approx(0.5, rel=1e-12)
    assert "NOBIAS" not in task.text
    frozen = replace(task, frozen_path=tmp_path / "bias.grid").text
    assert "NOBIAS" in frozen
    assert f"EXTERNAL ARG=eabf.xi_1_fict,eabf.xi_2_fict FILE={tmp_path / 'bias.grid'}" in frozen


def _ended(lines: Sequence[str], fault: str = "") -> Availability:
    """What a probe with this output found."""
    return interpret(Ending(output="\n".join(lines), errors="", fault=fault)).availability


def _lines(**faults: str) -> list[str]:
    """The output of a probe that comes to its end."""
    actions = dict.fromkeys((*plumed_kernel.NEEDED, *plumed_kernel.OF_NETWORKS), "") | faults
    return [
        json.dumps({"stage": "loading openmm-plumed", "openmm": "8.4"}),
        "PLUMED: Version: 2.9.3 (git: Unknown) compiled on Jan  1 2026",
        *(json.dumps({"action": action, "fault": fault}) for action, fault in actions.items()),
        json.dumps({"stage": "done"}),
    ]


def test_a_complete_plumed_works() -> None:
    found = _ended(_lines())
    assert found.works
    assert found.reason == "PLUMED 2.9.3 in OpenMM 8.4, with DRR"
    assert found.versions == {"PLUMED": "2.9.3"}
    # PLUMED's log may hold what looks like an answer; the binding tells its version where it has one
    more = ["{1,2}", "{", *_lines(), '{"binding": "2.1"}']
    assert _ended(more).versions == {"PLUMED": "2.9.3", "openmm-plumed": "2.1"}


def test_networks_work_without_their_modules() -> None:
    found = _ended(_lines(PYTORCH_MODEL="not known", ANN="not known"))
    assert found.works
    assert found.reason.endswith("with DRR, without PYTORCH_MODEL, ANN")


def test_a_plumed_without_drr_is_explained() -> None:
    found = _ended(_lines(DRR='Action "DRR" is not known.'))
    assert not found.works
    assert "DRR (module drr, which is left out without a word where Boost" in found.reason
    assert 'PLUMED says: Action "DRR" is not known.' in found.reason
    assert "conda install -c conda-forge openmm-plumed" in found.remedy
    assert "--enable-modules=drr" in found.remedy


@pytest.mark.parametrize(("version", "works"), [("2.6.5", False), ("2.7.0", True), ("2.10", True)])
def test_a_plumed_that_is_too_old_is_refused_by_its_version(version: str, works: bool) -> None:
    lines = [line.replace("2.9.3", version) for line in _lines()]
    found = _ended(lines)
    assert found.works == works
    if not works:
        assert str(found) == (
            "engine plumed does not work here: PLUMED 2.6.5 is too old, its DRR needs reflecting walls, from "
            "2.7 on; install a newer one with: conda install -c conda-forge openmm-plumed plumed"
        )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("ModuleNotFoundError: No module named 'openmmplumed'", "openmm-plumed is not installed"),
        (
            "the process crashed (SIGSEGV)",
            "loading openmm-plumed failed: the process crashed (SIGSEGV); OpenMM, PLUMED and libtorch of",
        ),
        (
            "ImportError: libplumed.so: cannot open",
            "loading openmm-plumed failed: ImportError: libplumed.so: cannot open",
        ),
        ("", "loading openmm-plumed failed: it ended early"),
    ],
)
def test_a_probe_that_ends_early_is_explained(fault: str, said: str) -> None:
    found = _ended(_lines()[:2], fault)
    assert not found.works
    assert said in found.reason
    assert found.remedy == "install it with: conda install -c conda-forge openmm-plumed plumed"


def test_the_form_is_what_this_plumed_has(bench: Bench, foreign_cv: CV) -> None:
    assert choose_form(bench.cv, EVERYTHING) == "ann"
    assert choose_form(foreign_cv, EVERYTHING) == "pytorch"
    # beyond the columns of the reference's PDB file
    far = replace(bench.cv, atom_indices=bench.cv.atom_indices + 100_000)
    assert choose_form(far, EVERYTHING) == "pytorch"
    without = replace(EVERYTHING, actions=EVERYTHING.actions - {"PYTORCH_MODEL", "ANN"})
    assert choose_form(bench.cv, without) == "plain"
    with pytest.raises(
        CVError, match=r"distances.pt needs PLUMED's action PYTORCH_MODEL .module pytorch, which"
    ):
        choose_form(foreign_cv, without)


def test_a_period_that_plumed_would_shift_is_refused() -> None:
    def periodic(lower: float) -> ExtendedVariable:
        grid = Grid(lower=(lower,), upper=(lower + 2 * np.pi,), n_bins=(20,), periodic=(True,))
        return couple(
            grid, kt=2.5, sigma=grid.widths, tau_ps=0.2, friction_per_ps=8.0, timestep_ps=0.001,
            full_samples=200,
        )  # fmt: skip

    plumed.check_periods(periodic(-np.pi))
    with pytest.raises(CVError, match=r"component 1 needs a period from -pi to pi, got 0 to 6\.28319"):
        plumed.check_periods(periodic(0.0))


def test_a_barostat_is_refused(bench: Bench) -> None:
    """Whatever PLUMED there is: DRR takes one sample per evaluation."""
    pressed = openmm.System()
    pressed.addForce(openmm.HarmonicBondForce())
    plumed_force.refuse_barostat(pressed, BarostatSettings())
    pressed.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    made = replace(bench, system=replace(bench.system, system=pressed), engine_name="plumed")
    with pytest.raises(SettingsError, match=r"has a MonteCarloBarostat, and DRR .* \(--engine native"):
        made.engine()


def test_a_folder_that_plumed_cannot_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plumed, "probe_kernel", lambda: EVERYTHING)
    monkeypatch.setattr(plumed.tempfile, "gettempdir", lambda: "/scratch/my files")
    found = plumed.availability()
    assert not found.works
    assert "'/scratch/my files', whose name has a space" in found.reason
    assert found.remedy == "set TMPDIR to a folder without them"
    monkeypatch.setattr(plumed.tempfile, "gettempdir", lambda: "/scratch/my-files_2.0")
    assert plumed.availability().works


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "+++ PLUMED error\n+++ message follows +++\nend of file",
            r"PLUMED stopped .*: .*end of file; what was",
        ),
        ("", r"PLUMED stopped the run, it says: nothing that could be read"),
        ("Particle coordinate is NaN", r"exploded near step 0 .* Particle coordinate is NaN"),
    ],
)
def test_what_ends_a_step_is_told_by_who_ended_it(text: str, words: str) -> None:
    """An error of PLUMED is no explosion, nor a Ctrl-C where it has no text."""
    integrator = SimpleNamespace(step=raising(openmm.OpenMMException(text)))
    context = SimpleNamespace(getStepCount=lambda: 0)
    with pytest.raises((SimulationError, KeyboardInterrupt)) as caught:
        dynamics.advance(context, integrator, 1, np.zeros((1, 3)))  # type: ignore[arg-type]
    told = plumed_force.in_words(caught.value)
    assert isinstance(told, SimulationError)
    assert re.search(words, str(told))


def raising(error: Exception) -> Callable[[int], None]:
    def step(_: int) -> None:
        raise error

    return step


def test_cvs_that_plumed_cannot_compute_are_refused(bench: Bench) -> None:
    function = CV.from_function(lambda x: x[:, 0, 0] - x[:, 1, 0], [0, 1])
    with pytest.raises(CVError, match=r"plumed: .* is a Python function, which runs in Python; use --eng"):
        choose_form(function, EVERYTHING)
    torsion = observable_cv(bench.system.observables, ("phi",))
    assert choose_form(torsion, EVERYTHING) == "plain"
    turned = replace(torsion, cv_range=np.array([[0.0, 2.0 * math.pi]]))
    with pytest.raises(CVError, match=r"goes round from 0 to 6.28319, PLUMED's dihedrals from -pi to pi"):
        choose_form(turned, EVERYTHING)


def test_the_files_of_a_cv_lie_in_the_folder_that_the_text_names(bench: Bench, tmp_path: Path) -> None:
    text, labels = write_cv(bench.cv, "pytorch", tmp_path)
    assert labels == ("xi_1", "xi_2")
    assert f"FILE={tmp_path}/cv.pt " in text
    assert (tmp_path / "cv.pt").is_file()
    text, _ = write_cv(bench.cv, "ann", tmp_path)
    assert f"REFERENCE={tmp_path}/reference.pdb " in text
    assert (tmp_path / "reference.pdb").is_file()


def test_a_flat_module_gives_what_the_module_gives(bench: Bench, foreign_cv: CV, tmp_path: Path) -> None:
    write_flat_module(foreign_cv.module, foreign_cv.n_atoms, tmp_path / "flat.pt")
    flat = torch.jit.load(str(tmp_path / "flat.pt"))
    row = torch.tensor(bench.probe[:1].reshape(1, -1), dtype=torch.float32)
    xi = flat(row)
    assert xi.dtype == torch.float32
    # single precision of distances of about 0.5 nm
    np.testing.assert_allclose(xi.numpy(), foreign_cv(bench.probe[:1]), atol=1e-6)
