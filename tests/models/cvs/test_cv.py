"""The exported CV: the same numbers in every file and program, and clear errors for everything else."""

import json
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import aecv
from aecv.ground.errors import CVError
from aecv.models.cvs.cv import compare_with_torchscript
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.models.cvs.encoder_map import EncoderMap
from aecv.numerics.kernels.encoder import NO_REFERENCE, Encoder, encode
from aecv.numerics.kernels.network import IDENTITY, RELU, SIGMOID

ATOMS = [1, 4, 6, 8, 10, 14, 16, 18]
RANGE = [[-2.0, 2.0], [-3.0, 3.5]]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    rng = np.random.default_rng(1)
    sizes = [24, 40, 2]
    return Encoder(
        reference=0.15 * rng.standard_normal((8, 3)),
        weights=tuple(2 * rng.standard_normal((o, i)) / np.sqrt(i) for i, o in pairwise(sizes)),
        biases=tuple(0.3 * rng.standard_normal(o) for o in sizes[1:]),
    )


@pytest.fixture(scope="module")
def positions(encoder: Encoder) -> np.ndarray:
    rng = np.random.default_rng(2)
    return encoder.reference + 0.04 * rng.standard_normal((1000, 8, 3)) + rng.standard_normal((1000, 1, 3))


def export(encoder: Encoder, folder: Path) -> Path:
    export_cv(encoder, folder, atom_indices=ATOMS, cv_range=RANGE, system="ala2", system_hash="abc")
    return folder


