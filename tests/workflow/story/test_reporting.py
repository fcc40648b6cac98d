"""The report of runs: finished, stopped, damaged, along a given CV, of particles."""

import fcntl
import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from aecv.ground.errors import StoreError
from aecv.ground.files import read_arrays, read_json, write_arrays, write_json
from aecv.ground.observable_kinds import KINDS, Kind
from aecv.ground.sealed import write_sealed
from aecv.ground.settings import Settings
from aecv.ground.units import thermal_energy
from aecv.molecules.spec import load_system
from aecv.results.formats.colvar import read_colvar
from aecv.results.formats.fes import read_fes, write_fes
from aecv.results.story.content import Story
from aecv.workflow.free_energies.production import Production
from aecv.workflow.loop import iterate
from aecv.workflow.run_folder.in_use import is_in_use
from aecv.workflow.run_folder.manifest import read_manifest
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.sample_along import sample_along
from aecv.workflow.story import report
from aecv.workflow.story.described import repeating, setting_groups
from aecv.workflow.story.energies import MOST_NUMBERS, Source, chosen_sources, grid_of, read_energies
from aecv.workflow.story.reading import read_story
from aecv.workflow.story.record_table import COLUMNS
from aecv.workflow.story.report import told_when_stopped, update_report, write_report
from aecv.workflow.story.status import status
from aecv.workflow.story.steps import steps_of_loop
from tests.results.page.report_reader import Page
from tests.workflow import hand
from tests.workflow.free_energies.test_exact import SMALL as SMALL_TOY
from tests.workflow.hand import reseal
from tests.workflow.test_sample_along import SMALL as SMALL_GIVEN


@pytest.fixture
def copied(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "copy", ignore=shutil.ignore_patterns(".lock")))


def page_of(run: Path, out: Path) -> Page:
    return Page(write_report(run, out).read_text(encoding="utf-8"))


def test_a_run_leaves_its_report(small_run: Path) -> None:
    page = Page((small_run / "report.html").read_text(encoding="utf-8"))
    assert page.unclosed == []
    assert "finished: 3 of 3 iterations" in page.text
    assert page.data["groups"]["places"]["labels"] == ["iteration 1", "iteration 2", "production"]
    assert {
        "scores",
        "delta-f",
        "loss",
        "training",
        "walkers",
        "cv-xi-1-xi-2",
        "profile-phi",
        "plane-phi-psi",
    } <= (page.slots)
    for record in (read_json(small_run / f"iteration_{k:02d}" / "record.json") for k in range(3)):
        for column in COLUMNS:
            assert column.cell(IterationRecord.from_dict(record)) in page.text


def test_figures_hold_the_numbers_of_the_files(small_run: Path, tmp_path: Path) -> None:
    page = page_of(small_run, tmp_path / "page.html")
    for step, folder in enumerate(("iteration_01", "iteration_02", "production_02")):
        for slot, file in (("cv-xi-1-xi-2", "fes_xi.dat"), ("plane-phi-psi", "fes_phi_psi.dat")):
            found = read_fes(small_run / folder / file)
            trace = page.slot(slot)["frames"][step][0]
            z = np.array(trace["z"], dtype=float)
            np.testing.assert_allclose(z, found.values.T, atol=6e-4, equal_nan=True)
            assert found.error is not None
            told = {line["label"]: line["values"] for line in trace["hover"]}
            error = np.where(np.isfinite(found.error), found.error, np.nan)
            shown = np.array(told["standard error"], dtype=float)
            np.testing.assert_allclose(shown, error.T, atol=6e-3, equal_nan=True)
            np.testing.assert_allclose(trace["x"], found.axes[0], atol=1e-6)
        profile = read_fes(small_run / folder / "fes_phi.dat")
        line = page.slot("profile-phi")["frames"][step][-1]
        np.testing.assert_allclose(
            np.array(line["y"], dtype=float), profile.values, atol=6e-4, equal_nan=True
        )
        table = read_colvar(small_run / folder / "convergence.dat")
        in_time = page.slot("in-time-delta-f")["frames"][step][-1]
        # two walkers: all of them together have had twice the time of each
        np.testing.assert_allclose(in_time["x"], table["time"] * 2 / 1000.0, atol=1e-6)
        known = np.where(np.isfinite(table["delta_f"]), table["delta_f"], np.nan)  # a side not seen yet
        np.testing.assert_allclose(np.array(in_time["y"], dtype=float), known, atol=6e-4)


