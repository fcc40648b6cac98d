"""CVs that were not learned: observables against autograd, functions, and the checks that refuse bad ones."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aecv.ground.errors import CVError
from aecv.models.cvs.biasing import behaviour, with_range
from aecv.models.cvs.cv import CV, compare_with_torchscript
from aecv.models.cvs.cv_files import load_cv, write_cv
from aecv.models.cvs.observable_cv import observable_cv
from aecv.models.cvs.verification import compare_with_differences, difference_tolerance
from aecv.molecules.observables.observable_set import ObservableSet

OBSERVABLES = ObservableSet(
    kinds={"phi": "dihedral", "bend": "angle", "end": "distance", "height": "coordinate"},
    indices={
        "phi": np.array([9, 4, 2, 7]),
        "bend": np.array([4, 2, 11]),
        "end": np.array([9, 11]),
        "height": np.array([7]),
    },
    axes={"height": 2},
)
FRAMES = np.random.default_rng(0).normal(size=(40, 12, 3))


def radius(x: torch.Tensor) -> torch.Tensor:
    """Distance of the first atom from the others' centre."""
    return torch.linalg.vector_norm(x[:, 0] - x[:, 1:].mean(dim=1), dim=-1)


def turn_and_height(x: torch.Tensor) -> torch.Tensor:
    """An angle in the plane, which jumps by 2 pi, and a height."""
    return torch.stack([torch.atan2(x[:, 0, 1], x[:, 0, 0]), x[:, 1, 2]], dim=1)


def half_forgotten(x: torch.Tensor) -> torch.Tensor:
    """Values that depend on both atoms, a gradient that knows of one."""
    return torch.linalg.vector_norm(x[:, 0] - x[:, 1].detach(), dim=-1)


def test_observables_become_a_cv_of_their_own_atoms() -> None:
    cv = observable_cv(OBSERVABLES, ("end", "phi"), ranges={"end": (0.2, 3.0)})
    assert cv.atom_indices.tolist() == [2, 4, 7, 9, 11]
    assert cv.periodic == (False, True)
    np.testing.assert_allclose(cv.cv_range, [[0.2, 3.0], [-np.pi, np.pi]])
    np.testing.assert_allclose(cv.periods, [0.0, 2 * np.pi])
    values = OBSERVABLES.compute(FRAMES)
    np.testing.assert_allclose(
        cv.of_frames(FRAMES), np.stack([values["end"], values["phi"]], axis=1), atol=1e-14
    )


def test_the_compiled_observables_agree_with_autograd() -> None:
    """Other formulas in torch, gradients by autograd: rounding is all that differs."""
    for names in (("phi", "bend", "end"), ("height",)):
        cv = observable_cv(OBSERVABLES, names)
        assert compare_with_torchscript(cv, FRAMES[:, cv.atom_indices]) < 1e-11


def test_values_on_both_sides_of_the_seam_count_as_equal() -> None:
    """A flat dihedral is +pi by one formula and -pi by another."""
    cv = observable_cv(OBSERVABLES, ("phi",))
    flat = np.zeros((1, 4, 3))
    for atom, position in zip((9, 4, 2, 7), ([1, 1, 0], [0, 1, 0], [0, 0, 0], [-1, -1e-17, 0]), strict=True):
        flat[0, cv.atom_indices.tolist().index(atom)] = position
    assert abs(cv(flat)[0, 0]) == pytest.approx(np.pi)
    assert compare_with_torchscript(cv, flat) < 1e-11


def test_bad_observables_are_refused() -> None:
    with pytest.raises(CVError, match="'fi' is none of the observables phi, bend"):
        observable_cv(OBSERVABLES, ("fi",))
    with pytest.raises(CVError, match="1 to 3 different observables"):
        observable_cv(OBSERVABLES, ("phi", "phi"))
    with pytest.raises(CVError, match="'phi' is a dihedral"):
        observable_cv(OBSERVABLES, ("phi",), ranges={"phi": (0.0, 1.0)})
    with pytest.raises(CVError, match="component 1 needs a range lower < upper"):
        observable_cv(OBSERVABLES, ("end",), ranges={"end": (1.0, 0.5)})


def test_a_function_is_a_cv_with_its_gradient() -> None:
    cv = CV.from_function(radius, [3, 5, 8])
    frames = FRAMES[:, [3, 5, 8]]
    apart = frames[:, 0] - frames[:, 1:].mean(axis=1)
    distance = np.linalg.norm(apart, axis=1)
    np.testing.assert_allclose(cv(frames)[:, 0], distance, rtol=1e-13)
    unit = apart / distance[:, None]
    np.testing.assert_allclose(
        cv.gradient(frames)[:, 0], np.stack([unit, -unit / 2, -unit / 2], axis=1), atol=1e-12
    )
    assert not cv.is_compiled
    assert cv.source == "radius"
    assert np.isnan(cv.cv_range).all()


