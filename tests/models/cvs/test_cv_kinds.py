"""The contract over kinds of CV: each can be evaluated, sent, written, read and hashed."""

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aecv.ground.errors import CVError
from aecv.ground.grid import Grid
from aecv.models.cvs.biasing import require_script
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import load_cv, write_cv
from aecv.models.cvs.cv_map import CVMap
from aecv.models.cvs.encoder_map import EncoderMap
from aecv.models.cvs.function_map import FunctionMap
from aecv.models.cvs.internal_map import InternalMap
from aecv.models.cvs.kinds import DESCRIBED
from aecv.models.cvs.learned_map import learned_map
from aecv.models.cvs.script_map import ScriptMap
from aecv.models.cvs.spring import script_springs
from aecv.models.cvs.torchscript import evaluate, evaluate_with_gradient, write_flat_module, write_script
from aecv.models.cvs.verification import compare_with_differences, difference_tolerance
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.kernels.encoder import NO_REFERENCE, Encoder
from aecv.numerics.kernels.internal import InternalCoordinates

N_ATOMS = 4
ATOMS = np.array([3, 1, 8, 5])
REPO = Path(__file__).parents[3]
rng = np.random.default_rng(5)
REFERENCE = rng.normal(size=(N_ATOMS, 3))
REFERENCE -= REFERENCE.mean(axis=0)
WEIGHTS = (rng.normal(size=(5, 12)), rng.normal(size=(2, 5)))
BIASES = (rng.normal(size=5), rng.normal(size=2))
FRAMES = REFERENCE + 0.2 * rng.standard_normal((50, N_ATOMS, 3))


