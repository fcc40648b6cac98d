"""CVs of other programs: the rule for their input, what is refused, and features against mdtraj."""

import itertools
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch
from torch import Tensor

import aecv.models.cvs.foreign_cv
from aecv.ground.errors import CVError, MolecularSystemError
from aecv.models.cvs.apart import TRUST
from aecv.models.cvs.cv import CV
from aecv.models.cvs.foreign_cv import Foreign, foreign_cv
from aecv.models.cvs.probing import find_form
from aecv.models.cvs.verification import compare_with_differences
from aecv.models.inputs.features import FeatureModule, read_features
from aecv.molecules.spec import load_system

ALA2 = mdtraj.load(load_system("ala2").structure_path)
STRUCTURE = ALA2.xyz[0].astype(float)
ATOMS = (4, 6, 8, 14, 16)
FRAMES = STRUCTURE + np.random.default_rng(1).normal(scale=0.02, size=(30, *STRUCTURE.shape))


class Pair(torch.nn.Module):
    """Two distances of positions (F, n, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        first = (x[:, 0] - x[:, 3]).square().sum(dim=-1).sqrt()
        second = (x[:, 1] - x[:, 4]).square().sum(dim=-1).sqrt()
        return torch.stack([first, second], dim=1)


class Network(torch.nn.Module):
    """A float32 network of flat positions or features; not invariant when they are positions."""

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n_inputs, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class OneFrame(torch.nn.Module):
    """A distance of the positions (n, 3) of a single frame, as a number without a shape."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[0] - x[4]).square().sum().sqrt()


class OneFlatFrame(torch.nn.Module):
    """A distance of flat positions (3n,)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[0:3] - x[12:15]).square().sum().sqrt().reshape(1)


class Single(torch.nn.Module):
    """Casts on its way."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] - x[:, 4]).float().square().sum(dim=-1).sqrt()


class Ambiguous(torch.nn.Module):
    """Columns 0 and 4 of (F, 3n), or the difference of two atoms in (F, n, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0] - x[:, 4]


class Detached(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] - x[:, 3]).detach().square().sum(dim=-1)


class HalfDetached(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] - x[:, 3].detach() - x[:, 1].detach()).square().sum(dim=-1)


class SecondConstant(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first = (x[:, 0] - x[:, 3]).square().sum(dim=-1)
        return torch.stack([first, 0.0 * first + 2.0], dim=1)


class Many(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, 15)[:, :4]


class Nothing(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(-(x[:, 0] - x[:, 3]).square().sum(dim=-1))


class Mixing(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        d = (x[:, 0] - x[:, 3]).square().sum(dim=-1)
        return d - d.mean()


class MixingNetwork(Network):
    """With weights in float32; a single frame has a value."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x.reshape(-1, 15))
        return y - 0.5 * y.mean(dim=0)


class Two(torch.nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[torch.nn.Module], Path]:
    def export(module: torch.nn.Module) -> Path:
        path = tmp_path / f"{type(module).__name__}.pt"
        torch.jit.save(torch.jit.script(module.eval()), str(path))
        return path

    return export


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """These models are tried in this process, which is quicker; `test_apart.py` has the other one."""
    monkeypatch.setattr(aecv.models.cvs.foreign_cv, "find_form_apart", find_form)


Export = Callable[[torch.nn.Module], Path]


def told(caplog: pytest.LogCaptureFixture, path: Path, **said: object) -> tuple[CV, str]:
    with caplog.at_level(logging.INFO, logger="aecv"):
        cv = foreign_cv(Foreign(path=path, atom_indices=ATOMS, **said), STRUCTURE)  # type: ignore[arg-type]
    return cv, caplog.text


def between(first: int, second: int) -> np.ndarray:
    return np.linalg.norm(FRAMES[:, ATOMS[first]] - FRAMES[:, ATOMS[second]], axis=1)


@pytest.mark.parametrize(
    ("module", "layout"),
    [(OneFrame(), "(n, 3)"), (OneFlatFrame(), "(3n,)"), (Single(), None)],
)
def test_the_layout_follows_a_rule_or_is_said_and_is_told(
    exported: Export, caplog: pytest.LogCaptureFixture, module: torch.nn.Module, layout: str | None
) -> None:
    cv, text = told(caplog, exported(module), layout=layout)
    layout = layout or "(F, n, 3)"
    assert f"takes positions of shape {layout} in" in text
    # float32 on the way of one of them
    np.testing.assert_allclose(cv.of_frames(FRAMES)[:, 0], between(0, 4), rtol=1e-6)
    assert compare_with_differences(cv, FRAMES[:, ATOMS]) < 1e-2
    assert "not invariant" not in text


