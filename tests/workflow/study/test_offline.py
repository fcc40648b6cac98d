"""CVs from frames that are there, and CVs against CVs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.errors import CVError, SamplingError, StoreError
from aecv.ground.files import read_json
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import load_cv
from aecv.models.cvs.encoder_map import EncoderMap
from aecv.models.cvs.observable_cv import observable_cv
from aecv.models.inputs.frame_table import FrameTable
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import build
from aecv.workflow.frames.input_frames import FrameFiles
from aecv.workflow.study import offline
from aecv.workflow.study.offline import score, score_in_run, score_on, train

QUICK = ("training.max_epochs=3", "training.restarts=2", "training.min_effective_frames=20")


@pytest.fixture(scope="module")
def frames(small_run: Path) -> Path:
    return small_run / "iteration_00" / "frames.dcd"


def test_frames_of_weight_zero_do_not_train(frames: Path, tmp_path: Path) -> None:
    """Weights 1 and 0 are the same training as the frames with weight 1 alone."""
    import mdtraj

    spec = load_system("ala2", overrides=QUICK)
    everything = mdtraj.load(str(frames), top=build(spec).mdtraj_topology)
    weights = np.zeros(len(everything))
    weights[100:700] = 3.0
    np.save(tmp_path / "w.npy", weights)
    everything[100:700].save(str(tmp_path / "part.dcd"))
    whole = FrameFiles(trajectories=(frames,), weights=tmp_path / "w.npy")
    part = FrameFiles(trajectories=(tmp_path / "part.dcd",))
    a = train(spec, whole, tmp_path / "a")
    b = train(spec, part, tmp_path / "b")
    assert a.n_effective == pytest.approx(600)
    np.testing.assert_allclose(a.autoencoder.losses, b.autoencoder.losses, rtol=1e-5)
    one, other = load_cv(tmp_path / "a"), load_cv(tmp_path / "b")
    positions = everything.xyz[::50][:, one.atom_indices].astype(float)
    np.testing.assert_allclose(one(positions), other(positions), atol=1e-3)
    assert a.loss < a.autoencoder.variance  # better than the mean structure


def test_training_leaves_what_a_cv_needs(frames: Path, tmp_path: Path) -> None:
    spec = load_system("ala2", overrides=(*QUICK, "autoencoder.latent=1"))
    trained = train(spec, FrameFiles(trajectories=(frames,), stride=2), tmp_path / "cv")
    names = {item.name for item in (tmp_path / "cv").iterdir()}
    files = {"cv.pt", "cv.npz", "cv.json", "training.json", "frames.json"}
    assert names == files | {"xi.dat", "latent_map.png", "observables_by_cv.png"}
    said = read_json(tmp_path / "cv" / "frames.json")
    assert (said["n_frames"], said["stride"], said["system_hash"]) == (500, 2, spec.hash)
    assert load_cv(tmp_path / "cv").n_components == 1
    # to the last bit: an encoder that is made again centres its reference again
    written, encoder = np.load(tmp_path / "cv" / "cv.npz"), trained.autoencoder.restart_encoders
    np.testing.assert_array_equal(written["reference"], encoder[trained.choice.restart].reference)
    np.testing.assert_array_equal(written["weights_1"], encoder[trained.choice.restart].weights[1])


def test_the_chosen_components_are_the_cv_and_all_lie_beside_it(frames: Path, tmp_path: Path) -> None:
    chosen = ("autoencoder.latent=4", "autoencoder.bias_components=1,3")
    trained = train(
        load_system("ala2", overrides=(*QUICK, *chosen)), FrameFiles(trajectories=(frames,)), tmp_path / "cv"
    )
    cv, whole = load_cv(tmp_path / "cv"), load_cv(tmp_path / "cv" / "latent")
    assert (cv.n_components, whole.n_components) == (2, 4)
    positions = np.load(frames.parent / "samples.npz")["cv_positions"].astype(float)
    np.testing.assert_allclose(cv(positions), whole(positions)[:, [1, 3]], atol=1e-12)
    np.testing.assert_allclose(cv.cv_range, whole.cv_range[[1, 3]], atol=1e-12)
    said = read_json(tmp_path / "cv" / "training.json")["components"]
    assert said["biased"] == [1, 3]
    assert trained.components is not None
    assert said["importance_nm2"] == pytest.approx(trained.components.importances.tolist())
    assert said["loss_nm2"] < said["biased_loss_nm2"]


@pytest.mark.parametrize("is_weighted", [False, True])
def test_frames_of_a_bias_are_no_natural_dynamics(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_weighted: bool
) -> None:
    """Weights say that there was a bias: no model may take two of these frames for a step of the molecule."""

    class Seen(Exception):
        pass

    def look(_: Path, table: FrameTable, *rest: object, **named: object) -> None:
        assert (table.time_ps is None) == is_weighted
        raise Seen

    monkeypatch.setattr(offline, "train_cv", look)
    weights = np.ones(1000) if is_weighted else None
    with pytest.raises(Seen):
        train("ala2", FrameFiles(trajectories=(frames,), weights=weights), tmp_path / "cv")


def test_a_folder_that_exists_is_not_touched(frames: Path, tmp_path: Path) -> None:
    (tmp_path / "cv").mkdir()
    (tmp_path / "cv" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        train(load_system("ala2", overrides=QUICK), FrameFiles(trajectories=(frames,)), tmp_path / "cv")
    assert [item.name for item in (tmp_path / "cv").iterdir()] == ["mine.txt"]


def test_too_few_effective_frames_leave_nothing(frames: Path, tmp_path: Path) -> None:
    weights = np.full(1000, 1e-9)
    weights[5] = 1.0
    np.save(tmp_path / "w.npy", weights)
    files = FrameFiles(trajectories=(frames,), weights=tmp_path / "w.npy")
    with pytest.raises(SamplingError, match=r"train: reweighted .* needs >= 20 effective frames, got 1\.0"):
        train(load_system("ala2", overrides=QUICK), files, tmp_path / "cv")
    assert not (tmp_path / "cv").exists()


def mixed(cv: CV) -> CV:
    """The same CV in other components: y = A x + b."""
    assert isinstance(cv.map, EncoderMap)
    matrix, shift = np.array([[2.0, 0.5], [-0.3, 1.0]]), np.array([0.7, -3.0])
    weights, biases = list(cv.map.encoder.weights), list(cv.map.encoder.biases)
    weights[-1], biases[-1] = matrix @ weights[-1], matrix @ biases[-1] + shift
    encoder = replace(cv.map.encoder, weights=tuple(weights), biases=tuple(biases))
    return replace(cv, map=EncoderMap(encoder=encoder))


def test_an_affine_function_scores_one(small_run: Path) -> None:
    cv = load_cv(small_run / "iteration_02")
    found = score_in_run(mixed(cv), cv, small_run)
    assert found.score == pytest.approx(1.0, abs=1e-9)
    assert found.reverse == pytest.approx(1.0, abs=1e-9)
    assert found.nonlinear > 0.9  # 800 frames: what twenty neighbours can tell


@pytest.mark.parametrize("iteration", [1, 2])
def test_the_score_of_an_iteration_is_found_again(small_run: Path, iteration: int) -> None:
    record = read_json(small_run / f"iteration_{iteration:02d}" / "record.json")
    new, old = (load_cv(small_run / f"iteration_{k:02d}") for k in (iteration, iteration - 1))
    found = score_in_run(new, old, small_run, iteration)
    assert found.score == pytest.approx(record["score"], abs=1e-9)
    assert found.unweighted == pytest.approx(record["score_unweighted"], abs=1e-9)


def test_given_frames_score_as_those_of_the_run(small_run: Path, frames: Path) -> None:
    """Iteration 0 has equal weights: its trajectory is the same sample, but for rounding in Angstrom."""
    new, old = load_cv(small_run / "iteration_01"), load_cv(small_run / "iteration_00")
    inside = score_in_run(new, old, small_run, 0)
    outside = score(new, old, load_system("ala2"), FrameFiles(trajectories=(frames,)))
    assert outside.score == pytest.approx(inside.score, abs=1e-4)
    assert outside.n_frames == inside.n_frames


def test_angles_count_as_points_on_a_circle() -> None:
    """phi against itself, moved over its seam: as a number it jumps, on the circle it does not."""
    system = build(load_system("ala2"))
    phi = observable_cv(system.observables, ("phi",))
    rng = np.random.default_rng(1)
    positions = system.positions[None] + 0.02 * rng.standard_normal((200, system.n_atoms, 3))
    found = score_on(phi, phi, positions, np.arange(system.n_atoms), np.ones(200))
    assert found.score == pytest.approx(1.0, abs=1e-9)
    assert len(found.components) == 2  # cosine and sine


def test_a_cv_of_another_system_is_not_scored_in_a_run(small_run: Path) -> None:
    cv = load_cv(small_run / "iteration_00")
    assert isinstance(cv.map, EncoderMap)
    reference = cv.map.encoder.reference[::-1].copy()  # other bonds
    moved = EncoderMap(encoder=replace(cv.map.encoder, reference=reference))
    other = replace(cv, system_hash="other", map=moved)
    with pytest.raises(CVError, match="was learned on other atoms"):
        score_in_run(other, cv, small_run)


def test_what_cannot_be_scored_is_named(small_run: Path, tmp_path: Path) -> None:
    cv = load_cv(small_run / "iteration_00")
    with pytest.raises(StoreError, match=r"needs a finished iteration 7, has 0, 1, 2"):
        score_in_run(cv, cv, small_run, 7)
    with pytest.raises(StoreError, match="needs the folder of a run"):
        score_in_run(cv, cv, tmp_path)
    phi = observable_cv(build(load_system("ala2")).observables, ("phi",))
    few = np.delete(cv.atom_indices, 1)
    with pytest.raises(CVError, match=r"needs atom \d+, the frames hold"):
        score_on(phi, cv, np.zeros((50, len(few), 3)), few, np.ones(50))


def test_a_trajectory_in_memory_trains_as_its_file_does(frames: Path, tmp_path: Path) -> None:
    """And what is odd about frames stands beside the CV."""
    import mdtraj

    spec = load_system("ala2", overrides=QUICK)
    loaded = mdtraj.load(str(frames), top=build(spec).mdtraj_topology)
    assert train(spec, loaded, tmp_path / "a").loss == train(spec, frames, tmp_path / "b").loss
    mirror = loaded[:100]
    mirror.xyz[:20] *= np.float32([1, 1, -1])
    train(spec, [mirror], tmp_path / "c")
    said = read_json(tmp_path / "c" / "frames.json")
    assert (said["n_frames"], said["n_inverted"]) == (100, 20)
    assert "of 100 frames 20 have another chirality" in said["notes"][0]
