"""Extended ABF along given CVs, from the system to the files, with exact answers where there are any."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from aecv.ground.errors import CVError, SettingsError, StoreError
from aecv.ground.files import read_arrays, read_json, sha256
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import load_cv
from aecv.molecules.spec import load_system
from aecv.results.formats.colvar import read_colvar
from aecv.results.formats.fes import read_fes
from aecv.results.formats.grids import read_multicolumn
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.system.molecular_system import build
from aecv.workflow.exporting.export_folder import export
from aecv.workflow.planning.space import space_needed
from aecv.workflow.run_folder.sampled import Sampled
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.sample_along import sample_along
from aecv.workflow.story.status import status
from tests.results.exports.plumed_reader import evaluate, read_actions

SMALL = (
    "sampling.frame_ps=0.02",
    "sampling.walkers=2",
    "sampling.segment_ps=1",
    "sampling.equilibration_ps=0.5",
    "starts.hot_ps=30",
    "starts.candidates=10",
    "eabf.bins=20",
    "eabf.full_samples=100",
    "production.frozen_stages=2",
    "production.replicates=40",
)
"""Settings of a run of seconds; its numbers mean nothing."""
CIRCLE = (
    "sampling.frame_ps=0.2",
    "sampling.segment_ps=20",
    "sampling.equilibration_ps=2",
    "starts.hot_ps=60",
    "starts.candidates=8",
    "production.replicates=40",
)


def angle(x: torch.Tensor) -> torch.Tensor:
    """Polar angle of a particle; its seam lies in one of the two wells."""
    return torch.atan2(x[:, 0, 1], x[:, 0, 0])


def round_the_circle() -> CV:
    return CV.from_function(angle, [0], cv_range=[[-np.pi, np.pi]], periodic=(True,))


@pytest.fixture(scope="module")
def torsion_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sampled]:
    folder = tmp_path_factory.mktemp("torsions") / "run"
    return folder, sample_along(load_system("ala2", overrides=SMALL), ("phi", "psi"), folder, ns=0.02)


def test_a_run_leaves_everything(torsion_run: tuple[Path, Sampled]) -> None:
    folder, result = torsion_run
    for name in (
        "frames.dcd", "topology.pdb", "samples.npz", "bias.npz", "weights.npz", "colvar.dat", "abf.count",
        "abf.pmf", "abf.czar.pmf", "fes_xi.dat", "fes_xi_abf.dat", "fes_xi_czar.dat", "fes_phi_psi.dat",
        "convergence.dat", "coverage.json", "sampled.json",
    ):  # fmt: skip
        assert (folder / "along" / name).stat().st_size > 0
    assert (folder / "pictures" / "production_xi.png").is_file()
    assert Sampled.load(folder / "along") == result
    assert result.cv == "phi, psi"
    assert result.ns == pytest.approx(0.02)
    # 0.02 ns in frames of 0.02 ps, 30 % of them while the bias adapts
    assert result.n_frames == pytest.approx(700, abs=4)


def test_xi_is_phi_and_psi_and_files_say_that_they_are_periodic(torsion_run: tuple[Path, Sampled]) -> None:
    folder = torsion_run[0] / "along"
    colvar = read_colvar(folder / "colvar.dat")
    np.testing.assert_allclose(colvar["xi_1"], colvar["phi"], atol=1e-5)  # float32 frames
    np.testing.assert_allclose(colvar["xi_2"], colvar["psi"], atol=1e-5)
    text = (folder / "colvar.dat").read_text(encoding="utf-8")
    for name in ("xi_1", "lam_2"):
        assert f"#! SET min_{name} -pi" in text
    for name in ("fes_xi.dat", "fes_xi_abf.dat", "fes_xi_czar.dat"):
        assert read_fes(folder / name).periodic == (True, True)
    grid, counts, flags = read_multicolumn(folder / "abf.count")
    assert flags == grid.periodic == (True, True)
    # one sample per MD step and walker: 10 000 steps of 1 fs each
    assert counts.sum() == 20_000
    bias = Bias.load(folder / "bias.npz")
    assert bias.grid.periodic == (True, True)
    assert bias.total.n_lam.sum() == bias.total.n_xi.sum() == 20_000
    assert bias.potentials.shape == (2, 400)


def test_observables_as_a_cv_are_written_for_other_programs(torsion_run: tuple[Path, Sampled]) -> None:
    """torch alone gives the xi of the run; aecv reads the same CV from each of the files."""
    folder, result = torsion_run[0] / "along", torsion_run[1]
    assert result.cv_files == ("cv.pt", "cv.json")
    assert result.cv_note == ""
    samples = Samples.load(folder / "samples.npz")
    positions = samples.cv_positions[::50].astype(float)
    module = torch.jit.load(str(folder / "cv.pt"))
    xi = module(torch.from_numpy(positions).reshape(len(positions), -1)).numpy()
    np.testing.assert_allclose(xi, samples.xi[::50], atol=1e-12)
    for name in ("cv.pt", "cv.json", ""):
        cv = load_cv(folder / name)
        np.testing.assert_allclose(cv(positions), samples.xi[::50], atol=1e-12)
        assert cv.periodic == (True, True)
        assert cv.system == "ala2"


@pytest.mark.parametrize("place", ["", "along", "along/cv.json", "along/cv.pt"])
def test_an_export_has_the_cv_and_the_coupling_of_the_run(
    torsion_run: tuple[Path, Sampled], tmp_path: Path, place: str
) -> None:
    run = torsion_run[0]
    out = export(run / place, tmp_path / "out", form="plain")
    text = (out / "plumed.dat").read_text()
    assert text.startswith("# CV phi and psi of ala2: 2 components of 5 atoms.")
    drr = next(action.keywords for action in read_actions(text) if action.name == "DRR")
    extended = Bias.load(run / "along" / "bias.npz").extended
    assert drr["KAPPA"] == ",".join(repr(kappa) for kappa in extended.kappa)
    # those of SMALL: neither is a default
    assert (drr["GRID_BIN"], drr["FULLSAMPLES"]) == ("20,20", "100")
    trajectory = mdtraj.load(run / "along" / "frames.dcd", top=run / "along" / "topology.pdb")[::100]
    values = evaluate(out, trajectory.xyz.astype(float))
    expected = mdtraj.compute_phi(trajectory)[1][:, 0], mdtraj.compute_psi(trajectory)[1][:, 0]
    np.testing.assert_allclose([values["xi_1"], values["xi_2"]], expected, atol=1e-5)  # in float32


def test_frames_keep_the_atoms_of_their_cv(torsion_run: tuple[Path, Sampled]) -> None:
    samples = Samples.load(torsion_run[0] / "along" / "samples.npz")
    assert samples.cv_positions.shape[1:] == (5, 3)  # C N CA C N; the autoencoder's are eight
    assert samples.component_periods == pytest.approx((2 * np.pi, 2 * np.pi))
    slow = samples.slow[-4:]
    np.testing.assert_allclose(slow[0] ** 2 + slow[1] ** 2, 1.0)
    np.testing.assert_allclose(np.arctan2(slow[3], slow[2]), samples.xi[:, 1], atol=1e-12)


def test_a_run_that_was_stopped_goes_on_to_the_same_frames(
    torsion_run: tuple[Path, Sampled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, run = torsion_run[0], NativeEngine.run
    calls = 0

    def stopping(engine: NativeEngine, job: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return run(engine, job)  # type: ignore[arg-type]

    spec = load_system("ala2", overrides=SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(NativeEngine, "run", stopping)
        with pytest.raises(KeyboardInterrupt):
            sample_along(spec, ("phi", "psi"), tmp_path / "run", ns=0.02)
    with pytest.raises(StoreError, match="was made from cv = "):
        sample_along(spec, ("psi", "phi"), tmp_path / "run", ns=0.02, resume=True)
    with pytest.raises(StoreError, match=r"setting sampling\.ns was 0\.02, now 0\.03"):
        sample_along(spec, ("phi", "psi"), tmp_path / "run", ns=0.03, resume=True)
    sample_along(spec, ("phi", "psi"), tmp_path / "run", ns=0.02, resume=True)
    for name in ("frames.dcd", "samples.npz", "bias.npz", "weights.npz"):
        assert sha256(tmp_path / "run" / "along" / name) == sha256(straight / "along" / name)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    spec = load_system("ala2", overrides=[*SMALL, "starts.mode=one"])
    with pytest.raises(CVError, match="'phy' is none of the observables"):
        sample_along(spec, "phy", tmp_path / "a")
    cv = round_the_circle()
    with pytest.raises(SettingsError, match="ranges belong to names"):
        sample_along(spec, cv, tmp_path / "b", ranges={"phi": (0.0, 1.0)})
    with pytest.raises(SettingsError, match="hold no frame"):
        sample_along(spec, "phi", tmp_path / "c", ns=1e-6)
    many = load_system("ala2", overrides=[*SMALL, "autoencoder.latent=1", "eabf.bins=200"])
    with pytest.raises(SettingsError, match="200 for each of 2 components are 40000 bins"):
        sample_along(many, ("phi", "psi"), tmp_path / "d")
    assert not any(tmp_path.iterdir())


def test_what_may_fail_is_said_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """41.6 kJ/mol are 500 kT at 10 K, less than the ceiling; the dynamics themselves do not matter here."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aecv.workflow.sample_along.prepare_walkers", stop)
    overrides = (
        *SMALL,
        "sampling.ns=0.02",
        "dynamics.temperature_k=10",
        "eabf.sigma_bins=0.05",
        "eabf.bins=50",
    )
    spec = load_system("ala2", overrides=overrides)
    need = space_needed(build(spec), spec.settings, {"along": 1000})
    monkeypatch.setattr("aecv.workflow.planning.space.memory_bytes", lambda: need.memory / 0.9)
    with pytest.raises(KeyboardInterrupt):
        sample_along(spec, "phi,psi", tmp_path / "run")
    log = (tmp_path / "run" / "run.log").read_text()
    assert "more than 500 kT" in log
    assert "eabf.sigma_bins 0.05 with 50 bins in each of 2 components" in log
    assert "memory: one process needs" in log