def test_several_components_and_their_gradient(exported: Export, caplog: pytest.LogCaptureFixture) -> None:
    cv, text = told(caplog, exported(Pair()))
    assert "shape (F, n, 3) in float64" in text
    np.testing.assert_allclose(cv.of_frames(FRAMES), np.stack([between(0, 3), between(1, 4)], 1), rtol=1e-13)
    # eps/h and h^2 f'''/6 at h = 1e-6
    assert compare_with_differences(cv, FRAMES[:, ATOMS]) < 1e-6
    assert np.isnan(cv.cv_range).all()


def test_angstrom_is_ten_times_nm(exported: Export, caplog: pytest.LogCaptureFixture) -> None:
    cv, _ = told(caplog, exported(Pair()), length_unit="angstrom")
    np.testing.assert_allclose(cv.of_frames(FRAMES)[:, 0], 10.0 * between(0, 3), rtol=1e-13)
    # still per nm: a distance in angstrom changes by 10 per nm along its axis
    assert np.linalg.norm(cv.gradient(FRAMES[:, ATOMS])[0, 0, 0]) == pytest.approx(10.0)
    with pytest.raises(CVError, match="needs nm or angstrom, got 'bohr'"):
        told(caplog, exported(Pair()), length_unit="bohr")


def test_float32_weights_serve_float64(exported: Export, caplog: pytest.LogCaptureFixture) -> None:
    network = Network(15)
    path = exported(network)
    cv, text = told(caplog, path)
    assert "shape (F, 3n) in float64; its float32 numbers are taken to float64, which changes" in text
    with torch.no_grad():
        theirs = network(torch.tensor(FRAMES[:, ATOMS].reshape(30, 15), dtype=torch.float32)).numpy()
    np.testing.assert_allclose(cv.of_frames(FRAMES), theirs, atol=3e-6)  # rounding of float32
    assert compare_with_differences(cv, FRAMES[:, ATOMS]) < 1e-6


def test_a_cast_inside_is_met_with_its_own_precision(
    exported: Export, caplog: pytest.LogCaptureFixture
) -> None:
    _, text = told(caplog, exported(Single()))
    assert "in float32; positions and forces are cast" in text


def test_a_frozen_float32_trace_of_one_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Constants in place of weights cannot be taken to float64, and a trace may know one batch alone."""
    network = Network(15).eval().requires_grad_(False)

    class Fixed(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return network(x.reshape(1, 15))

    path = tmp_path / "frozen.pt"
    traced = torch.jit.trace(Fixed(), torch.zeros(1, 5, 3), check_trace=False)
    torch.jit.save(torch.jit.freeze(traced.eval()), str(path))
    cv, text = told(caplog, path, layout="(1, n, 3)")
    assert "shape (1, n, 3) in float32" in text
    with torch.no_grad():
        theirs = network(torch.tensor(FRAMES[:, ATOMS].reshape(30, 15), dtype=torch.float32)).numpy()
    np.testing.assert_allclose(cv.of_frames(FRAMES), theirs, atol=3e-6)


def test_a_model_that_takes_two_shapes_asks_which(exported: Export, caplog: pytest.LogCaptureFixture) -> None:
    path = exported(Ambiguous())
    with pytest.raises(CVError, match=r"shape \(F, n, 3\) and of shape \(F, 3n\) and gives different values"):
        told(caplog, path)
    cv, _ = told(caplog, path, layout="(F, 3n)")
    np.testing.assert_allclose(
        cv.of_frames(FRAMES)[:, 0], FRAMES[:, ATOMS[0], 0] - FRAMES[:, ATOMS[1], 1], atol=1e-14
    )
    with pytest.raises(CVError, match=r"needs one of the shapes \(F, n, 3\), .* got 'flat'"):
        told(caplog, path, layout="flat")


def test_a_cv_that_knows_place_or_orientation_is_told_with_numbers(
    exported: Export, caplog: pytest.LogCaptureFixture
) -> None:
    """x_0 - x_4 of (F, 3n) changes by the difference of the shifts; a pair's distance by nothing."""
    foreign = Foreign(path=exported(Ambiguous()), atom_indices=ATOMS, layout="(F, 3n)")
    with caplog.at_level(logging.WARNING, logger="aecv"):
        foreign_cv(foreign, STRUCTURE)
        assert (
            "not invariant: moving the molecule by 0.1 nm changes it by up to 0.1, turning it" in caplog.text
        )
        caplog.clear()
        foreign_cv(foreign, STRUCTURE, is_free=False)
        foreign_cv(Foreign(path=exported(Pair()), atom_indices=ATOMS), STRUCTURE)
        # nothing but that each is a program
        assert [record.msg for record in caplog.records] == [TRUST, TRUST]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Network(45), r"wants 45 numbers per frame \(its first layer\), got 15 coordinates of 5 atoms"),
        (Detached(), "component 1 changes by .* but torch sees no gradient"),
        (HalfDetached(), "differs from finite differences .* detached from the positions"),
        (SecondConstant(), "it is constant: component 2 is the same in 7 frames"),
        (Many(), r"1 to 3 finite numbers per frame.* it returns shape \(7, 4\) for 7 frames"),
        (Nothing(), "it returns NaN or infinity"),
        (Mixing(), r"another value when there are others beside it; .* --input-shape '\(1, n, 3\)'"),
        (MixingNetwork(15), r"another value when there are others beside it; .* '\(1, n, 3\)'"),
        (Two(), "it returns a tuple, no tensor"),
        (
            OneFrame(),
            r"it returns shape \(\) for 7 frames; .*.* --input-shape \(\(1, n, 3\), \.\.\.\)",
        ),
    ],
)
def test_what_cannot_be_biased_is_refused(
    exported: Export, caplog: pytest.LogCaptureFixture, module: torch.nn.Module, message: str
) -> None:
    with pytest.raises(CVError, match=message):
        told(caplog, exported(module))