class Branching(nn.Module):
    """An encoder that no chain of layers is: a skip connection, a gate, and other activations than tanh."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.wide, self.gate, self.last = nn.Linear(12, 6), nn.Linear(12, 6), nn.Linear(6, 2)
        self.straight = nn.Sequential(nn.Linear(12, 4), nn.ELU(), nn.Linear(4, 2), nn.Softplus())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.silu(self.wide(x)) * torch.sigmoid(self.gate(x))
        return self.last(hidden) + self.straight(x)


def squares(positions: torch.Tensor) -> torch.Tensor:
    return positions.square().sum(dim=2)[:, :2]


def chain(reference: np.ndarray, folder: Path) -> CVMap:
    own = EncoderMap(encoder=Encoder(reference=reference, weights=WEIGHTS, biases=BIASES))
    path = folder / f"network_{len(reference)}.pt"
    write_script(own.to_script(), path, {})
    return replace(own, path=path)


def internal(_: Path) -> CVMap:
    return InternalMap(
        internal=InternalCoordinates(
            kinds=("distance", "angle"), atoms=((0, 3), (2, 0, 1)), axes=(None, None), n_atoms=N_ATOMS
        )
    )


def script(folder: Path) -> CVMap:
    path = folder / "theirs.pt"
    torch.manual_seed(0)
    torch.jit.save(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(12, 2).double())), str(path))
    return ScriptMap(path=path, sizes=(N_ATOMS, 2))


KINDS: dict[str, Callable[[Path], CVMap]] = {
    "encoder": lambda folder: chain(REFERENCE, folder),
    "encoder of positions as they are": lambda folder: chain(NO_REFERENCE, folder),
    "internal": internal,
    "learned": lambda _: learned_map(Branching(), REFERENCE, n_atoms=N_ATOMS),
    "learned of positions as they are": lambda _: learned_map(Branching(), NO_REFERENCE, n_atoms=N_ATOMS),
    "function": lambda _: FunctionMap(function=squares, name="squares", sizes=(N_ATOMS, 2)),
    "script": script,
}
WRITTEN = [name for name in KINDS if name.split()[0] in ("encoder", "internal", "learned")]
GOLDEN = {
    "encoder": "f82e7ee1ccff31ed",
    "encoder of positions as they are": "5f58ef9be82bca1a",
    "internal": "25568e8eec3c390f",
    "function": "c252f34d2a0e369f",
}


def with_kind(name: str, folder: Path) -> CV:
    return CV(
        source=name, map=KINDS[name](folder), atom_indices=ATOMS, cv_range=np.array([[-1.0, 1.0], [0.0, 2.5]])
    )


@pytest.fixture
def extended() -> ExtendedVariable:
    grid = Grid(lower=(-4.0, -4.0), upper=(4.0, 4.0), n_bins=(20, 20))
    return ExtendedVariable(
        grid=grid, kappa=(30.0, 70.0), mass=(1.0, 2.0), kt=2.5, friction_per_ps=5.0, timestep_ps=0.001,
        full_samples=100,
    )  # fmt: skip


@pytest.fixture(params=list(KINDS))
def cv(request: pytest.FixtureRequest, tmp_path: Path) -> CV:
    return with_kind(request.param, tmp_path)


def test_every_kind_that_aecv_writes_is_in_the_contract(tmp_path: Path) -> None:
    assert {type(KINDS[name](tmp_path)) for name in WRITTEN} == set(DESCRIBED.values())


def test_sizes_and_gradients(cv: CV) -> None:
    assert cv.map.n_atoms == cv.n_atoms == N_ATOMS
    assert cv(FRAMES).shape == (len(FRAMES), cv.n_components) == (len(FRAMES), 2)
    assert compare_with_differences(cv, FRAMES) < difference_tolerance(cv)


def test_values_are_those_of_the_module(cv: CV) -> None:
    """The kernel and torch agree; of the other kinds there is torch alone."""
    module = cv.map.to_script()
    np.testing.assert_allclose(evaluate(module, FRAMES), cv(FRAMES), rtol=0, atol=1e-10)
    values, gradients = cv.with_gradient(FRAMES)
    np.testing.assert_array_equal(values, cv(FRAMES))
    np.testing.assert_allclose(evaluate_with_gradient(module, FRAMES)[1], gradients, rtol=0, atol=1e-9)


def test_a_compiled_step_pulls_as_the_gradient_says(cv: CV, extended: ExtendedVariable) -> None:
    """E = sum kappa/2 (xi - lam)^2 and -dE/dq; None where torch has to be asked."""
    step = cv.map.step(extended)
    assert (step is not None) == cv.is_compiled
    if step is None:
        return
    memory, frame = step.memory, FRAMES[:1]
    memory.positions[...] = frame[0]
    energy = step.kernel(0, memory.floats, memory.table, np.zeros((2, 2)))
    xi, gradient = cv.with_gradient(frame)
    stretch = xi[0] - memory.lam[0]
    kappa = np.array(extended.kappa)
    assert energy == pytest.approx(0.5 * np.sum(kappa * stretch**2), rel=1e-10)
    np.testing.assert_allclose(
        memory.forces, -np.einsum("c,cia->ia", kappa * stretch, gradient[0]), rtol=1e-8
    )


def test_it_travels_to_other_processes(cv: CV) -> None:
    cv.module  # noqa: B018  made before, and left behind
    there = pickle.loads(pickle.dumps(cv))
    np.testing.assert_array_equal(there(FRAMES), cv(FRAMES))
    assert there.fingerprint == cv.fingerprint


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    """The same CV from every file; written again the same bytes, so that a hash is one of what it is."""
    cv = with_kind(name, tmp_path)
    names = write_cv(cv, tmp_path / "one", system="box", system_hash="abc")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(names)
    for name_of_file in names:
        again = load_cv(tmp_path / "one" / name_of_file)
        np.testing.assert_allclose(again(FRAMES), cv(FRAMES), rtol=0, atol=1e-14)
        assert type(again.map) is type(cv.map)
        assert (again.system, again.system_hash, again.periodic) == ("box", "abc", (False, False))
        assert (again.map.reference is None) == (cv.map.reference is None)
        assert again.fingerprint == cv.fingerprint
        np.testing.assert_allclose(evaluate(again.module, FRAMES), cv(FRAMES), rtol=0, atol=1e-10)
        write_cv(replace(again, source=cv.source), tmp_path / "two", system="box", system_hash="abc")
        for plain in set(names) - {"cv.pt"}:
            assert (tmp_path / "two" / plain).read_bytes() == (tmp_path / "one" / plain).read_bytes()


@pytest.mark.parametrize("name", WRITTEN)
def test_where_a_cv_lies_is_not_written_into_it(name: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        own = replace(with_kind(name, tmp_path), source=tmp_path / folder)
        write_cv(own, tmp_path / folder, system="box", system_hash="abc")
    assert (tmp_path / "one" / "cv.json").read_bytes() == (tmp_path / "two" / "cv.json").read_bytes()


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_damaged_or_mixed_up_is_refused(name: str, tmp_path: Path) -> None:
    cv = with_kind(name, tmp_path)
    write_cv(cv, tmp_path, system="box", system_hash="abc")
    said = json.loads((tmp_path / "cv.json").read_text())
    for change, message in (
        ({"kind": "dream"}, "kind 'dream', this aecv does not know it"),
        ({"kind": ["dream"]}, "this aecv does not know it"),
        ({"range": said["range"][:1]}, "range"),
        ({"atom_indices": said["atom_indices"][:3]}, "atom"),
    ):
        (tmp_path / "cv.json").write_text(json.dumps(said | change))
        with pytest.raises(CVError, match=message):
            load_cv(tmp_path)
    (tmp_path / "cv.json").write_text(json.dumps(said))
    other = "learned" if name != "learned" else "learned of positions as they are"
    write_cv(with_kind(other, tmp_path), tmp_path / "other", system="box", system_hash="abc")
    (tmp_path / "cv.pt").write_bytes((tmp_path / "other" / "cv.pt").read_bytes())
    with pytest.raises(CVError, match=r"holds another CV|SHA-256 differs"):
        load_cv(tmp_path / "cv.json")


def test_other_programs_get_what_torchscript_holds(cv: CV, tmp_path: Path) -> None:
    """PLUMED's row of numbers and the springs of openmm-torch; what runs in Python is refused."""
    if cv.map.in_python:
        with pytest.raises(CVError, match="runs in Python"):
            require_script(cv, engine="plumed")
        return
    write_flat_module(cv.map.to_script(), N_ATOMS, tmp_path / "flat.pt")
    flat = torch.jit.load(str(tmp_path / "flat.pt"))
    row = torch.tensor(FRAMES[:1].reshape(1, -1), dtype=torch.float32)
    np.testing.assert_allclose(flat(row).detach().numpy(), cv(FRAMES[:1]), atol=1e-5)
    springs = script_springs(cv, [2.0, 3.0], n_atoms=9)
    positions = torch.zeros((9, 3), dtype=torch.float64)
    positions[ATOMS] = torch.tensor(FRAMES[0])
    energy = springs(positions, torch.tensor(0.5), torch.tensor(-0.5))
    expected = 0.5 * np.sum([2.0, 3.0] * (cv(FRAMES[:1])[0] - [0.5, -0.5]) ** 2)
    assert float(energy) == pytest.approx(expected, rel=1e-6)