def test_gradients_of_functions_are_held_against_differences() -> None:
    frames = FRAMES[:, :2]
    # h^2 f'''/6 and eps/h at h = 1e-6 are below 1e-8
    for cv in (
        CV.from_function(
            turn_and_height, [0, 1], cv_range=[[-np.pi, np.pi], [-3, 3]], periodic=(True, False)
        ),
        CV.from_function(radius, [0, 1]),
    ):
        assert compare_with_differences(cv, frames) < 1e-6 < difference_tolerance(cv)
    assert compare_with_differences(CV.from_function(half_forgotten, [0, 1]), frames) > 0.1


def test_a_seam_in_the_way_of_the_differences_does_no_harm() -> None:
    cv = CV.from_function(
        turn_and_height, [0, 1], cv_range=[[-np.pi, np.pi], [-3, 3]], periodic=(True, False)
    )
    beside = FRAMES[:, :2].copy()
    beside[:, 0] = [-1.0, 0.0, 0.5]  # at pi: a step to either side jumps by 2 pi
    assert compare_with_differences(cv, beside) < 1e-6


def test_single_precision_gets_the_room_it_needs() -> None:
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))
    cv = CV.from_function(network, [0, 1], name="network")
    assert compare_with_differences(cv, FRAMES[:, :2]) < difference_tolerance(cv) == 3e-2


def test_bad_functions_are_refused() -> None:
    with pytest.raises(CVError, match="the function failed on positions"):
        CV.from_function(lambda x: x[:, 7].sum(dim=1), [0, 1])
    with pytest.raises(CVError, match="another value when there are others beside it"):
        CV.from_function(lambda x: x[:, 0] - x[:, 0].mean(dim=0), [0, 1])
    with pytest.raises(CVError, match=r"needs to return shape \(3, d\)"):
        CV.from_function(lambda x: x.sum(), [0, 1])
    with pytest.raises(CVError, match="failed on positions"):  # no gradient at all
        CV.from_function(lambda x: x.detach()[:, 0], [0, 1])
    with pytest.raises(CVError, match="different atom indices"):
        CV.from_function(radius, [1, 1])
    with pytest.raises(CVError, match=r"one period, got nan and nan"):
        CV.from_function(radius, [0, 1], periodic=(True,))
    with pytest.raises(CVError, match="for each of its 1 components, got 2 and 1"):
        CV.from_function(radius, [0, 1], cv_range=[[0, 1], [0, 1]])


def test_a_missing_range_is_that_of_the_frames() -> None:
    cv = observable_cv(OBSERVABLES, ("phi", "end"))
    frames = np.repeat(FRAMES, 5, axis=0)[:, cv.atom_indices]
    found = with_range(cv, frames, margin=0.1)
    np.testing.assert_allclose(found.cv_range[0], [-np.pi, np.pi])
    end = cv(frames)[:, 1]
    low, high = np.quantile(end, [5e-4, 1 - 5e-4])
    np.testing.assert_allclose(found.cv_range[1], [low - 0.1 * (high - low), high + 0.1 * (high - low)])
    with pytest.raises(CVError, match="component 2 needs a range; 0 frames"):
        with_range(cv, frames[:0], margin=0.1)


def test_fingerprints_tell_cvs_apart_and_last() -> None:
    first = observable_cv(OBSERVABLES, ("phi", "end"), ranges={"end": (0.2, 3.0)})
    again = observable_cv(OBSERVABLES, ("phi", "end"), ranges={"end": (0.2, 3.0)})
    others = [
        observable_cv(OBSERVABLES, ("end", "phi"), ranges={"end": (0.2, 3.0)}),
        observable_cv(OBSERVABLES, ("phi", "end"), ranges={"end": (0.2, 3.1)}),
        CV.from_function(radius, [0, 1]),
        CV.from_function(radius, [0, 1], name="another"),
        CV.from_function(radius, [0, 2]),
    ]
    assert first.fingerprint == again.fingerprint
    assert len({cv.fingerprint for cv in (first, *others)}) == 6