def test_files_that_are_no_model_and_atoms_that_are_not_there(
    exported: Export, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CVError, match="there is none; check the path"):
        told(caplog, tmp_path / "no.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "state.pt")
    with pytest.raises(CVError, match="needs a complete TorchScript file"):
        told(caplog, tmp_path / "state.pt")
    path = exported(Pair())
    with pytest.raises(CVError, match=r"give either its atoms \(--atoms\)"):
        foreign_cv(Foreign(path=path), STRUCTURE)
    with pytest.raises(
        CVError, match=r"needs atoms 0 .. 21 \(0-based\) of the system, got \[0, 1, 2, 3, 22\]"
    ):
        foreign_cv(Foreign(path=path, atom_indices=(0, 1, 2, 3, 22)), STRUCTURE)
    with pytest.raises(CVError, match="different"):
        foreign_cv(Foreign(path=path, atom_indices=(1, 1, 2, 3, 4)), STRUCTURE)


def test_it_travels_and_its_fingerprint_is_the_files(
    exported: Export, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    cv, _ = told(caplog, exported(Pair()))
    cv.module  # noqa: B018  loaded before, and left behind
    again = pickle.loads(pickle.dumps(cv))
    np.testing.assert_array_equal(again.of_frames(FRAMES), cv.of_frames(FRAMES))
    moved = Path((tmp_path / "moved.pt").write_bytes(Path(cv.source).read_bytes()) and tmp_path / "moved.pt")
    assert told(caplog, moved)[0].fingerprint == cv.fingerprint == again.fingerprint
    assert told(caplog, moved, length_unit="angstrom")[0].fingerprint != cv.fingerprint


FEATURES = """
[[features]]
kind = "sin_dihedral"
atoms = [4, 6, 8, 14]
[[features]]
kind = "distances"
atoms = ["name CA or name CB", 16]
[[features]]
kind = "angle"
atoms = [4, "name CA", 14]
[[features]]
kind = "cos_dihedral"
atoms = [4, 6, 8, 14]
[[features]]
kind = "positions"
atoms = [18]
[[features]]
kind = "dihedral"
atoms = [6, 8, 14, 16]
[[features]]
kind = "distance"
atoms = [18, 1]
"""


def test_features_are_mdtrajs(tmp_path: Path) -> None:
    (tmp_path / "features.toml").write_text(FEATURES)
    features = read_features(tmp_path / "features.toml", ALA2.topology)
    t = mdtraj.Trajectory(FRAMES, ALA2.topology)
    phi, psi = (mdtraj.compute_dihedrals(t, [atoms])[:, 0] for atoms in ([4, 6, 8, 14], [6, 8, 14, 16]))
    pairs = list(itertools.combinations((8, 10, 16), 2))
    expected = np.column_stack([
        np.sin(phi), mdtraj.compute_distances(t, pairs), mdtraj.compute_angles(t, [[4, 8, 14]]), np.cos(phi),
        t.xyz[:, 18], psi, mdtraj.compute_distances(t, [[18, 1]]),
    ])  # fmt: skip
    own = torch.tensor(FRAMES[:, features.atom_indices])
    np.testing.assert_allclose(FeatureModule(features)(own), expected, atol=2e-6)  # mdtraj has float32
    scaled = FeatureModule(features, length_scale=10.0)(own).numpy()
    lengths = [False, True, True, True, False, False, True, True, True, False, True]
    np.testing.assert_allclose(scaled, expected * np.where(lengths, 10.0, 1.0), atol=2e-5)


def test_a_model_of_features_is_a_cv(
    exported: Export, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "features.json").write_text(
        json.dumps({"features": [{"kind": "distances", "atoms": ["mass > 2 and not name O"]}]})
    )
    features = read_features(tmp_path / "features.json", ALA2.topology)
    assert len(features) == 28
    path = exported(Network(28))
    with caplog.at_level(logging.INFO, logger="aecv"):
        cv = foreign_cv(Foreign(path=path, features=features), STRUCTURE)
    assert "takes features of shape (F, m) in float64" in caplog.text
    assert "not invariant" not in caplog.text
    assert cv.n_atoms == 8
    assert compare_with_differences(cv, FRAMES[:, cv.atom_indices]) < 1e-6
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cv)).of_frames(FRAMES), cv.of_frames(FRAMES))
    with pytest.raises(CVError, match=r"wants 45 numbers per frame \(its first layer\), got 28 features"):
        foreign_cv(Foreign(path=exported(Network(45)), features=features), STRUCTURE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"kind": "distence", "atoms": [1, 2]}]', "did you mean 'distance'?"),
        ('[{"kind": "distance", "atoms": [1, 2, 3]}]', "needs 2 entries of one atom each, got 1, 1, 1"),
        ('[{"kind": "distance", "atoms": ["name CA or name CB", 3]}]', "one atom each, got 2, 1"),
        ('[{"kind": "distance", "atoms": [1, 22]}]', r"atoms\[1\]: needs a selection or an index 0 .. 21"),
        ('[{"kind": "distance", "atoms": [1, 1]}]', "needs different atoms"),
        ('[{"kind": "distance", "atoms": [1, true]}]', "got True"),
        ('[{"kind": "distance", "atoms": "all"}]', "atoms need to be a list"),
        ('[{"kind": "distance", "atoms": [1, 2], "unit": "nm"}]', "needs a kind and atoms, and nothing else"),
        ('[{"kind": "distances", "atoms": [1]}]', "at least 2 atoms"),
        ('{"feature": []}', "needs a list 'features'"),
        ("[", "needs a readable JSON file"),
    ],
)
def test_bad_lists_of_features_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(CVError, match=message):
        read_features(tmp_path / "f.json", ALA2.topology)


