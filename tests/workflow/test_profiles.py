"""Free energies of a finished run: the run's own numbers, along whatever is asked."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aecv.commands.screens import free_energy_text
from aecv.ground.errors import AecvError, SettingsError, StoreError
from aecv.ground.files import read_json, write_json
from aecv.models.cvs.cv_files import load_cv
from aecv.results.formats.fes import read_fes
from aecv.workflow.profiles import coordinate, free_energy, place_of


def test_an_iterations_profile_is_the_one_that_it_wrote(small_run: Path) -> None:
    folder = small_run / "iteration_02"
    own, record = read_fes(folder / "fes_phi.dat"), read_json(folder / "record.json")
    found = free_energy(small_run, ("phi",), place=2, replicates=100)
    np.testing.assert_allclose(found.axes[0], own.axes[0], atol=1e-8)
    np.testing.assert_allclose(found.profile.estimate, own.values, atol=1e-8)
    assert own.error is not None
    known = np.isfinite(own.error)
    assert known.sum() > 20
    np.testing.assert_allclose(found.profile.standard_error[known], own.error[known], rtol=1e-6)
    assert not np.isfinite(found.profile.standard_error[~known]).any()
    assert found.delta_f is not None
    assert float(found.delta_f.estimate) == pytest.approx(record["delta_f_kj_mol"], abs=1e-9)
    assert float(found.delta_f.lower) == pytest.approx(record["delta_f_interval"][0], abs=1e-9)


def test_the_production_is_the_best_estimate(small_run: Path) -> None:
    folder = small_run / "production_02"
    found = free_energy(small_run, ("phi", "psi"), replicates=40)
    own = read_fes(folder / "fes_phi_psi.dat")
    assert found.place == "production_02"
    np.testing.assert_allclose(found.profile.estimate, own.values, atol=1e-8)
    made = read_json(folder / "production.json")
    assert found.delta_f is not None
    assert float(found.delta_f.estimate) == pytest.approx(made["delta_f_kj_mol"], abs=1e-9)
    alone = free_energy(small_run, ("phi",), alone=True, replicates=40)
    assert alone.delta_f is not None
    assert float(alone.delta_f.estimate) == pytest.approx(made["delta_f_alone_kj_mol"], abs=1e-9)
    assert alone.n_frames < found.n_frames


def test_a_production_that_is_not_finished_is_told_where_it_is_not_used(
    small_run: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(small_run, tmp_path / "run"))
    assert free_energy(copy, ("phi",), replicates=20).missing == ""
    (copy / "production_02" / "analysis.done").unlink()
    found = free_energy(copy, ("phi",), replicates=20)
    assert (found.place, found.missing) == (2, "production_02/analysis.done")
    assert "production_02/analysis.done is not there" in free_energy_text(found)
    assert free_energy(copy, ("phi",), place=2, replicates=20).missing == ""
    (copy / "iteration_02" / "learning.done").rename(copy / "production_02" / "analysis.done")
    found = free_energy(copy, ("phi",), replicates=20)  # a finished production of an iteration that is not
    assert (found.place, found.missing) == (1, "iteration_02/learning.done")


def test_the_biased_cv_by_its_file_and_by_its_components_is_the_same(small_run: Path) -> None:
    """Iteration 2 was biased along the CV of iteration 1."""
    by_name = free_energy(small_run, ("xi_1", "xi_2"), place=2, replicates=20, bins=15)
    by_file = free_energy(small_run, load_cv(small_run / "iteration_01"), place=2, replicates=20, bins=15)
    np.testing.assert_allclose(by_file.profile.estimate, by_name.profile.estimate, atol=1e-6)
    np.testing.assert_allclose(by_file.axes[0], by_name.axes[0], atol=1e-6)


def test_a_region_of_ones_own(small_run: Path) -> None:
    """Delta F of a region and of its complement on the circle are opposite."""
    inside = free_energy(small_run, ("psi",), place=2, replicates=20, region=("psi", -1.5, 0.5))
    rest = ("psi", 0.5, 2 * np.pi - 1.5)
    outside = free_energy(small_run, ("psi",), place=2, replicates=20, region=rest)
    assert inside.delta_f is not None
    assert outside.delta_f is not None
    assert np.isfinite(inside.delta_f.estimate)
    assert float(inside.delta_f.estimate) == pytest.approx(-float(outside.delta_f.estimate), abs=1e-9)


def test_a_file_holds_what_was_found(small_run: Path, tmp_path: Path) -> None:
    found = free_energy(small_run, ("phi",), place=1, replicates=20, bins=30)
    found.write(tmp_path / "fes.dat")
    read = read_fes(tmp_path / "fes.dat")
    assert read.names == ("phi",)
    assert read.periodic == (True,)
    np.testing.assert_allclose(read.values, found.profile.estimate, atol=1e-8)


def test_words_become_coordinates_and_places(small_run: Path) -> None:
    assert coordinate("phi, psi") == ("phi", "psi")
    assert getattr(coordinate(str(small_run / "iteration_01")), "n_components", 0) == 2
    assert [place_of(text) for text in ("6", "iteration_06", "production_02", "along", None)] == [
        6, 6, "production_02", "along", None,
    ]  # fmt: skip
    with pytest.raises(AecvError, match=r"no/such/cv.pt"):
        coordinate("no/such/cv.pt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"along": ("ph",)}, r"needs a coordinate that the run knows .*'ph'; did you mean 'phi'"),
        ({"along": ("phi", "psi", "xi_1")}, "needs one or two different coordinates"),
        ({"along": ("phi", "phi")}, "needs one or two different coordinates"),
        ({"along": ()}, "needs one or two different coordinates, got none"),
        ({"place": 0}, "iteration 0 has no free energy; those that have: 1, 2"),
        ({"place": 9}, "iteration 9 has no free energy"),
        ({"place": "production_07"}, "needs a finished production"),
        ({"ranges": ((0.0, 1.0),)}, "needs one for each of no coordinate, all are periodic; got 1"),
        ({"along": ("xi_1",), "ranges": ((1.0, 1.0),)}, "needs low below high"),
        (
            {"along": ("xi_1",), "ranges": ((1e2, 2e2),)},
            "--range: needs some .*in 100 to 200; they have xi_1",
        ),
        ({"along": ("xi_1",), "ranges": ((0.0, np.inf),)}, "needs low below high"),
        ({"region": ("phi", 0.0, 126.0)}, "--region: phi is in radians, -pi to pi; .*got 0 to 126"),
        ({"region": ("phi", 0.0, np.inf)}, "--region: needs a lower end below the upper one"),
        ({"region": ("ph", 0.0, 1.0)}, r"--region: needs an observable .*did you mean 'phi'"),
        ({"region": ("phi", 1.0, 0.0)}, "--region: needs a lower end below the upper one"),
    ],
)
def test_what_is_not_there_is_named(small_run: Path, arguments: dict[str, object], message: str) -> None:
    options: dict[str, object] = {"along": ("phi",), "replicates": 20, "place": 1, **arguments}
    with pytest.raises(SettingsError, match=message):
        free_energy(small_run, **options)  # type: ignore[arg-type]


def test_a_folder_without_a_run_and_one_of_another_format(small_run: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"needs the folder of a run, with run.json, there is none"):
        free_energy(tmp_path, ("phi",))
    copy = tmp_path / "copy"
    copy.mkdir()
    manifest = read_json(small_run / "run.json") | {"format": 3}
    del manifest["seal"]  # there was none
    write_json(copy / "run.json", manifest)
    with pytest.raises(StoreError, match=r"needs format 4, got 3; use the aecv that wrote it"):
        free_energy(copy, ("phi",))
    shutil.copy(small_run / "run.json", copy)
    with pytest.raises(StoreError, match="needs a finished biased iteration, there is none"):
        free_energy(copy, ("phi",))
