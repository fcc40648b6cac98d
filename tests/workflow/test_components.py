"""The loop with more components than are biased, and with three."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aecv
from aecv.ground.errors import CVError, StoreError
from aecv.ground.files import read_json
from aecv.ground.sealed import write_sealed
from aecv.models.cvs.cv_files import load_cv
from aecv.molecules.spec import load_system
from aecv.results.formats.fes import read_fes
from aecv.workflow.loop import Outcome, iterate
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.story.words import facts_of_loop
from tests.workflow.conftest import SMALL

SHORT = (
    "run.iterations=2",
    "sampling.ns=0.01",
    "starts.mode=one",
    "training.max_epochs=2",
    "training.restarts=2",
    "convergence.replicas=2",
    "production.ns=0",
)
FIVE = (*SMALL, *SHORT, "autoencoder.latent=5")


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A run of two iterations with five components, of which the best pair is biased."""
    folder = tmp_path_factory.mktemp("five") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aecv.workflow.loop.tell", lambda *_: None)
        return folder, iterate(load_system("ala2", overrides=FIVE), folder)


def test_of_five_components_a_pair_is_biased(five: tuple[Path, Outcome]) -> None:
    run, outcome = five
    log = (run / "run.log").read_text()
    for record in outcome.records:
        assert record.biased_components is not None
        assert record.importances is not None
        assert record.biased_loss is not None
        assert len(set(record.biased_components)) == 2
        assert len(record.importances) == 5
        assert list(record.importances) == sorted(record.importances, reverse=True)
        chosen = " and ".join(map(str, sorted(record.biased_components)))
        told = (
            f"of 5 components, the most important one 0, {chosen} are the CV, the pair that reconstructs best"
        )
        assert f"iteration {record.index}: {told}: loss {record.biased_loss:.3g} nm^2 with them alone" in log
        folder = run / f"iteration_{record.index:02d}"
        cv, whole = load_cv(folder), load_cv(folder / "latent")
        positions = Samples.load(folder / "samples.npz").cv_positions.astype(float)
        np.testing.assert_allclose(
            cv(positions), whole(positions)[:, list(record.biased_components)], atol=1e-12
        )
        said = read_json(folder / "training.json")["components"]
        assert tuple(said["biased"]) == record.biased_components
        assert said["next_pair_loss_nm2"] >= record.biased_loss
        assert IterationRecord.from_dict(read_json(folder / "record.json")) == record
    assert Bias.load(run / "iteration_01" / "bias.npz").grid.shape == (20, 20)
    assert outcome.records[1].score is not None


def test_the_report_says_what_is_left_out(five: tuple[Path, Outcome]) -> None:
    """Losses of 4 and 1 of a variance of 10: 60 % with the pair, 90 % with all."""
    record = replace(
        five[1].records[1],
        biased_components=(2, 0),
        biased_loss=4.0,
        loss=1.0,
        explained_variance=0.9,
    )
    settings = load_system("ala2", overrides=FIVE).settings
    facts = dict(facts_of_loop([record], settings, None))
    assert facts["biased components"] == "0 and 2 of 5: 60% of the variance (all: 90%)"
    assert "biased components" not in dict(
        facts_of_loop([replace(record, biased_components=None)], settings, None)
    )


@pytest.mark.usefixtures("without_pictures")
def test_such_a_run_is_resumed_and_guards_its_files(five: tuple[Path, Outcome], tmp_path: Path) -> None:
    run = Path(shutil.copytree(five[0], tmp_path / "run"))
    again = iterate(load_system("ala2", overrides=FIVE), run, resume=True)
    assert again.records == five[1].records
    named = load_system("ala2", overrides=(*FIVE, "autoencoder.bias_components=0,1"))
    with pytest.raises(StoreError, match=r"autoencoder\.bias_components was None, now \[0, 1\]"):
        iterate(named, run, resume=True)
    path = run / "iteration_00" / "latent" / "cv.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=r"latent/cv\.npz: has changed since learning wrote it"):
        iterate(load_system("ala2", overrides=FIVE), run, resume=True)


@pytest.mark.parametrize("name", ["cv.json", "cv.pt"])
def test_a_cv_that_its_run_did_not_write_is_not_loaded(small_run: Path, tmp_path: Path, name: str) -> None:
    """A space more in cv.json is no damage that its own hashes could tell; the run's can."""
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    aecv.load_cv(run / "iteration_00")
    path = run / "iteration_00" / name
    path.write_bytes(path.read_bytes() + b" ")
    for given in (path.parent, path.parent / "cv.json", path.parent / "cv.pt"):
        with pytest.raises(CVError, match=rf"{name}: has changed since learning wrote it"):
            aecv.load_cv(given)


@pytest.mark.usefixtures("without_pictures")
def test_a_run_from_before_there_was_a_choice_goes_on(small_run: Path, tmp_path: Path) -> None:
    """Its settings lack the key, its records the fields; all components are biased, as they were."""
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    manifest = read_json(run / "run.json")
    assert manifest["settings"]["autoencoder"].pop("bias_components") is None
    write_sealed(run / "run.json", manifest)
    outcome = iterate(load_system("ala2", overrides=SMALL), run, resume=True)
    fields = read_json(run / "iteration_01" / "record.json")
    for name in ("biased_components", "importances", "biased_loss"):
        assert fields.pop(name) is None
    assert IterationRecord.from_dict(fields) == outcome.records[1]
    assert "components" not in read_json(run / "iteration_01" / "training.json")
    assert not (run / "iteration_01" / "latent").exists()


@pytest.mark.slow
def test_three_components_from_the_start_to_the_pictures(tmp_path: Path) -> None:
    three = ("autoencoder.latent=3", "eabf.bins=8", "production.ns=0.01")
    outcome = iterate(load_system("ala2", overrides=(*SMALL, *SHORT, *three)), tmp_path / "run")
    grid = Bias.load(tmp_path / "run" / "iteration_01" / "bias.npz").grid
    assert grid.shape == (8, 8, 8)
    assert outcome.records[1].biased_components is None
    assert outcome.production is not None
    profile = read_fes(tmp_path / "run" / "production_01" / "fes_xi.dat")
    limits = load_cv(tmp_path / "run" / "iteration_01").cv_range
    assert profile.names == ("xi_1", "xi_2", "xi_3")
    for axis, (low, high) in zip(profile.axes, limits, strict=True):
        np.testing.assert_allclose(axis, low + (high - low) * (np.arange(8) + 0.5) / 8, atol=1e-6)
    for name in ("free_energy_xi.png", "coverage.png", "production_profiles.png"):
        assert (tmp_path / "run" / "pictures" / name).stat().st_size > 1000
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000
