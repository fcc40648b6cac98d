"""Exports of runs, iterations and files: the right CV, its extended variable, and folders in one piece."""

import errno
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from aecv.commands.export import main
from aecv.ground.errors import CVError, MolecularSystemError, StoreError
from aecv.ground.files import write_json
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.observables.observable_set import ObservableSet
from aecv.molecules.spec import load_system
from aecv.numerics.kernels.encoder import Encoder
from aecv.results.exports.subject import FORMS
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.workflow.exporting.export_folder import export
from aecv.workflow.exporting.export_source import place_in_run
from aecv.workflow.run_folder.samples import Bias
from tests.results.exports.plumed_reader import evaluate, read_actions
from tests.workflow.given_cv.test_same_system import swap

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

RANGE = [[-3.0, 3.0], [-2.0, 2.5]]


@pytest.fixture(scope="module")
def system() -> MolecularSystem:
    return build(load_system("ala2"))


@pytest.fixture(scope="module")
def folder(system: MolecularSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CV of alanine dipeptide with made-up weights: cv.pt, cv.npz and cv.json."""
    rng = np.random.default_rng(0)
    encoder = Encoder(
        reference=system.cv_reference,
        weights=(2 * rng.normal(size=(12, 24)), 0.3 * rng.normal(size=(2, 12))),
        biases=(0.1 * rng.normal(size=12), rng.normal(size=2)),
    )
    made = tmp_path_factory.mktemp("cv")
    atoms = system.cv_atom_indices
    export_cv(encoder, made, atom_indices=atoms, cv_range=RANGE, system="ala2", system_hash=system.spec.hash)
    return made


@pytest.fixture(scope="module")
def frames(system: MolecularSystem) -> np.ndarray:
    rng = np.random.default_rng(1)
    return system.positions + 0.02 * rng.normal(size=(100, system.n_atoms, 3)) + rng.normal(size=(100, 1, 3))


def keywords(folder: Path, name: str) -> dict[str, str]:
    actions = read_actions((folder / "plumed.dat").read_text())
    return next(action.keywords for action in actions if action.name == name)


@pytest.mark.parametrize(("form", "allowed"), [("pytorch", 1e-5), ("ann", 1e-12), ("plain", 1e-12)])
def test_each_form_gives_what_load_cv_gives(folder, frames, tmp_path, form, allowed):
    """In single precision positions 1 nm off the origin are known to 6e-8 nm, and |grad xi| is some 10/nm."""
    out = export(folder, tmp_path / "out", form=form)
    values = evaluate(out, frames)
    xi = np.stack([values["xi_1"], values["xi_2"]], axis=1)
    error = np.abs(xi - load_cv(folder).of_frames(frames)).max()
    assert error < allowed
    names = {item.name for item in out.iterdir()}
    expected = {"plumed.dat", "reference.pdb", "README.md"} | ({"cv.pt"} if form == "pytorch" else set())
    assert names == expected


def test_a_file_without_a_run_gets_grid_and_coupling_as_the_loop_makes_them(folder, tmp_path):
    text = keywords(export(folder / "cv.npz", tmp_path / "out", form="ann"), "DRR")
    assert text["GRID_MIN"] == "-3.0,-2.0"
    assert text["GRID_MAX"] == "3.0,2.5"
    assert text["GRID_BIN"] == "50,50"
    # kT/sigma^2 with sigma one bin, and tau and friction of the default settings
    kappa = [float(word) for word in text["KAPPA"].split(",")]
    np.testing.assert_allclose(kappa, 2.4943387 / np.array([6.0 / 50, 4.5 / 50]) ** 2, rtol=1e-6)
    assert (text["TAU"], text["FRICTION"]) == ("0.2,0.2", "8,8")


def test_plain_files_alone_are_enough_for_a_torchscript_file(folder, frames, tmp_path):
    for name in ("cv.npz", "cv.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    out = export(tmp_path / "cv.json", tmp_path / "out", bias="none")
    cv = load_cv(out / "cv.pt")
    assert np.abs(cv.of_frames(frames) - load_cv(folder).of_frames(frames)).max() < 1e-14
    assert not any(action.name == "DRR" for action in read_actions((out / "plumed.dat").read_text()))


def test_a_run_gives_the_cv_and_the_bias_of_its_production(small_run, tmp_path):
    out = export(small_run, tmp_path / "out")
    assert (out / "cv.pt").read_bytes() == (small_run / "iteration_02" / "cv.pt").read_bytes()
    extended = Bias.load(small_run / "production_02" / "bias.npz").extended
    drr = keywords(out, "DRR")
    assert drr["KAPPA"] == ",".join(repr(kappa) for kappa in extended.kappa)
    assert drr["GRID_MIN"] == ",".join(repr(low) for low in extended.grid.lower)
    assert drr["GRID_BIN"] == "20,20"
    assert drr["FULLSAMPLES"] == "100"
    assert (out / "plumed.dat").read_text().startswith("# CV of ala2, iteration 2: 2 components of 8 atoms.")
    assert "a5: POSITION ATOM=5 NOPBC  # ACE1 C" in (out / "plumed.dat").read_text()
    assert str(small_run) not in (out / "plumed.dat").read_text() + (out / "README.md").read_text()


def test_an_iteration_gives_its_own_cv_and_the_bias_along_it(small_run, tmp_path):
    out = export(small_run / "iteration_00", tmp_path / "out")
    assert (out / "cv.pt").read_bytes() == (small_run / "iteration_00" / "cv.pt").read_bytes()
    extended = Bias.load(small_run / "iteration_01" / "bias.npz").extended
    assert keywords(out, "DRR")["KAPPA"] == ",".join(repr(kappa) for kappa in extended.kappa)


def test_a_system_that_contradicts_the_run_is_refused(small_run, tmp_path, caplog):
    """The same one in other files is a warning; the same name with atoms in another order is not."""
    run = small_run / "iteration_00"
    with pytest.raises(CVError, match=r"belongs to 'ala2', but --system names 'z_potential'; leave --system"):
        export(run, tmp_path / "out", system="z_potential")
    with pytest.raises(MolecularSystemError, match="system 'nowhere': needs the name of a shipped system"):
        export(run, tmp_path / "out", system="nowhere")
    assert not (tmp_path / "out").exists()
    export(run, tmp_path / "own", system="ala2")
    assert "was learned on" not in caplog.text
    copy = shutil.copytree(load_system("ala2").directory, tmp_path / "copy")
    with (copy / "system.toml").open("a") as file:
        file.write("# a remark\n")
    export(run, tmp_path / "renamed", system=copy)
    assert "this system of that name has other files" in caplog.text
    assert (tmp_path / "renamed" / "plumed.dat").read_text() == (tmp_path / "own" / "plumed.dat").read_text()
    swap(copy / "ala2.pdb", "CB", "C")
    with pytest.raises(CVError, match=r"\d of 7 bonds of its reference structure are none here"):
        export(run, tmp_path / "out", system=copy)


def made_along(run: Path, small_run: Path, cv: str) -> Path:
    """A finished run along a given CV of which nothing but the name is known."""
    along = run / "along"
    along.mkdir(parents=True)
    shutil.copy(small_run / "run.json", run)
    for name in ("bias.npz", "topology.pdb"):
        shutil.copy(small_run / "production_02" / name, along)
    write_json(along / "sampled.json", {"cv": cv})
    return along


def test_a_run_along_a_cv_gives_the_copy_that_it_keeps(small_run, tmp_path, monkeypatch):
    """Wherever the command is called, and whatever became of the file that the copy was made of."""
    along = made_along(tmp_path / "run", small_run, "iteration_02")
    for name in ("cv.pt", "cv.npz", "cv.json"):
        shutil.copy(small_run / "iteration_02" / name, along)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_run / "iteration_00", tmp_path / "iteration_02")  # trained again
    kappa = ",".join(repr(kappa) for kappa in Bias.load(along / "bias.npz").extended.kappa)
    for name in ("run", "run/along", "run/along/cv.npz"):
        out = export(Path(name), tmp_path / "out" / name)
        assert (out / "cv.pt").read_bytes() == (small_run / "iteration_02" / "cv.pt").read_bytes()
        assert keywords(out, "DRR")["KAPPA"] == kappa
        assert (out / "plumed.dat").read_text().startswith("# CV of ala2: 2 components of 8 atoms.")


def test_a_run_along_a_function_or_a_model_of_others_is_refused_in_words(small_run, tmp_path):
    along = made_along(tmp_path / "run", small_run, "squared")
    with pytest.raises(CVError, match="CV squared: is a Python function, which cannot be exported"):
        export(tmp_path / "run", tmp_path / "out")
    (along / "sampled.json").unlink()
    with pytest.raises(CVError, match=r"needs a finished run .*; continue it with aecv sample --resume"):
        export(along, tmp_path / "out")
    torch.jit.script(torch.nn.Linear(3, 1)).save(str(along / "cv.pt"))
    for place in (tmp_path / "run", along / "cv.pt"):
        with pytest.raises(CVError, match=r"cv\.pt: is a model of another program, of which aecv writes no"):
            export(place, tmp_path / "out")


def test_a_run_that_goes_on_gives_its_last_iteration(tmp_path):
    """Counted as numbers: in a longer run 100 comes after 99, as words before."""
    run = tmp_path / "run"
    for name in ("iteration_02/learning.done", "production_02/bias.npz", "iteration_99/learning.done"):
        (run / name).parent.mkdir(parents=True)
        (run / name).touch()
    assert place_in_run(run).name == "iteration_99"
    (run / "iteration_100").mkdir()
    assert place_in_run(run).name == "iteration_99"  # it has not learned yet
    (run / "iteration_100" / "learning.done").touch()
    assert place_in_run(run).name == "iteration_100"
    (run / "production_100").mkdir()
    (run / "production_100" / "bias.npz").touch()
    assert place_in_run(run).name == "production_100"


def test_observables_of_a_system(system, frames, tmp_path):
    cv = replace(observable_cv(system.observables, ("phi", "psi")), system="ala2")
    values = evaluate(export(cv, tmp_path / "out"), frames)
    xi = np.stack([values["xi_1"], values["xi_2"]], axis=1)
    assert np.abs(xi - cv.of_frames(frames)).max() < 1e-9
    assert keywords(tmp_path / "out", "DRR")["GRID_MIN"] == "-pi,-pi"
    assert {item.name for item in (tmp_path / "out").iterdir()} == {"plumed.dat", "README.md"}


def test_colvars_folder(folder, tmp_path):
    out = export(folder, tmp_path / "out", target="colvars", form="ann", length="angstrom")
    layers = {f"layer{k}_{what}.txt" for k in (1, 2) for what in ("weights", "biases")}
    assert {item.name for item in out.iterdir()} == {"colvars.in", "README.md", *layers}
    assert "**Not tested**" in (out / "README.md").read_text()
    named = set(re.findall(r"layer\d_\w+\.txt", (out / "colvars.in").read_text()))
    assert named == layers


@pytest.mark.parametrize("form", FORMS)
def test_readme_names_every_file_and_command(folder, tmp_path, form):
    out = export(folder, tmp_path / "out", form=form, bias="opes")
    text = (out / "README.md").read_text()
    for name in {item.name for item in out.iterdir()} - {"README.md"}:
        assert f"`{name}`" in text
    for command in ("PlumedForce", "gmx mdrun", "plumed driver"):
        assert command in text
    assert "2 (ACE1 CH3)" in text


def test_what_is_there_stays(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="exists already; delete it or choose another --out"):
        export(folder, out)
    assert [item.name for item in tmp_path.iterdir()] == ["out"]
    assert (out / "mine.txt").read_text() == "mine"


def test_an_export_that_fails_leaves_nothing(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("aecv.workflow.exporting.export_folder.write_text", full)
    with pytest.raises(StoreError, match="disk full"):
        export(folder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_inside_is_told_without_a_way_to_resume(folder, tmp_path, monkeypatch):
    """Of the folder that was asked for, and not of the temporary one; `aecv export` has no --resume."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("aecv.ground.files.os.fsync", full)
    out = tmp_path / "out"
    with pytest.raises(StoreError) as caught:
        export(folder, out, form="plain")
    assert str(caught.value) == (
        f"{out}: cannot be written (No space left on device); free space or choose another --out"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_empty_folder_one_stands_in_is_filled(folder, tmp_path, monkeypatch):
    """And stays the same one: in a new one of that name the shell would not stand."""
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    export(folder, Path(), form="plain")
    assert tmp_path.stat().st_ino == before
    assert {item.name for item in Path().iterdir()} == {"plumed.dat", "reference.pdb", "README.md"}


def squared(x):
    return (x[:, 0] - x[:, 1]).square().sum(dim=-1)


def test_errors(folder, tmp_path, system):
    with pytest.raises(CVError, match=r"nowhere: needs a run, an iteration or a file of a CV to export"):
        export("nowhere", tmp_path / "out")
    with pytest.raises(CVError, match="is a Python function, which cannot be exported"):
        export(CV.from_function(squared, [0, 1]), tmp_path / "out", bias="none")
    with pytest.raises(CVError, match="form needs one of pytorch, ann, plain, got 'torch'"):
        export(folder, tmp_path / "out", form="torch")  # type: ignore[arg-type]
    with pytest.raises(CVError, match="length 'angstrom' is for Colvars; leave --length out for plumed"):
        export(folder, tmp_path / "out", length="angstrom")
    with pytest.raises(
        MolecularSystemError, match=r"'water' is none of the shipped ones .*; name its folder"
    ):
        export(replace(load_cv(folder), system="water"), tmp_path / "out")
    with pytest.raises(CVError, match=r"belongs to 'ala2', but --system names 'mueller_brown'"):
        export(folder, tmp_path / "out", system="mueller_brown")
    distance = observable_cv(
        ObservableSet(kinds={"end": "distance"}, indices={"end": np.array([1, 18])}), ("end",)
    )
    with pytest.raises(CVError, match="its range is not known, so there is no grid for a bias"):
        export(replace(distance, system="ala2"), tmp_path / "out")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(CVError, match="needs a finished iteration to export its CV"):
        export(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_says_what_it_wrote_and_what_went_wrong(folder, tmp_path):
    out = tmp_path / "out"
    command = [str(folder), "--form", "plain", "--bias", "none", "--out", str(out)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert f"written to {out}: README.md, plumed.dat, reference.pdb" in done.output
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert again.stderr == f"error: {out}: exists already; delete it or choose another --out\n"