def test_means_of_a_bin_are_those_of_its_frames(small_run: Path) -> None:
    """One bin by hand: the mean direction of phi over its frames, each with its weight."""
    folder = small_run / "iteration_02"
    found = read_fes(folder / "fes_xi.dat")
    samples, weights = read_arrays(folder / "samples.npz"), read_arrays(folder / "weights.npz")
    w = weights["last_weights"]
    place = read_story(small_run).energies[1]
    (shown,) = place.along_cv
    assert shown.n_frames is not None
    fullest = np.unravel_index(shown.n_frames.argmax(), shown.n_frames.shape)
    grid = grid_of(found)
    inside = np.ones(len(w), dtype=bool)
    for c, k in enumerate(fullest):
        edges = grid.edges(c)
        inside &= (samples["xi"][:, c] >= edges[k]) & (samples["xi"][:, c] < edges[k + 1])
    inside &= w > 0
    assert shown.n_frames[fullest] == inside.sum() > 5
    phi = samples["observable_phi"][inside]
    mean = np.angle(np.sum(w[inside] * np.exp(1j * phi)))
    means = {quantity.name: values for quantity, values in shown.means}
    assert means["phi"][fullest] == pytest.approx(mean, abs=1e-9)


def test_stops_are_frames_of_their_bins(small_run: Path) -> None:
    """Structures have phi and psi as they are told, by the positions that are shown."""
    story = read_story(small_run)
    made = story.structures
    assert made is not None
    assert made.place == "production"
    assert made.left_out == "hydrogens"
    assert sorted(set(made.elements)) == ["C", "N", "O"]
    assert len(made.bonds) == 9  # ten heavy atoms, no ring
    assert made.stops[0].basin == 1
    folder = small_run / "production_02"
    found, samples = read_fes(folder / "fes_xi.dat"), read_arrays(folder / "samples.npz")
    weighed = read_arrays(folder / "weights.npz")["last_weights"] > 0
    own = grid_of(found).index(samples["xi"][weighed])  # a bin of the pool alone has no frame to show
    assert made.stops[0].free_energy == pytest.approx(np.nanmin(found.values.ravel()[own]))
    dihedral = [made.atoms.index(name) for name in ("ACE1-C", "ALA2-N", "ALA2-CA", "ALA2-C")]
    for stop, positions in zip(made.stops, made.positions, strict=True):
        told = {quantity.name: value for quantity, value in stop.observables}
        assert _dihedral(positions[dihedral]) == pytest.approx(told["phi"], abs=2e-3)


def _dihedral(points: np.ndarray) -> float:
    b = np.diff(points, axis=0)
    first, second = np.cross(b[0], b[1]), np.cross(b[1], b[2])
    return float(np.arctan2(np.linalg.norm(b[1]) * b[0] @ second, first @ second))


def test_without_biased_iterations_there_is_the_story_so_far(copied: Path, tmp_path: Path) -> None:
    for name in ("iteration_01", "iteration_02", "production_02"):
        shutil.rmtree(copied / name)
    (copied / "summary.json").unlink()
    page = page_of(copied, tmp_path / "page.html")
    assert "stopped after 1 of 3 iterations" in page.text
    assert page.slots == {"training"}
    assert "--iters 3 --resume" in page.text
    for name in ("iteration_00",):
        shutil.rmtree(copied / name)
    assert "stopped after 0 of 3 iterations" in page_of(copied, tmp_path / "page.html").text


def test_what_stops_a_run_is_on_its_page(copied: Path, tmp_path: Path) -> None:
    """The page said that the run goes on; without a page there is nothing to tell."""
    shutil.rmtree(copied / "production_02")
    write_report(copied, state="running")
    assert "stopped after" not in (copied / "report.html").read_text()
    with pytest.raises(KeyboardInterrupt), told_when_stopped(copied):
        raise KeyboardInterrupt
    assert "stopped after 3 of 3 iterations" in (copied / "report.html").read_text()
    (copied / "report.html").unlink()
    with pytest.raises(KeyboardInterrupt), told_when_stopped(copied):
        raise KeyboardInterrupt
    assert not (copied / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("production_02/fes_xi.dat", {"cv-xi-1-xi-2", "walkers", "scores"}),
        ("production_02/samples.npz", {"plane-phi-psi", "scores"}),
        ("production_02/frames.dcd", {"cv-xi-1-xi-2", "walkers"}),
        ("iteration_02/training.json", {"cv-xi-1-xi-2", "loss"}),
        ("production_02/coverage.json", {"cv-xi-1-xi-2", "structures-3d"}),
        ("production_02/production.json", {"cv-xi-1-xi-2", "scores"}),
        ("iteration_02/record.json", {"cv-xi-1-xi-2", "scores"}),
    ],
)
def test_a_truncated_file_costs_its_part_alone(
    copied: Path, tmp_path: Path, name: str, left: set[str]
) -> None:
    path = copied / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    page = page_of(copied, tmp_path / "page.html")
    assert "Parts that could not be read" in page.text
    assert Path(name).name in page.text
    assert left <= page.slots