def test_selections_of_features_name_their_place(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('[{"kind": "distance", "atoms": [1, "name ZZ"]}]')
    with pytest.raises(
        MolecularSystemError, match=r"f.json: features\[0\].atoms\[1\]: 'name ZZ' selects none"
    ):
        read_features(tmp_path / "f.json", ALA2.topology)
    with pytest.raises(CVError, match=r"ends in .toml or .json"):
        read_features(tmp_path / "f.txt", ALA2.topology)


@pytest.mark.slow
def test_what_mlcolvar_exports_is_a_cv(tmp_path: Path) -> None:
    """Its own to_torchscript, of an autoencoder on distances and a network on flat positions in angstrom."""
    pytest.importorskip(
        "mlcolvar",
        reason="mlcolvar, whose export this tests, is missing; pip install --no-deps mlcolvar lightning",
    )
    from mlcolvar.cvs import AutoEncoderCV, DeepTDA

    torch.manual_seed(0)
    (tmp_path / "f.toml").write_text(
        '[[features]]\nkind = "distances"\natoms = ["mass > 2 and not name O"]\n'
    )
    features = read_features(tmp_path / "f.toml", ALA2.topology)
    heavy = features.atom_indices
    frames = torch.tensor(FRAMES, dtype=torch.float32)
    pairs = list(itertools.combinations(heavy.tolist(), 2))
    inputs = {
        "distances": torch.stack([(frames[:, i] - frames[:, j]).norm(dim=-1) for i, j in pairs], dim=1),
        "positions": 10.0 * frames[:, heavy].flatten(1),
    }
    models = {
        "distances": AutoEncoderCV([28, 16, 2]).eval(),
        "positions": DeepTDA(
            n_states=2, n_cvs=1, target_centers=[-7, 7], target_sigmas=[0.2, 0.2], layers=[24, 16, 1]
        ).eval(),
    }
    for name, model in models.items():
        model.to_torchscript(str(tmp_path / f"{name}.pt"), method="trace")
    said = {
        "distances": Foreign(path=tmp_path / "distances.pt", features=features),
        "positions": Foreign(
            path=tmp_path / "positions.pt", atom_indices=tuple(heavy.tolist()), length_unit="angstrom"
        ),
    }
    for name, foreign in said.items():
        cv = foreign_cv(foreign, STRUCTURE)
        with torch.no_grad():
            theirs = models[name](inputs[name]).numpy()
        np.testing.assert_allclose(cv.of_frames(FRAMES), theirs, atol=3e-6)  # rounding of their float32
