"""What a finished run leaves behind, read with other programs' tools where there are any."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch

from aecv import load_cv
from aecv.ground.files import read_arrays, read_json
from aecv.ground.settings import ConvergenceSettings
from aecv.ground.units import thermal_energy
from aecv.numerics.free_energy.integration import czar_gradient, integrate_gradient
from aecv.results import plots
from aecv.results.formats.colvar import read_colvar
from aecv.results.formats.fes import read_fes
from aecv.results.formats.grids import read_multicolumn
from aecv.workflow.learning.verdict import judge
from aecv.workflow.profiles import free_energy
from aecv.workflow.run_folder.reader import RunReader
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.story import pictures
from aecv.workflow.story.history import read_training
from tests.results.plots.drawn import panels
from tests.workflow.hand import by_hand_delta_f, by_hand_effective_visits, by_hand_passages

N_FRAMES = 1000


@pytest.mark.parametrize("iteration", [0, 1, 2])
def test_trajectory_opens_and_agrees_with_colvar(small_run: Path, iteration: int) -> None:
    folder = small_run / f"iteration_{iteration:02d}"
    trajectory = mdtraj.load(str(folder / "frames.dcd"), top=str(folder / "topology.pdb"))
    assert trajectory.n_frames == N_FRAMES
    colvar = read_colvar(folder / "colvar.dat")
    assert len(colvar["time"]) == N_FRAMES
    phi = mdtraj.compute_phi(trajectory)[1][:, 0]
    difference = np.angle(np.exp(1j * (colvar["phi"] - phi)))
    assert np.abs(difference).max() < 1e-3
    expected = {"time", "phi", "psi", "weight", "walker"}
    if iteration > 0:
        expected |= {"xi_1", "xi_2", "lam_1", "lam_2"}
        cv = load_cv(small_run / f"iteration_{iteration - 1:02d}")
        xi = cv.of_frames(trajectory.xyz)
        np.testing.assert_allclose(np.stack([colvar["xi_1"], colvar["xi_2"]], axis=1), xi, atol=1e-4)
    assert set(colvar) == expected
    assert colvar["weight"].sum() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_array_equal(np.unique(colvar["walker"]), [0, 1])
    assert colvar["time"].max() == pytest.approx(10.0)


def test_cv_is_the_same_in_torch_alone(small_run: Path) -> None:
    folder = small_run / "iteration_02"
    cv = load_cv(folder / "cv.pt")
    positions = read_arrays(folder / "samples.npz")["cv_positions"][::50].astype(float)
    module = torch.jit.load(str(folder / "cv.pt"))
    np.testing.assert_allclose(
        module(torch.from_numpy(positions)).detach().numpy(), cv(positions), atol=1e-12
    )


def test_grids_add_up(small_run: Path) -> None:
    folder = small_run / "iteration_01"
    bias = Bias.load(folder / "bias.npz")
    n_steps = 20_000
    assert bias.total.n_lam.sum() == n_steps
    grid, counts, _ = read_multicolumn(folder / "abf.count")
    assert counts.sum() == n_steps
    assert grid.n_bins == bias.grid.n_bins
    _, gradient, _ = read_multicolumn(folder / "abf.grad")
    visited = bias.total.n_lam > 0
    np.testing.assert_allclose(gradient[visited], bias.total.mean_force[visited], rtol=1e-6)
    # all that is integrated, but where fewer than free_energy.least_samples stand behind it
    total = bias.total
    czar = integrate_gradient(
        czar_gradient(total.n_xi, total.sum_xi, bias.grid, kt=bias.extended.kt), total.n_xi, bias.grid
    )
    for name, counts, found in (("abf", total.n_lam, total.free_energy()), ("czar", total.n_xi, czar)):
        values = read_fes(folder / f"fes_xi_{name}.dat").values.ravel()
        known = np.isfinite(values)
        assert counts[known].min() >= 50, name
        assert counts[known].sum() > 0.8 * n_steps, name
        assert np.nanmin(values) == 0.0, name
        difference = (values - found.on_main())[known]
        np.testing.assert_allclose(difference, difference[0], rtol=1e-6, atol=1e-6, err_msg=name)
        assert difference[0] == pytest.approx(-np.min(found.on_main(), where=known, initial=np.inf), abs=1e-6)
    # walkers keep their own counts, and the history ends with their sum
    assert [inc.n_lam.sum() for inc in bias.increments] == [n_steps / 2] * 2
    np.testing.assert_allclose(bias.history.samples[-1], bias.total.samples, rtol=1e-12)
    # from the second biased iteration on the bias begins with a prior, which counts in no estimate
    second = Bias.load(small_run / "iteration_02" / "bias.npz")
    assert second.prior.n_lam.sum() > 0
    assert second.total.n_lam.sum() == n_steps
    last = (second.prior + second.total).samples
    np.testing.assert_allclose(second.history.samples[-1], last, rtol=1e-9, atol=1e-9)


def test_summary_has_a_complete_record_per_iteration(small_run: Path) -> None:
    summary = json.loads((small_run / "summary.json").read_text())
    assert [record["index"] for record in summary["iterations"]] == [0, 1, 2]
    records = [IterationRecord.from_dict(fields) for fields in summary["iterations"]]
    verdict = judge(records, ConvergenceSettings(**summary["convergence"]))
    assert summary["verdict"] == verdict.as_dict()
    needed = {
        "index", "score", "score_unweighted", "score_nonlinear", "observables", "n_effective", "n_frames",
        "delta_f_kj_mol", "delta_f_interval", "passages", "problems", "loss", "ns", "steps_per_s", "wall_s",
    }  # fmt: skip
    for record in summary["iterations"]:
        assert needed <= set(record)
        assert record["ns"] == pytest.approx(0.02)
        weights = read_arrays(small_run / f"iteration_{record['index']:02d}" / "weights.npz")["weights"]
        assert record["n_frames"] == len(weights)
        assert record["n_effective"] == pytest.approx(1.0 / np.sum(weights**2), rel=1e-9)
    first, *biased = summary["iterations"]
    assert first["score"] is None
    assert first["delta_f_kj_mol"] is None
    assert first["problems"] == []
    assert first["s_min"] is None
    for record in biased:
        coverage = json.loads((small_run / f"iteration_{record['index']:02d}" / "coverage.json").read_text())
        assert record["problems"] == coverage["problems"]
        scores = json.loads((small_run / f"iteration_{record['index']:02d}" / "score.json").read_text())
        matrix = np.array(scores["replica_scores"])
        np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-9)
        between = matrix[~np.eye(3, dtype=bool)]
        quantile = summary["convergence"]["quantile"]
        assert record["s_min"] == pytest.approx(np.quantile(between, quantile), abs=1e-12)
        assert record["s_min"] == scores["s_min"]
        assert (record["s_min_replicas"], record["s_min_quantile"]) == (3, quantile)
        if record["restart_score"] is not None:  # of three restarts one may be alone in its quality
            assert record["restart_lowest"] <= record["restart_score"] <= 1
        assert set(record["observables"]) == {"phi", "psi", "xi"}


@pytest.mark.parametrize("iteration", [1, 2])
def test_numbers_of_a_record_follow_from_the_files(small_run: Path, iteration: int) -> None:
    """Score, Delta F and passages, written out here; the second iteration's pool is its own frames."""
    folder = small_run / f"iteration_{iteration:02d}"
    record = IterationRecord.from_dict(read_json(folder / "record.json"))
    samples, stored = Samples.load(folder / "samples.npz"), read_arrays(folder / "weights.npz")
    weights = stored["last_weights"]
    new = load_cv(folder)(samples.cv_positions.astype(float))
    old = np.column_stack([np.ones(len(new)), samples.xi])
    root = np.sqrt(weights)[:, None]
    fit = old @ np.linalg.lstsq(root * old, root * new, rcond=None)[0]
    unexplained = weights @ (new - fit) ** 2 / (weights @ (new - weights @ new) ** 2)
    assert record.score == pytest.approx(1.0 - unexplained.max(), abs=1e-6)
    assert 1e-4 < unexplained.max() < 0.5
    psi = samples.observables["psi"]
    kt = thermal_energy(300.0)
    alone = by_hand_delta_f(weights, psi, kt)
    assert abs(alone) < 10.0
    assert record.delta_f_iteration_kj_mol == pytest.approx(alone, abs=1e-3)
    assert set(stored["iteration"]) == {iteration}
    pool = by_hand_delta_f(stored["weights"], psi[stored["frame"]], kt)
    assert record.delta_f_kj_mol == pytest.approx(pool, abs=1e-3)
    begin = Bias.load(folder / "bias.npz").begin(0.2)
    assert record.passages == by_hand_passages(samples, begin)