def test_internal_coordinates_are_written_and_read(tmp_path: Path) -> None:
    names, ranges = ("phi", "bend", "end"), {"bend": (0.1, 3.0), "end": (0.2, 3.0)}
    for chosen in (names, ("height",)):
        cv = observable_cv(OBSERVABLES, chosen, ranges=ranges if chosen is names else {"height": (-3.0, 3.0)})
        folder, frames = tmp_path / chosen[0], FRAMES[:, cv.atom_indices]
        assert write_cv(cv, folder, system="box", system_hash="abc") == ("cv.pt", "cv.json")
        module = torch.jit.load(str(folder / "cv.pt"))
        np.testing.assert_allclose(module(torch.from_numpy(frames)).numpy(), cv(frames), atol=1e-12)
        assert module(torch.from_numpy(frames).float()).dtype == torch.float32
        for place in (folder, folder / "cv.pt", folder / "cv.json"):
            again = load_cv(place)
            assert again.fingerprint == cv.fingerprint
            assert again.is_compiled
            assert (again.system, again.system_hash) == ("box", "abc")
            assert compare_with_torchscript(again, frames) < 1e-11
    with pytest.raises(CVError, match=r"the range needs \(1, 2\) numbers"):
        write_cv(observable_cv(OBSERVABLES, ("end",)), tmp_path, system="box", system_hash="abc")


def test_damaged_descriptions_of_internal_coordinates_are_refused(tmp_path: Path) -> None:
    cv = observable_cv(OBSERVABLES, ("phi",))
    write_cv(cv, tmp_path, system="box", system_hash="abc")
    written = json.loads((tmp_path / "cv.json").read_text())
    for change, message in (
        (
            {"components": [{"kind": "dihedral", "axis": None}]},
            "the description: lacks 'components.0.atoms'; export the CV again",
        ),
        ({"range": [[-1.0, 1.0]]}, r"periodic and needs to be a dihedral with a range of 2 pi, got a dih"),
        (
            {"components": [written["components"][0] | {"atoms": [1, 0, 2, 3]}]},
            "holds another CV than cv.json",
        ),
        ({"periodic": []}, "a range and a periodic flag per component"),
        ({"components": [written["components"][0] | {"atoms": [0, 1, 2, 9]}]}, "atom"),
    ):
        (tmp_path / "cv.json").write_text(json.dumps(written | change))
        with pytest.raises(CVError, match=message):
            load_cv(tmp_path)
    del written["components"]
    (tmp_path / "cv.json").write_text(json.dumps(written))
    with pytest.raises(CVError, match="the description lacks components"):
        load_cv(tmp_path)


def test_what_cannot_be_written_is_not(tmp_path: Path) -> None:
    """A function; of a TorchScript file of another program there is a copy."""
    function = CV.from_function(radius, [0, 1], cv_range=[[0.1, 1.0]])
    assert write_cv(function, tmp_path, system="box", system_hash="abc") == ()
    assert list(tmp_path.iterdir()) == []
    theirs = tmp_path / "theirs.pt"
    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 1))), theirs)
    (tmp_path / "copy").mkdir()
    foreign = load_cv(theirs, atom_indices=[0, 1])
    assert write_cv(foreign, tmp_path / "copy", system="box", system_hash="abc") == ("cv.pt",)
    assert (tmp_path / "copy" / "cv.pt").read_bytes() == theirs.read_bytes()


def test_functions_are_told_apart_by_what_they_do() -> None:
    """Another formula for the same is the same; a change of 1e-8 of the values, or of a gradient, is not."""
    frames = FRAMES[:, :2]

    def found(function: Callable[[torch.Tensor], torch.Tensor]) -> str:
        return behaviour(CV.from_function(function, [0, 1], name="f"), frames)

    distance = found(lambda x: torch.linalg.vector_norm(x[:, 0] - x[:, 1], dim=-1))
    assert found(lambda x: (x[:, 0] - x[:, 1]).square().sum(dim=-1).sqrt()) == distance
    assert found(lambda x: torch.linalg.vector_norm(x[:, 0] - x[:, 1], dim=-1) * (1 + 1e-8)) != distance
    assert found(half_forgotten) != distance


def test_cvs_that_were_not_learned_travel_to_other_processes() -> None:
    for cv in (observable_cv(OBSERVABLES, ("phi",)), CV.from_function(radius, [0, 1, 2, 3])):
        cv.module  # noqa: B018  made before, and left behind
        frames = FRAMES[:, : cv.n_atoms]
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(cv))(frames), cv(frames))
    assert replace(cv, cv_range=np.array([[0.0, 1.0]])).periodic == (False,)


def test_an_rmsd_is_no_cv() -> None:
    observables = ObservableSet(kinds={"far": "rmsd"}, indices={"far": np.arange(3)})
    with pytest.raises(CVError, match=r"'far' is an rmsd, .* cannot be biased along; take dihedrals"):
        observable_cv(observables, ("far",))