def test_fingerprints_tell_kinds_apart(tmp_path: Path) -> None:
    found = {name: with_kind(name, tmp_path).fingerprint for name in KINDS}
    assert len(set(found.values())) == len(KINDS)


def test_the_hash_of_a_network_is_that_of_what_it_computes() -> None:
    """Whatever a process compiled before, by which torch numbers classes; not of other numbers or code."""
    first = learned_map(Branching(), REFERENCE, n_atoms=N_ATOMS)
    code = """if True:
        import sys
        sys.path.insert(0, "tests/models/cvs")
        from test_cv_kinds import *
        for k in range(int(sys.argv[1])):
            torch.jit.script(nn.Sequential(nn.Linear(3 + k, 2), nn.Tanh(), nn.Linear(2, 1)))
        print(learned_map(Branching(), REFERENCE, n_atoms=N_ATOMS).identity_text)
    """
    others = [
        subprocess.run([sys.executable, "-c", code, n], capture_output=True, text=True, timeout=120, cwd=REPO)
        for n in ("0", "30")
    ]
    assert others[0].stdout.split()[-1] == others[1].stdout.split()[-1]
    other = Branching()
    with torch.no_grad():
        other.last.bias[0] += 1e-6
    assert learned_map(other, REFERENCE, n_atoms=N_ATOMS).identity_text != first.identity_text
    other = Branching()
    other.straight[1] = nn.SELU()
    assert learned_map(other, REFERENCE, n_atoms=N_ATOMS).identity_text != first.identity_text


def test_a_network_that_aecv_cannot_keep_is_refused_in_words() -> None:
    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([sum(row * k for k in {1, 2}) for row in x])

    class Mixing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - x.mean(dim=0))[:, :2]

    with pytest.raises(CVError, match=r"needs an encoder that torch\.jit\.script compiles, got Unknown"):
        learned_map(Unknown(), REFERENCE, n_atoms=N_ATOMS)
    with pytest.raises(CVError, match="another value when there are others beside it"):
        learned_map(Mixing(), REFERENCE, n_atoms=N_ATOMS)
    with pytest.raises(CVError, match="needs 1 to 3 components, got 12"):
        learned_map(nn.Linear(12, 12), REFERENCE, n_atoms=N_ATOMS)


@pytest.mark.parametrize("name", list(GOLDEN))
def test_fingerprints_last(name: str, tmp_path: Path) -> None:
    """Of the kinds that runs of earlier versions hold, as those wrote them: `--resume` compares them."""
    assert with_kind(name, tmp_path).fingerprint.startswith(GOLDEN[name])


def test_files_of_an_encoder_last(tmp_path: Path) -> None:
    write_cv(with_kind("encoder", tmp_path), tmp_path, system="ala2", system_hash="abc")
    found = [
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()[:16] for name in ("cv.json", "cv.npz")
    ]
    assert found == ["a19c0957a31a0e0f", "5f8ca1664118e4be"]