@pytest.mark.parametrize("iteration", [1, 2])
def test_bins_are_known_from_three_effective_visits_on(small_run: Path, iteration: int) -> None:
    """Of the pool, which is the iteration's own frames, and so of these alone; in files and afterwards."""
    folder = small_run / f"iteration_{iteration:02d}"
    samples, stored = Samples.load(folder / "samples.npz"), read_arrays(folder / "weights.npz")
    frames = stored["frame"]
    assert set(stored["iteration"]) == {iteration}
    order = np.argsort(frames)
    frames, weights = frames[order], stored["weights"][order]
    walker = samples.walker[frames]
    for name in ("phi", "psi"):
        values = samples.observables[name][frames]
        visits = by_hand_effective_visits(values, weights, walker, bins=90)
        known = np.isfinite(read_fes(folder / f"fes_{name}.dat").values)
        np.testing.assert_array_equal(known, visits >= 3)
        assert 0.5 * np.sum(visits > 0) < known.sum() < np.sum(visits > 0)
        alone = free_energy(small_run, (name,), place=iteration, alone=True, replicates=20)
        np.testing.assert_array_equal(np.isfinite(alone.profile.estimate), visits >= 3)


def test_the_picture_of_an_iteration_is_grey_where_the_free_energy_is_unknown(small_run: Path) -> None:
    frames = pictures.read_frames(small_run, 2, RunReader(small_run).settings)
    drawn = dict(plots.pictures_of_iteration(frames, read_training(small_run, 2)))
    folder = small_run / "iteration_02"
    samples, stored = Samples.load(folder / "samples.npz"), read_arrays(folder / "weights.npz")
    plane = np.stack([samples.observables["phi"], samples.observables["psi"]], axis=1)
    visits = by_hand_effective_visits(plane, stored["last_weights"], samples.walker, bins=72)
    grey, coloured, *_ = panels(drawn["frames_phi_psi.png"])[1].collections
    for image, chosen in ((grey, (visits > 0) & (visits < 3)), (coloured, visits >= 3)):
        assert chosen.sum() > 20
        np.testing.assert_array_equal(~np.ma.getmaskarray(image.get_array()).reshape(72, 72).T, chosen)


