"""The run along the final CV: what it leaves, whether its numbers fit, and what a resume may change."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.errors import SettingsError, StoreError
from aecv.ground.files import read_arrays, read_json
from aecv.ground.units import thermal_energy
from aecv.models.cvs.cv_files import load_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.marginal import MarginalBias
from aecv.numerics.free_energy.weights import mbar_log_weights
from aecv.results.formats.colvar import read_colvar
from aecv.results.formats.fes import read_fes
from aecv.sampling.dynamics.walkers import BiasRule
from aecv.workflow.free_energies.production import OUTPUTS, Production
from aecv.workflow.loop import Outcome, iterate
from aecv.workflow.run_folder.samples import Bias, Samples
from tests.workflow.conftest import SMALL
from tests.workflow.hand import by_hand_delta_f, by_hand_passages

pytestmark = pytest.mark.usefixtures("without_pictures")

KT = thermal_energy(300.0)
N_FRAMES, N_WALKERS = 500, 2
"""0.01 ns over both walkers, a frame every 0.02 ps."""


def resume(folder: Path, *more: str) -> Outcome:
    return iterate(load_system("ala2", overrides=(*SMALL, *more)), folder, resume=True)


@pytest.fixture
def copy_of_run(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "copy", ignore=shutil.ignore_patterns(".lock")))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_is_twice_as_long_as_an_iteration_unless_told_otherwise() -> None:
    assert load_system("ala2", overrides=["sampling.ns=3"]).settings.production_ns == 6.0
    assert load_system("ala2", overrides=["production.ns=0.5"]).settings.production_ns == 0.5
    assert load_system("ala2", overrides=["production.ns=0"]).settings.production_ns == 0.0


def test_it_runs_along_the_last_cv_and_freezes_its_bias(small_run: Path) -> None:
    """Of 250 frames per walker 75 adapt; then come two stages, each with a potential of its own."""
    folder = small_run / "production_02"
    samples, bias = Samples.load(folder / "samples.npz"), Bias.load(folder / "bias.npz")
    assert samples.n_frames == N_FRAMES
    xi = load_cv(small_run / "iteration_02")(samples.cv_positions)
    np.testing.assert_allclose(samples.xi, xi, atol=1e-12)
    assert bias.potentials.shape == (2, bias.grid.size)
    rule = BiasRule(ceiling_kj_mol=bias.ceiling_kj_mol, full_samples=bias.extended.full_samples)
    for edge, potential in zip(bias.stage_edges, bias.potentials, strict=False):
        np.testing.assert_array_equal(potential, rule.potential(bias.snapshot(edge)))
    assert np.abs(bias.potentials[1] - bias.potentials[0]).max() > 0.1  # of some 30 kJ/mol
    frames = (bias.stage_edges * N_FRAMES / N_WALKERS).round(1)
    np.testing.assert_allclose(frames, [75.5, 163.5, 250.0], atol=1.0)


def test_its_own_weights_come_from_its_frozen_frames(small_run: Path) -> None:
    """Weights by MBAR over the two potentials, written out here, and Delta F of it alone from them."""
    folder = small_run / "production_02"
    samples, bias = Samples.load(folder / "samples.npz"), Bias.load(folder / "bias.npz")
    stored, made = read_arrays(folder / "weights.npz"), Production.load(folder)
    frozen = np.sort(stored["frame"][stored["iteration"] == 3])
    np.testing.assert_array_equal(frozen, np.flatnonzero(samples.progress > bias.stage_edges[0]))
    stage = np.digitize(samples.progress, bias.stage_edges[:2])
    order = np.concatenate([np.flatnonzero(stage == k) for k in (1, 2)])
    energies = np.array(
        [
            MarginalBias(bias.grid, potential, np.array(bias.extended.kappa), KT)(samples.xi[order])
            for potential in bias.potentials
        ]
    )
    counts = [np.count_nonzero(stage == 1), np.count_nonzero(stage == 2)]
    expected = np.zeros(N_FRAMES)
    expected[order] = mbar_log_weights(energies, counts, kt=KT).weights
    np.testing.assert_allclose(stored["last_weights"], expected, rtol=1e-5, atol=1e-12)
    assert made.n_frames == len(frozen)
    assert made.n_effective == pytest.approx(1.0 / np.sum(expected**2), rel=1e-4)
    delta_f = by_hand_delta_f(expected, samples.observables["psi"], KT)
    assert abs(delta_f) < 10.0
    assert made.delta_f_alone_kj_mol == pytest.approx(delta_f, abs=1e-3)


def test_its_result_comes_from_it_and_the_iterations_together(small_run: Path) -> None:
    """The first biased iteration explored; the second is pooled with the production, number 3."""
    folder = small_run / "production_02"
    stored, made = read_arrays(folder / "weights.npz"), Production.load(folder)
    assert set(np.unique(stored["iteration"])) == {2, 3}
    psi = np.empty(len(stored["frame"]))
    for index, source in ((2, small_run / "iteration_02"), (3, folder)):
        mine = stored["iteration"] == index
        psi[mine] = Samples.load(source / "samples.npz").observables["psi"][stored["frame"][mine]]
    delta_f = by_hand_delta_f(stored["weights"], psi, KT)
    assert made.delta_f_kj_mol == pytest.approx(delta_f, abs=1e-3)
    assert made.delta_f_alone_kj_mol is not None
    assert abs(delta_f - made.delta_f_alone_kj_mol) > 0.01


def test_its_files_fit_its_numbers(small_run: Path) -> None:
    folder = small_run / "production_02"
    assert all((folder / name).stat().st_size > 0 for name in OUTPUTS)
    made, summary = read_json(folder / "production.json"), read_json(small_run / "summary.json")
    assert summary["production"] == made
    assert made["folder"] == "production_02"
    assert made["cv_iteration"] == 2
    assert made["ns"] == pytest.approx(0.01)
    coverage = read_json(folder / "coverage.json")
    assert made["problems"] == coverage["problems"]
    samples, begin = Samples.load(folder / "samples.npz"), Bias.load(folder / "bias.npz").stage_edges[0]
    assert made["passages"] == by_hand_passages(samples, begin)
    assert np.sum(coverage["passages"]) == by_hand_passages(samples, 0.0) > 0
    colvar = read_colvar(folder / "colvar.dat")
    np.testing.assert_allclose(
        colvar["weight"], read_arrays(folder / "weights.npz")["last_weights"], atol=1e-9
    )
    in_time = read_colvar(folder / "convergence.dat")
    assert in_time["time"][-1] == pytest.approx(5.0)
    assert in_time["xi_change"][-1] == pytest.approx(0.0, abs=1e-6)
    assert in_time["delta_f"][-1] == pytest.approx(float(made["delta_f_alone_kj_mol"]), abs=1e-4)
    profile = read_fes(folder / "fes_psi.dat")
    assert profile.error is not None
    populated = profile.values < 2.0
    assert populated.sum() > 2  # 10 ps stay in one basin, a few bins wide
    assert np.all((profile.error[populated] > 0.05) & (profile.error[populated] < 10.0))
    assert np.nanmin(profile.values) == pytest.approx(0.0, abs=1e-9)
    pictures = {path.name for path in (small_run / "pictures").glob("production_*.png")}
    assert pictures == {
        "production_delta_f.png",
        "production_phi_psi.png",
        "production_profiles.png",
        "production_walkers.png",
        "production_xi.png",
    }


def test_production_json_keeps_infinite_intervals(small_run: Path, tmp_path: Path) -> None:
    """JSON has no infinity: it is written as a word and read as a number."""
    fields = read_json(small_run / "production_02" / "production.json")
    fields |= {"delta_f_kj_mol": "inf", "delta_f_interval": ["-inf", "inf"]}
    (tmp_path / "production.json").write_text(json.dumps(fields))
    made = Production.load(tmp_path)
    assert made.delta_f_kj_mol == np.inf
    assert made.delta_f_interval == (-np.inf, np.inf)
    assert made.as_dict() == fields


def test_more_iterations_make_another_production_and_keep_the_old_one(copy_of_run: Path) -> None:
    before = contents(copy_of_run / "production_02")
    outcome = resume(copy_of_run, "run.iterations=4")
    assert [record.index for record in outcome.records] == [0, 1, 2, 3]
    assert outcome.production is not None
    assert outcome.production.folder == "production_03"
    assert outcome.production.cv_iteration == 3
    assert read_json(copy_of_run / "summary.json")["production"]["folder"] == "production_03"
    assert contents(copy_of_run / "production_02") == before


def test_while_more_iterations_run_the_old_production_is_not_the_result(
    copy_of_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the new iteration: summary.json has no production, pictures neither, its folder stays."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = contents(copy_of_run / "production_02")
    assert list((copy_of_run / "pictures").glob("production_*.png"))
    monkeypatch.setattr("aecv.workflow.loop.production_plan", stop)
    with pytest.raises(KeyboardInterrupt):
        resume(copy_of_run, "run.iterations=4")
    summary = read_json(copy_of_run / "summary.json")
    assert len(summary["iterations"]) == 4
    assert summary["production"] is None
    assert not list((copy_of_run / "pictures").glob("production_*.png"))
    assert contents(copy_of_run / "production_02") == before


def test_none_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    short = ("run.iterations=1", "production.ns=0", "training.max_epochs=1", "starts.mode=one")
    outcome = iterate(load_system("ala2", overrides=(*SMALL, *short)), tmp_path / "run")
    assert outcome.production is None
    assert read_json(tmp_path / "run" / "summary.json")["production"] is None
    assert not list((tmp_path / "run").glob("production*"))


def test_a_finished_run_may_be_asked_for_none_and_keeps_the_one_it_has(copy_of_run: Path) -> None:
    before = contents(copy_of_run / "production_02")
    assert resume(copy_of_run, "production.ns=0").production is None
    assert contents(copy_of_run / "production_02") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("production.ns=0.02", r"sampling was made from production\.ns = 0\.01, now it is 0\.02"),
        ("production.frozen_stages=3", r"sampling was made from production\.frozen_stages = 2, now it is 3"),
        ("production.replicates=50", r"analysis was made from production\.replicates = 40, now it is 50"),
    ],
)
def test_a_production_is_not_mixed_with_one_of_other_settings(
    copy_of_run: Path, change: str, message: str
) -> None:
    """Refused, with both ways out, and nothing is changed; what was sampled is not to be thrown away."""
    before, summary = contents(copy_of_run / "production_02"), read_json(copy_of_run / "summary.json")
    what = "production_02" if "sampling" in message else "production_02/analysis.done"
    advice = f"go back to what it was, or delete {what} to "
    with pytest.raises(StoreError, match=rf"production_02/\w+\.done: {message}; {advice}"):
        resume(copy_of_run, change)
    assert contents(copy_of_run / "production_02") == before
    assert read_json(copy_of_run / "summary.json") == summary


def test_a_begun_production_goes_on_with_the_length_it_was_begun_with(copy_of_run: Path) -> None:
    folder = copy_of_run / "production_02"
    inputs = read_json(folder / "sampling.done")["inputs"]
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "sampling.begun").write_text(json.dumps(inputs))
    with pytest.raises(StoreError, match=r"production_02/sampling\.begun: .*production\.ns = 0\.01, now"):
        resume(copy_of_run, "production.ns=0.004")


def test_a_damaged_production_is_not_reused(copy_of_run: Path) -> None:
    path = copy_of_run / "production_02" / "samples.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"production_02/samples\.npz: is cut off since sampling wrote"):
        resume(copy_of_run)


def test_a_production_too_short_for_a_frame_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"production 0: 0\.01 ps over 2 walkers .*--final-ns"):
        iterate(load_system("ala2", overrides=(*SMALL, "production.ns=1e-5")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("n_frames", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5))])
def test_a_production_of_a_few_frames_is_still_one(copy_of_run: Path, n_frames: int) -> None:
    """Everything that needs time scales says nothing then; nothing fails."""
    shutil.rmtree(copy_of_run / "production_02")
    made = resume(copy_of_run, f"production.ns={4e-5 * n_frames}").production
    assert made is not None
    assert made.ns == pytest.approx(4e-5 * n_frames)
    assert 2 * max(1, n_frames - 2) <= made.n_frames <= 2 * n_frames
