"""Commands on runs and frames that are there: what they print and write."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from aecv.commands.cli import main
from aecv.ground.files import read_arrays, read_json
from aecv.ground.sealed import write_sealed
from aecv.models.cvs.cv_files import load_cv
from aecv.results.formats.fes import read_fes
from aecv.workflow.run_folder.samples import Samples
from tests.workflow.hand import by_hand_effective_visits


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments], prog_name="aecv")


def test_status(small_run: Path) -> None:
    told = run("status", small_run).output
    assert f"{small_run}: ala2, finished, 3 of 3 iterations" in told
    assert "n_eff" in told
    found = json.loads(run("status", small_run, "--json").output)
    assert (found["state"], len(found["records"])) == ("finished", 3)


def test_fes(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "profiles" / "phi.dat"
    asked = ("fes", small_run, "--along", "phi", "--place", 2, "--replicates", 20, "--out", out)
    result = run(*asked)
    assert result.exit_code == 0, result.output
    assert "of iteration 2 and what is pooled with it" in result.output
    assert read_fes(out).names == ("phi",)
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    again = run(*asked)
    assert (again.exit_code, "phi.dat: exists already" in again.output) == (1, True)
    both = run(
        "fes", small_run, "--along", "phi,psi", "--alone", "--replicates", 20, "--out", tmp_path / "m.dat"
    )
    assert "of production_02 alone" in both.output
    clash = run("fes", small_run, "--along", "phi", "--out", tmp_path / "f.png")
    assert "its picture gets .png beside it" in clash.output
    assert not (tmp_path / "f.png").exists()


def test_fes_knows_bins_by_the_threshold_of_the_run_or_of_the_command(
    small_run: Path, tmp_path: Path
) -> None:
    """Bins with any weight at 0, fewer from 3 effective visits on, which a run asks for by itself."""
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    samples = Samples.load(folder / "iteration_02" / "samples.npz")
    stored = read_arrays(folder / "iteration_02" / "weights.npz")
    order = np.argsort(stored["frame"])
    frames, weights = stored["frame"][order], stored["weights"][order]
    phi, walker = samples.observables["phi"][frames], samples.walker[frames]
    visits = by_hand_effective_visits(phi, weights, walker, bins=90)
    assert 0 < np.sum(visits >= 8) < np.sum(visits >= 3) < np.sum(visits > 0)
    manifest = read_json(folder / "run.json")
    for least_of_run in (3.0, 1.0):  # every weight is at least one visit
        manifest["settings"]["free_energy"]["least_visits"] = least_of_run
        write_sealed(folder / "run.json", manifest)
        for options, least in (
            ((), least_of_run),
            (("--least-visits", 0), 0.0),
            (("--least-visits", 8), 8.0),
        ):
            out = tmp_path / f"{least_of_run:g}_{len(options)}_{least:g}.dat"
            asked = ["fes", folder, "--along", "phi", "--place", 2, "--replicates", 20, "--out", out]
            known = (visits > 0) & (visits >= least * (1 - 1e-12))
            assert f"{known.sum()} of 90 bins are known" in run(*asked, *options).output
            np.testing.assert_array_equal(np.isfinite(read_fes(out).values), known)


def test_score(small_run: Path) -> None:
    new, old = small_run / "iteration_02", small_run / "iteration_01"
    record = read_json(new / "record.json")
    assert f"score        {record['score']:.4f}" in run("score", new, old).output
    found = json.loads(run("score", new, old, "--run", small_run, "--iteration", 2, "--json").output)
    assert found["score"] == pytest.approx(record["score"], abs=1e-9)
    frames = small_run / "iteration_02" / "frames.dcd"
    given = json.loads(run("score", new, old, "--system", "ala2", "--frames", frames, "--json").stdout)
    assert given["unweighted"] == pytest.approx(given["score"])  # frames without weights weigh the same
    mixed = run("score", new, old, "--system", "ala2", "--frames", frames, "--iteration", 1)
    assert "give one" in mixed.output
    assert "give both or none" in run("score", new, old, "--system", "ala2").output


def test_train(small_run: Path, tmp_path: Path) -> None:
    sets = [f"--set=training.{item}" for item in ("max_epochs=2", "restarts=2", "min_effective_frames=20")]
    frames = small_run / "iteration_00" / "frames.dcd"
    result = run(
        "train", "--system", "ala2", "--frames", frames, "--stride", 4, "--out", tmp_path / "cv", *sets
    )
    assert result.exit_code == 0, result.output
    assert "250 frames, 250 effective" in result.output
    assert load_cv(tmp_path / "cv").n_components == 2
    missing = run("train", "--system", "ala2", "--frames", "none.xtc", "--out", tmp_path / "other")
    assert (missing.exit_code, "none.xtc: needs a file of frames" in missing.output) == (1, True)