def test_pictures_are_there(small_run: Path) -> None:
    names = {path.name for path in (small_run / "pictures").glob("*.png")}
    names -= {path.name for path in (small_run / "pictures").glob("production_*.png")}
    assert names == {"scores.png", "free_energy_xi.png", "coverage.png", "delta_f.png"}
    for iteration in (0, 1, 2):
        names = {path.name for path in (small_run / f"iteration_{iteration:02d}").glob("*.png")}
        assert names == {
            "training.png",
            "cv_by_observables.png",
            "observables_by_cv.png",
            "frames_phi_psi.png",
        }


def test_run_says_what_made_it(small_run: Path) -> None:
    run = json.loads((small_run / "run.json").read_text())
    assert run["system"] == "ala2"
    assert run["platform"] == "Reference"
    assert run["seed"] == 1
    assert run["versions"]["openmm"]
    assert len(run["system_hash"]) == 64
    log = (small_run / "run.log").read_text()
    assert "random seed 1" in log
    # developers' lines are DEBUG
    assert "verified" not in log
    assert not list(small_run.rglob("segments"))


def test_a_story_that_cannot_be_read_is_a_warning(
    small_run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pictures can be drawn again: what is wrong with them ends no run."""

    def fail(*_: object) -> None:
        raise RuntimeError("a record of another world")

    monkeypatch.setattr(pictures, "read_story", fail)
    before = (small_run / "report.html").read_bytes()
    run: Any = SimpleNamespace(path=small_run)
    pictures.tell(run, "running")
    assert "pictures and report: a record of another world" in caplog.text
    assert (small_run / "report.html").read_bytes() == before