def test_an_observable_without_a_range_gets_that_of_the_hot_run(tmp_path: Path) -> None:
    spec = load_system("double_well_circle", overrides=[*CIRCLE, "production.frozen_stages=1"])
    sample_along(spec, "x", tmp_path / "run", ns=0.02)
    hot = read_arrays(tmp_path / "run" / "starts" / "starts.npz")["hot_cv_positions"][:, 0, 0]
    grid = Bias.load(tmp_path / "run" / "along" / "bias.npz").grid
    low, high = np.quantile(hot, [5e-4, 1 - 5e-4])
    assert grid.periodic == (False,)
    assert grid.lower[0] == pytest.approx(low - 0.1 * (high - low))
    assert grid.upper[0] == pytest.approx(high + 0.1 * (high - low))


def dented(x: torch.Tensor) -> torch.Tensor:
    """The same angle but for a dent of 1e-6 rad."""
    turned = angle(x)
    return turned + 1e-6 * torch.sin(turned)


def test_another_function_of_the_same_name_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a run along a function says why it leaves no cv.pt."""
    monkeypatch.setattr("aecv.workflow.sample_along.tell", lambda *_: None)
    short = ("production.frozen_stages=1", "starts.hot_ps=20", "starts.candidates=4")
    spec = load_system("double_well_circle", overrides=[*CIRCLE, *short])

    def sample(function: Callable[[torch.Tensor], torch.Tensor], *, resume: bool) -> Sampled:
        cv = CV.from_function(function, [0], cv_range=[[-np.pi, np.pi]], periodic=(True,), name="turn")
        return sample_along(spec, cv, tmp_path / "run", ns=0.002, resume=resume)

    with caplog.at_level("INFO", logger="aecv"):
        result = sample(angle, resume=False)
    assert result.cv_files == ()
    assert "no cv.pt is written of 'turn'" in result.cv_note
    assert result.cv_note in caplog.text
    assert not list((tmp_path / "run" / "along").glob("cv.*"))
    assert sample(lambda x: torch.atan2(x[:, 0, 1], x[:, 0, 0]), resume=True) == result
    with pytest.raises(StoreError, match="sampling was made from values and gradients of turn = "):
        sample(dented, resume=True)


@pytest.mark.slow
def test_free_energies_round_a_circle_are_exact(tmp_path: Path) -> None:
    """Two wells of 4 kT, one of them cut by the seam; F of angle and lambda by quadrature, Delta F = 0.

    40 000 steps through autograd. An F with a wall or a step at the seam would be off by several kT there.
    """
    shallow = "particle.potential=scale*(2*y^2 + (x^2 + y^2 - 1)^2/eps); scale = 5; eps = 0.1"
    light = ("particle.mass_da=3", "dynamics.friction_per_ps=1", "eabf.bins=30", "eabf.full_samples=200")
    spec = load_system("double_well_circle", overrides=[*CIRCLE, *light, shallow])
    result = sample_along(spec, round_the_circle(), tmp_path / "run", ns=0.4)
    exact = read_json(tmp_path / "run" / "along" / "exact.json")
    kt = 0.00831446262 * 300.0
    assert result.delta_f_interval is not None
    low, high = result.delta_f_interval
    assert high - low < 4.0 * kt
    assert low <= 0.0 <= high
    for name in ("xi_czar", "xi_abf"):
        errors = exact["errors_kj_mol"][name]
        assert errors["n_unknown"] == 0
        assert errors["rms"] < 0.3 * kt
        assert errors["largest"] < 0.9 * kt


def test_ns_of_python_and_of_the_command_line_are_the_same_setting(
    torsion_run: tuple[Path, Sampled], tmp_path: Path
) -> None:
    """A run begun by one goes on with the other: both write sampling.ns into run.json."""
    assert status(torsion_run[0]).stage is None
    spec = load_system("ala2", overrides=(*SMALL, "sampling.ns=0.02"))
    copy = Path(shutil.copytree(torsion_run[0], tmp_path / "run"))
    assert sample_along(spec, ("phi", "psi"), copy, resume=True).n_frames == torsion_run[1].n_frames