@pytest.mark.parametrize(
    ("name", "n_finished", "is_gap"),
    [
        ("production_02/analysis.done", 3, False),
        ("production_02/sampling.done", 3, True),
        ("iteration_02/learning.done", 2, True),
        ("iteration_01/sampling.done", 3, True),
        ("iteration_00/starts.done", 3, True),
    ],
)
def test_a_lost_record_of_a_stage_is_told_by_the_report_as_by_status(
    copied: Path, tmp_path: Path, name: str, n_finished: int, is_gap: bool
) -> None:
    """Files of the stage are there: it is finished by its record alone."""
    assert (read_story(copied).state, read_story(copied).missing) == ("finished", ())
    (copied / name).unlink()
    found, story = status(copied), read_story(copied)
    assert (found.state, story.state) == ("stopped", "stopped")
    told = [text for text in found.damaged if "later stages are finished" in text]
    assert [text.partition(":")[0] for text in told] == [name] * is_gap
    assert story.missing == tuple(found.damaged)
    page = page_of(copied, tmp_path / "page.html")
    assert f"stopped after {n_finished} of 3 iterations" in page.text
    assert (f"{name}: is missing" in page.text) == is_gap
    places = page.data["groups"]["places"]["labels"]
    assert ("production" in places) == (
        name not in ("production_02/analysis.done", "iteration_02/learning.done")
    )


def test_a_run_that_was_made_longer_is_not_finished(copied: Path) -> None:
    """Its production is that of the shorter run."""
    manifest = read_json(copied / "run.json")
    manifest["settings"]["run"]["iterations"] = 10
    write_sealed(copied / "run.json", manifest)
    assert (status(copied).state, read_story(copied).state) == ("stopped", "stopped")


def test_a_run_of_given_frames_is_repeated_with_them(copied: Path) -> None:
    assert "--frames" not in read_story(copied).command
    write_json(copied / "iteration_00" / "timing.json", {"wall_s": 1.0, "simulated": False})
    reseal(copied)
    assert "--frames THE_TRAJECTORY" in read_story(copied).command


def test_a_number_that_is_a_text_is_noticed(copied: Path) -> None:
    path = copied / "iteration_01" / "record.json"
    write_json(path, read_json(path) | {"score": "<b>high</b>"})
    story = read_story(copied)
    assert story.table is not None
    assert len(story.table.rows) == 1
    assert any("score: input should be a valid number" in text for text in story.missing)
    assert any("got '<b>high</b>'" in text for text in story.missing)