@pytest.fixture(scope="module")
def folder(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(encoder, tmp_path_factory.mktemp("cv"))


@pytest.fixture
def fresh(encoder: Encoder, tmp_path: Path) -> Path:
    return export(encoder, tmp_path)


def gradients(module, positions: torch.Tensor) -> torch.Tensor:
    leaf = positions.clone().requires_grad_()
    xi = module(leaf)
    return torch.stack(
        [torch.autograd.grad(xi[:, c].sum(), leaf, retain_graph=True)[0] for c in range(2)], dim=1
    )


@pytest.mark.parametrize("name", ["cv.pt", "cv.json", "cv.npz", ""])
def test_every_file_gives_the_same_cv(folder, encoder, positions, name):
    cv = load_cv(folder / name)
    np.testing.assert_allclose(cv(positions), encode(encoder, positions), rtol=0, atol=1e-14)
    assert cv.atom_indices.tolist() == ATOMS
    assert cv.cv_range.tolist() == RANGE
    assert (cv.system, cv.system_hash, cv.n_atoms, cv.n_components) == ("ala2", "abc", 8, 2)


def test_kernel_and_autograd_agree_on_a_thousand_frames(folder, positions):
    assert compare_with_torchscript(load_cv(folder), positions) < 1e-12


@pytest.mark.parametrize("name", ["cv.json", "cv.pt"])
def test_activations_are_stored_where_not_all_are_tanh(encoder, positions, tmp_path, name):
    """A file without them, as all were once, has tanh on hidden layers: its bytes and hashes stay."""
    other = replace(encoder, activations=(SIGMOID, IDENTITY))
    assert "activations" not in EncoderMap(encoder=encoder).arrays
    cv = load_cv(export(other, tmp_path) / name)
    assert cv.map.encoder.activations == other.activations
    np.testing.assert_allclose(cv(positions), encode(other, positions), atol=1e-13)
    assert compare_with_torchscript(cv, positions) < 1e-12
    again = export(encoder, tmp_path / "tanh")
    assert cv.fingerprint != load_cv(again).fingerprint
    assert json.loads((again / "cv.json").read_text())["activation"] == "tanh on hidden layers"


def test_activations_that_were_changed_are_seen(encoder, tmp_path):
    export(replace(encoder, activations=(SIGMOID, IDENTITY)), tmp_path)
    with np.load(tmp_path / "cv.npz") as found:
        kept = dict(found)
    for changed in ({"activations": np.array([RELU, IDENTITY])}, {}):
        np.savez(tmp_path / "cv.npz", **{k: v for k, v in kept.items() if k != "activations"} | changed)
        with pytest.raises(CVError, match="array 'activations' is missing or not what it was"):
            load_cv(tmp_path / "cv.npz")


def test_comparison_sees_a_network_that_differs(folder, positions, encoder):
    cv = load_cv(folder)
    noise = 1e-6 * np.random.default_rng(0).standard_normal(encoder.weights[0].shape)
    weights = (encoder.weights[0] + noise, *encoder.weights[1:])
    other = Encoder(reference=encoder.reference, weights=weights, biases=encoder.biases)
    changed = replace(cv, map=replace(cv.map, encoder=other))
    assert compare_with_torchscript(changed, positions) > 1e-8


def test_gradient_is_that_of_finite_differences(folder, positions):
    cv, step = load_cv(folder), 1e-5
    gradient = cv.gradient(positions[:5])
    assert gradient.shape == (5, 2, 8, 3)
    numeric = np.empty_like(gradient)
    for atom in range(8):
        for axis in range(3):
            shift = np.zeros((8, 3))
            shift[atom, axis] = step
            numeric[:, :, atom, axis] = (cv(positions[:5] + shift) - cv(positions[:5] - shift)) / (2 * step)
    np.testing.assert_allclose(gradient, numeric, atol=1e-7 * np.abs(gradient).max())


def test_rigid_motion_leaves_xi_unchanged(folder, positions):
    rng = np.random.default_rng(3)
    q, _ = np.linalg.qr(rng.standard_normal((1000, 3, 3)))
    q *= np.linalg.det(q)[:, None, None]
    centred = positions - positions.mean(axis=1, keepdims=True)
    moved = centred @ q + rng.standard_normal((1000, 1, 3))
    cv = load_cv(folder)
    assert np.abs(cv(moved) - cv(positions)).max() < 1e-12
    with torch.no_grad():
        other = cv.module(torch.tensor(moved)).numpy()
    assert np.abs(other - cv(positions)).max() < 1e-12


@pytest.mark.parametrize("prepare", ["plain", "freeze", "optimize_for_inference"])
def test_module_keeps_values_and_gradients(folder, positions, prepare):
    module = torch.jit.load(str(folder / "cv.pt")).eval()
    if prepare != "plain":
        module = getattr(torch.jit, prepare)(module)
    cv, frames = load_cv(folder), torch.tensor(positions[:50])
    expected = cv.gradient(positions[:50])
    for _ in range(4):  # the profiling executor recompiles after the first calls
        np.testing.assert_allclose(module(frames).detach(), cv(positions[:50]), rtol=0, atol=1e-12)
        np.testing.assert_allclose(gradients(module, frames), expected, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("prepare", ["plain", "freeze", "optimize_for_inference"])
def test_all_zero_input_first_then_real_frames(folder, positions, prepare):
    """What PLUMED does: it calls the model with zeros to learn the number of outputs, then with one frame."""
    module = torch.jit.load(str(folder / "cv.pt")).eval()
    if prepare != "plain":
        module = getattr(torch.jit, prepare)(module)
    zeros = torch.zeros(1, 24, dtype=torch.float32)
    for _ in range(3):
        assert module(zeros).shape == (1, 2)
        assert torch.isfinite(module(zeros)).all()
        assert torch.isfinite(gradients(module, zeros)).all()
    frame = torch.tensor(positions[:1], dtype=torch.float32).reshape(1, 24)
    expected = load_cv(folder).gradient(positions[:1])[0].reshape(2, 24)
    for _ in range(3):
        came = gradients(module, frame)[0]
        np.testing.assert_allclose(came, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(10, 8, 3), (10, 24), (240,), (80, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_module_takes_every_shape_and_answers_in_the_dtype_of_the_input(folder, positions, shape, dtype):
    module = torch.jit.load(str(folder / "cv.pt"))
    xi = module(torch.tensor(positions[:10], dtype=dtype).reshape(shape))
    assert xi.dtype == dtype
    assert xi.shape == (10, 2)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    np.testing.assert_allclose(xi, load_cv(folder)(positions[:10]), rtol=0, atol=tolerance)


def test_module_converted_to_single_precision_still_runs(folder, positions):
    module = torch.jit.load(str(folder / "cv.pt")).to(torch.float32)
    xi = module(torch.tensor(positions[:10], dtype=torch.float64))
    np.testing.assert_allclose(xi, load_cv(folder)(positions[:10]), rtol=0, atol=1e-3)


def test_module_loads_where_only_torch_is_imported(folder, positions, tmp_path):
    np.save(tmp_path / "positions.npy", positions[:4])
    script = (
        "import sys, numpy, torch\n"
        f"module = torch.jit.load({str(folder / 'cv.pt')!r})\n"
        f"positions = torch.tensor(numpy.load({str(tmp_path / 'positions.npy')!r}), requires_grad=True)\n"
        "xi = module(positions); xi.sum().backward()\n"
        "assert 'aecv' not in sys.modules and bool(positions.grad.abs().sum() > 0)\n"
        "print(xi.tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_allclose(json.loads(done.stdout), load_cv(folder)(positions[:4]), rtol=0, atol=1e-12)


def test_plain_files_hold_no_pickle_and_need_no_torch(folder, positions, tmp_path):
    np.load(folder / "cv.npz", allow_pickle=False)
    np.save(tmp_path / "positions.npy", positions[:4])
    script = (
        "import sys, numpy, aecv\n"
        "assert 'numba' not in sys.modules and 'pydantic' not in sys.modules\n"
        f"cv = aecv.load_cv({str(folder / 'cv.json')!r})\n"
        f"xi = cv(numpy.load({str(tmp_path / 'positions.npy')!r}))\n"
        "assert 'torch' not in sys.modules\n"
        "print(xi.tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(aecv.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == load_cv(folder)(positions[:4]).tolist()


def test_export_repeats_byte_for_byte(folder, fresh):
    for name in ("cv.npz", "cv.json"):
        assert (folder / name).read_bytes() == (fresh / name).read_bytes()


def test_export_gives_no_warnings(encoder, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(encoder, tmp_path)
        assert load_cv(tmp_path / "cv.pt").n_components == encoder.n_components


def test_cv_can_be_pickled_after_its_module_was_loaded(folder, positions):
    cv = load_cv(folder)
    cv.module  # noqa: B018
    copy = pickle.loads(pickle.dumps(cv))
    np.testing.assert_array_equal(copy(positions), cv(positions))
    assert compare_with_torchscript(copy, positions[:5]) < 1e-12


def test_a_pickled_cv_finds_its_file_from_another_folder(folder, positions, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    sent = pickle.dumps(load_cv(Path(folder.name)))
    monkeypatch.chdir(tmp_path)
    copy = pickle.loads(sent)
    assert compare_with_torchscript(copy, positions[:5]) < 1e-12


def test_one_frame_and_frames_of_all_atoms(folder, positions):
    cv = aecv.load_cv(folder)
    assert cv(positions[0]).shape == (1, 2)
    everything = np.random.default_rng(0).standard_normal((1000, 22, 3))
    everything[:, ATOMS] = positions
    np.testing.assert_array_equal(cv.of_frames(everything), cv(positions))
    with pytest.raises(CVError, match=r"\(F, >= 19, 3\), got \(1000, 8, 3\)"):
        cv.of_frames(positions)


class Distance(torch.nn.Module):
    """A CV of another origin: the distance between two atoms."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        frames = positions.reshape(-1, 2, 3)
        return torch.linalg.norm(frames[:, 0] - frames[:, 1] + 1e-12, dim=1, keepdim=True)


class NotFinite(torch.nn.Module):
    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return positions.reshape(-1, 6)[:, :1] * float("nan")


class OneNumber(torch.nn.Module):
    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return positions.sum()


def foreign(module: torch.nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module), str(path))
    return path


def test_module_of_another_origin_is_evaluated_by_autograd(tmp_path):
    cv = load_cv(foreign(Distance(), tmp_path / "distance.pt"), atom_indices=[3, 0])
    assert not cv.is_compiled
    assert cv.n_components == 1
    positions = np.array([[[0.0, 0, 0], [3, 4, 0]], [[1.0, 1, 1], [1, 1, 3]]])
    np.testing.assert_allclose(cv(positions), [[5], [2]], rtol=1e-12)
    np.testing.assert_allclose(cv.gradient(positions)[0, 0], [[-0.6, -0.8, 0], [0.6, 0.8, 0]], atol=1e-11)
    np.testing.assert_allclose(cv.of_frames(positions[:, [1, 1, 1, 0]]), [[5], [2]], rtol=1e-12)
    with pytest.raises(CVError, match="no network of aecv"):
        compare_with_torchscript(cv, positions)


def test_bad_modules_of_another_origin_are_refused(tmp_path):
    path = foreign(Distance(), tmp_path / "distance.pt")
    with pytest.raises(CVError, match="pass atom_indices"):
        load_cv(path)
    with pytest.raises(CVError, match="different atom indices"):
        load_cv(path, atom_indices=[1, 1])
    with pytest.raises(CVError, match="failed on positions"):
        load_cv(path, atom_indices=[0, 1, 2])
    with pytest.raises(CVError, match="NaN or infinity"):
        load_cv(foreign(NotFinite(), tmp_path / "nan.pt"), atom_indices=[0, 1])
    with pytest.raises(CVError, match=r"needs to return shape \(1, d\), got \(\)"):
        load_cv(foreign(OneNumber(), tmp_path / "one.pt"), atom_indices=[0, 1])


@pytest.mark.parametrize("name", ["cv.pt", "cv.npz", "cv.json"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_truncated_files_are_refused(fresh, name, keep):
    content = (fresh / name).read_bytes()
    (fresh / name).write_bytes(content[: int(keep * len(content))])
    for place in (fresh / name, fresh):
        with pytest.raises(CVError, match=r"cv\.(pt|npz|json).*needs"):
            load_cv(place)


def test_changed_numbers_are_refused(fresh, encoder):
    with np.load(fresh / "cv.npz") as archive:
        arrays = dict(archive)
    arrays["weights_0"][3, 4] += 1e-9
    np.savez(fresh / "cv.npz", **arrays)
    with pytest.raises(CVError, match=r"'weights_0' is missing or not what it was"):
        load_cv(fresh)


def test_files_of_two_networks_are_refused(fresh, encoder, tmp_path):
    other = Encoder(
        reference=encoder.reference, weights=encoder.weights, biases=(encoder.biases[0], np.ones(2))
    )
    export(other, tmp_path / "other")
    (fresh / "cv.pt").write_bytes((tmp_path / "other" / "cv.pt").read_bytes())
    with pytest.raises(CVError, match=r"another CV than cv\.json"):
        load_cv(fresh)


def test_newer_format_and_foreign_json_are_refused(fresh):
    metadata = json.loads((fresh / "cv.json").read_text())
    (fresh / "cv.json").write_text(json.dumps({**metadata, "format_version": 99}))
    with pytest.raises(CVError, match="format version 99, this aecv reads up to 1"):
        load_cv(fresh)
    (fresh / "cv.json").write_text('{"x": 1}')
    with pytest.raises(CVError, match="needs the description of a CV"):
        load_cv(fresh)
    (fresh / "cv.json").write_text(json.dumps({k: v for k, v in metadata.items() if k != "range"}))
    with pytest.raises(CVError, match="lacks range"):
        load_cv(fresh)


def test_missing_and_unknown_files_are_refused(fresh, tmp_path):
    with pytest.raises(CVError, match="there is none"):
        load_cv(tmp_path / "nowhere.pt")
    with pytest.raises(CVError, match="there is none"):
        load_cv(tmp_path / "empty-folder")
    (tmp_path / "cv.txt").write_text("hello")
    with pytest.raises(CVError, match=r"ends in \.pt, \.json or \.npz"):
        load_cv(tmp_path / "cv.txt")
    (tmp_path / "text.pt").write_text("not a model")
    with pytest.raises(CVError, match="complete TorchScript file"):
        load_cv(tmp_path / "text.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(CVError, match="complete TorchScript file"):
        load_cv(tmp_path / "weights.pt")
    (fresh / "cv.pt").unlink()
    with pytest.raises(CVError, match=r"needs its cv\.pt"):
        compare_with_torchscript(load_cv(fresh), np.zeros((1, 8, 3)))


def test_wrong_positions_say_what_is_needed(folder, positions):
    cv = load_cv(folder)
    with pytest.raises(CVError, match=r"shape \(F >= 1, 8, 3\) in nm, got \(1000, 7, 3\)"):
        cv(positions[:, :7])
    with pytest.raises(CVError, match="NaN or infinite positions"):
        cv(np.full((1, 8, 3), np.nan))


def test_export_checks_its_arguments(encoder, tmp_path):
    arguments = {"system": "ala2", "system_hash": "abc"}
    with pytest.raises(CVError, match="8 different atom indices"):
        export_cv(encoder, tmp_path, atom_indices=[1, 2], cv_range=RANGE, **arguments)
    with pytest.raises(CVError, match="lower < upper"):
        export_cv(encoder, tmp_path, atom_indices=ATOMS, cv_range=[[1, 0], [0, 1]], **arguments)
    assert not list(tmp_path.iterdir())


def test_a_cv_without_alignment_is_the_network_alone(tmp_path):
    """One particle: kernel, plain files and cv.pt agree, and cv.pt holds no superposition."""
    rng = np.random.default_rng(5)
    sizes = [3, 20, 20, 1]
    encoder = Encoder(
        reference=NO_REFERENCE,
        weights=tuple(rng.standard_normal((o, i)) for i, o in pairwise(sizes)),
        biases=tuple(rng.standard_normal(o) for o in sizes[1:]),
    )
    export_cv(encoder, tmp_path, atom_indices=[0], cv_range=[[-1, 1]], system="toy", system_hash="abc")
    frames = rng.standard_normal((300, 1, 3))
    for name in ("cv.pt", "cv.json"):
        cv = load_cv(tmp_path / name)
        assert not cv.map.encoder.is_aligned
        np.testing.assert_allclose(cv(frames), encode(encoder, frames), rtol=0, atol=1e-14)
        assert compare_with_torchscript(cv, frames) < 1e-12
    assert json.loads((tmp_path / "cv.json").read_text())["align"] is False
    module = torch.jit.load(tmp_path / "cv.pt")
    assert "eigh" not in module.code
    shifted = module(torch.tensor(frames) + 1.0) - module(torch.tensor(frames))
    assert shifted.abs().max() > 0.1  # a superposed CV would not see the move