def test_without_a_usable_manifest_the_error_says_so(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        write_report(tmp_path)
    (copied / "run.json").write_text("[]")
    with pytest.raises(StoreError, match="needs the settings of a run"):
        write_report(copied)


def test_hostile_names_in_a_run_stay_texts(copied: Path, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    manifest = read_json(copied / "run.json")
    manifest["settings"]["system"]["description"] = evil
    manifest["versions"][evil] = evil
    write_json(copied / "run.json", manifest)
    record = copied / "iteration_02" / "record.json"
    write_json(record, read_json(record) | {"problems": [evil]})
    reseal(copied)
    page = page_of(copied, tmp_path / "page.html")
    assert page.unclosed == []
    assert not [a for tag, a in page.elements if tag == "img"]
    assert len([a for a, _ in page.scripts if a.get("type") is None]) == 2
    assert page.text.count(evil) >= 4  # the description, the version twice, the problem


def test_a_run_in_use_is_running(copied: Path, tmp_path: Path) -> None:
    assert not is_in_use(copied)
    with open(copied / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert is_in_use(copied)
        page = page_of(copied, tmp_path / "page.html")
    assert "running: 3 of 3 iterations done" in page.text
    assert not is_in_use(copied)


def test_a_report_that_fails_is_a_warning(
    copied: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Story) -> str:
        raise ZeroDivisionError("by nothing")

    before = (copied / "report.html").read_bytes()
    monkeypatch.setattr(report, "render", broken)
    with caplog.at_level(logging.WARNING, "aecv"):
        update_report(copied, "running")
    assert [record.getMessage() for record in caplog.records] == [
        "report.html: could not be made (ZeroDivisionError: by nothing)"
    ]
    assert (copied / "report.html").read_bytes() == before


def test_a_given_cv_has_its_report(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = sample_along(load_system("ala2", overrides=SMALL_GIVEN), ("phi", "psi"), run, ns=0.02)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert page.unclosed == []
    assert "Extended ABF along phi, psi" in page.text
    assert page.data["groups"]["places"]["labels"] == ["along phi, psi"]
    found = read_fes(run / "along" / "fes_xi.dat")
    z = np.array(page.slot("cv-xi-1-xi-2")["frames"][0][0]["z"], dtype=float)
    np.testing.assert_allclose(z, found.values.T, atol=6e-4, equal_nan=True)
    assert f"{result.n_effective:.0f}" in page.text
    assert "--cv 'phi, psi'" in page.text
    (run / "along" / "analysis.done").unlink()
    assert (status(run).state, read_story(run).state) == ("stopped", "stopped")
    shutil.rmtree(run / "along")
    assert "--resume" in page_of(run, tmp_path / "page.html").text


def test_a_particle_has_exact_curves_and_no_structures(tmp_path: Path) -> None:
    run = tmp_path / "run"
    iterate(load_system("mueller_brown", overrides=SMALL_TOY), run)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert page.unclosed == []
    assert "structures-3d" not in page.slots
    _, exact, *_, estimate = page.slot("cv-xi-1")["frames"][0]
    assert exact["name"] == "exact"
    known = read_fes(run / "iteration_01" / "fes_xi.dat").values
    np.testing.assert_allclose(np.array(estimate["y"], dtype=float), known, atol=6e-4, equal_nan=True)
    assert np.isfinite(np.array(exact["y"], dtype=float)).sum() >= np.isfinite(known).sum()


def test_an_exact_answer_has_the_zero_of_the_estimate(tmp_path: Path) -> None:
    """Pictures and page are drawn from it: an error of the lowest bin alone is none of all the others."""
    x = np.linspace(-0.5, 0.5, 7)
    exact = 20.0 * (x[:, None] ** 2 + x**2)
    found = exact + 1.0
    found[3, 3] = 0.0
    for name, values in (("fes_x_y.dat", found), ("fes_x_y.exact.dat", exact)):
        write_fes(tmp_path / name, [x, x], values, ["x", "y"], [False, False])
    for name, along in (("fes_x.dat", exact[3]), ("fes_y.dat", exact[3])):
        write_fes(tmp_path / name, [x], along, [name[4]], [False])
    settings = load_system("mueller_brown").settings
    (plane,) = read_energies(Source(folder=tmp_path, name="production"), settings).planes
    assert plane.exact is not None
    difference = np.abs(plane.values - plane.exact)
    assert np.median(difference) < 0.1
    assert difference.max() == difference[3, 3] > 0.9


def test_three_components_are_shown_in_their_planes(tmp_path: Path) -> None:
    """Two frames that differ in the third component alone lie in one bin of the first two."""
    settings = load_system("ala2").settings
    kt = thermal_energy(300.0)
    axes = [np.array([0.5, 1.5])] * 3
    f = np.array([[[0.0, 1.0], [2.0, np.nan]], [[3.0, 4.0], [np.nan, np.nan]]])
    write_fes(tmp_path / "fes_xi.dat", axes, f, ["xi_1", "xi_2", "xi_3"], [False] * 3)
    Samples.of(
        cv_positions=np.zeros((2, 1, 3), dtype=np.float32),
        observables={"phi": np.array([3.0, -3.0])},
        time_ps=np.array([1.0, 2.0]),
        walker=np.zeros(2, dtype=np.int64),
        basin=np.zeros(2, dtype=np.int64),
        xi=np.array([[0.5, 1.5, 0.5], [0.5, 1.5, 1.5]]),
        lam=np.zeros((2, 3)),
        n_inverted=0,
        n_turned=0,
    ).save(tmp_path / "samples.npz")
    write_arrays(tmp_path / "weights.npz", last_weights=np.array([0.5, 0.5]))
    first, *others = read_energies(Source(folder=tmp_path, name="here"), settings).along_cv
    assert [item.key for item in (first, *others)] == ["xi_1_xi_2", "xi_1_xi_3", "xi_2_xi_3"]
    both = kt * np.log(1.0 + np.exp(-1.0 / kt))  # two bins 1 kJ/mol apart lie this much below the lower one
    expected = [[0.0, 2.0 + both], [3.0, np.nan]]
    np.testing.assert_allclose(first.values, expected, atol=1e-7, equal_nan=True)
    assert first.n_frames is not None
    assert first.n_frames.tolist() == [[0, 2], [0, 0]]
    ((_, phi),) = first.means
    assert abs(phi[0, 1]) == pytest.approx(np.pi)  # the mean direction of 3 and -3 is that of pi, not 0


def test_every_kind_of_observable_is_known() -> None:
    assert set(get_args(Kind)) == set(KINDS)


def test_many_places_are_thinned() -> None:
    assert chosen_sources(5, 10) == [0, 1, 2, 3, 4]
    kept = chosen_sources(100, MOST_NUMBERS // 10)
    assert len(kept) == 10
    assert (kept[0], kept[-1]) == (0, 99)
    assert chosen_sources(50, 10 * MOST_NUMBERS) == [0, 49]


def test_every_setting_is_told_with_what_it_differs_from() -> None:
    settings = load_system("ala2", overrides=("training.restarts=3",)).settings
    groups = dict(setting_groups(settings))
    told = {f"{name}.{row.key}" for name, rows in groups.items() for row in rows}
    assert {"system.name", "observables.phi.kind", "delta_f.upper", "training.restarts", "run.seed"} <= told
    rows = {row.key: row for row in groups["training"]}
    assert (rows["restarts"].value, rows["restarts"].default, rows["restarts"].origin) == (
        "3",
        "16",
        "changed",
    )
    assert rows["max_epochs"].origin == "default"
    assert {row.origin for row in groups["system"]} <= {"given", "default"}


def test_the_command_gives_the_same_settings(small_run: Path) -> None:
    manifest = read_manifest(small_run)
    settings = Settings.model_validate(manifest.settings)
    command = repeating(manifest, settings, None)
    assert command.startswith("aecv iterate --system ala2 --set ")
    assert command.endswith("--out NEW_FOLDER")
    overrides = re.findall(r"--set (\S+)", command.replace("'", ""))
    assert load_system("ala2", overrides=overrides).settings == settings
    elsewhere = repeating(manifest.model_copy(update={"system_hash": "0"}), settings, None)
    assert "--config settings.toml" in elsewhere


LAST = {"restart_score": 0.99, "ns": 10.0, "wall_s": 60.0}


def advice(
    *records: IterationRecord, converged: bool = False, made: Production | None = None, **more: str
) -> str:
    settings = load_system("ala2").settings
    found = steps_of_loop(
        records,
        settings,
        folder="runs/my run",
        state=more.get("state", "finished"),  # type: ignore[arg-type]
        converged=converged,
        production=made,
    )
    return "\n".join(f"{step.advice} {step.command}" for step in found)


def production(half: float) -> Production:
    values = dict.fromkeys(Production.__dataclass_fields__)
    values |= {"folder": "production_09", "delta_f_kj_mol": 9.0, "delta_f_interval": (9.0 - half, 9.0 + half)}
    return Production(**values | {"problems": ()})  # type: ignore[arg-type]


def test_each_fault_has_its_advice() -> None:
    good = hand.record(9, 0.99, 0.97, **LAST)
    assert "0.960, is below s_min, 0.970" in advice(hand.record(9, 0.96, 0.97, **LAST))
    # below the floor no s_min is looked for
    assert "0.729, is below the floor, 0.95" in advice(hand.record(9, 0.729, None, **LAST))
    assert "--out 'runs/my run' --iters 15 --resume" in advice(hand.record(9, 0.96, 0.97, **LAST))
    uncovered = advice(hand.record(9, 0.99, 0.97, problems=("basin 2 was not visited",), **LAST))
    assert "did not cover" in uncovered
    assert "basin 2 was not visited" in uncovered
    assert "--walkers 8" in uncovered
    unsure = advice(replace(good, restart_score=0.9), converged=True, made=production(0.5))
    assert "agree to 0.900 only" in unsure
    assert "training.restarts=32" in unsure
    assert "--final-ns 20 --resume" in advice(good, converged=True)
    wide = advice(good, converged=True, made=production(2.5))
    assert "±2.5 kJ/mol" in wide
    assert "delete production_09" in wide
    assert "--final-ns 80 --resume" in wide
    content = advice(good, converged=True, made=production(0.5))
    assert "wide" not in content
    assert "--seed 2" in content
    assert "aecv export 'runs/my run'" in content
    assert "--resume" in advice(good, state="stopped")
    assert "reload" in advice(good, state="running")


def test_json_of_the_page_has_no_nan(small_run: Path, tmp_path: Path) -> None:
    """Browsers refuse NaN, which Python reads."""
    page = page_of(small_run, tmp_path / "page.html")
    (text,) = (text for attributes, text in page.scripts if attributes.get("type") == "application/json")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(text, parse_constant=refuse)
