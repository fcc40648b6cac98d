"""`aecv sample` from the command line: what --cv may be, what is refused, and a run with its table."""

import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from aecv.commands.options import slug
from aecv.commands.sample import main
from aecv.commands.screens import sampled_table
from aecv.ground.errors import CVError
from aecv.ground.files import read_arrays, read_json, sha256
from aecv.models.cvs.cv_files import export_cv, load_cv, write_cv
from aecv.models.cvs.internal_map import InternalMap
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.sampling.engines import choice, plumed, torchforce
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.workflow.given_cv.given import GivenCV
from aecv.workflow.run_folder.sampled import Sampled
from aecv.workflow.run_folder.samples import Bias
from tests.sampling.engines.test_plumed_files import EVERYTHING
from tests.workflow.test_sample_along import SMALL

FAST = ["--workers", "1", *[argument for text in SMALL for argument in ("--set", text)]]


class EndToEnd(torch.nn.Module):
    """Distance of the first and last of eight atoms, flat and in angstrom."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, :3] - x[:, 21:]).square().sum(dim=1, keepdim=True).sqrt()


class Sums(torch.nn.Module):
    """Of positions (F, n, 3), two numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.square().sum(dim=1)[:, :2]


@pytest.fixture(scope="module")
def ala2() -> MolecularSystem:
    return build(load_system("ala2"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "end.pt"
    torch.jit.save(torch.jit.script(EndToEnd()), str(path))
    return path


@pytest.fixture(scope="module")
def ours(ala2: MolecularSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("ours"), np.random.default_rng(0)
    encoder = Encoder(reference=ala2.cv_reference, weights=(rng.normal(size=(1, 24)),), biases=(np.zeros(1),))
    export_cv(
        encoder, folder, atom_indices=ala2.cv_atom_indices, cv_range=[[-1.0, 2.0]],
        system="ala2", system_hash=ala2.spec.hash,
    )  # fmt: skip
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["--system", "ala2", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def their_run(theirs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("along") / "run"
    return folder, run(
        "--cv", theirs, "--atoms", "mass > 2 and not name O", "--length-unit", "angstrom",
        "--ns", "0.002", "--out", folder, *FAST,
    )  # fmt: skip


def test_a_run_along_the_cv_of_others_ends_with_a_table(their_run: tuple[Path, Result]) -> None:
    folder, result = their_run
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if not line.startswith(" ")}
    assert list(rows) == ["CV", "simulated", "frames", "dF", "passages", "coverage", "results"]
    assert rows["CV"].endswith("end.pt")
    # 0.002 ns in frames of 0.02 ps, 30 % of them while the bias adapts
    assert abs(int(rows["frames"].split()[1]) - 70) <= 4
    assert "0.002 ns over 2 walkers" in rows["simulated"]
    assert str(folder / "along") in rows["results"]
    assert "takes positions of shape (F, 3n) in float64" in (folder / "run.log").read_text() + result.stderr


def test_its_range_is_that_of_the_hot_run(their_run: tuple[Path, Result]) -> None:
    hot = read_arrays(their_run[0] / "starts" / "starts.npz")["hot_cv_positions"].astype(float)
    distance = 10.0 * np.linalg.norm(hot[:, 0] - hot[:, 7], axis=1)
    low, high = np.quantile(distance, [5e-4, 1 - 5e-4])
    grid = Bias.load(their_run[0] / "along" / "bias.npz").grid
    assert grid.lower[0] == pytest.approx(low - 0.1 * (high - low), rel=1e-6)
    assert grid.upper[0] == pytest.approx(high + 0.1 * (high - low), rel=1e-6)


def test_the_same_command_with_resume_changes_nothing(their_run: tuple[Path, Result], theirs: Path) -> None:
    folder = their_run[0]
    before = sha256(folder / "along" / "weights.npz")
    said = ("--cv", theirs, "--length-unit", "angstrom", "--ns", "0.002", "--out", folder, *FAST)
    result = run(*said, "--atoms", "mass > 2 and not name O", "--resume")
    assert result.exit_code == 0
    assert sha256(folder / "along" / "weights.npz") == before
    other = run(*said, "--atoms", "1,4,6,8,10,14,16,15", "--resume")
    assert other.exit_code == 1
    assert "was made from cv = " in other.stderr
    assert "holds a run already" in run(*said, "--atoms", "mass > 2 and not name O").stderr


def test_cvs_by_name_by_file_and_by_folder(ala2: MolecularSystem, ours: Path, theirs: Path) -> None:
    torsions = GivenCV(what="psi, phi")(ala2)
    assert (torsions.source, torsions.periodic) == ("psi, phi", (True, True))
    for place in (ours, ours / "cv.pt", ours / "cv.json"):
        cv = GivenCV(what=str(place))(ala2)
        assert cv.is_compiled
        np.testing.assert_array_equal(cv.cv_range, [[-1.0, 2.0]])
    wide = GivenCV(what=str(ours), ranges=((-3.0, 3.0),))(ala2)
    np.testing.assert_array_equal(wide.cv_range, [[-3.0, 3.0]])
    foreign = GivenCV(what=str(theirs), atoms="1,4,6,8,10,14,16,18", ranges=((2.0, 9.0),), periodic=(1,))(
        ala2
    )
    assert foreign.atom_indices.tolist() == [1, 4, 6, 8, 10, 14, 16, 18]
    assert foreign.periods.tolist() == [7.0]


def test_a_period_cannot_be_given_another_range(ala2: MolecularSystem, tmp_path: Path) -> None:
    """Ranges are of the components that have no period; 2 pi of a dihedral is no choice."""
    mixed = InternalCoordinates(
        kinds=("dihedral", "distance"), atoms=((0, 1, 2, 3), (0, 3)), axes=(None, None), n_atoms=4
    )
    phi = observable_cv(ala2.observables, ("phi",))
    circle = phi.cv_range[0].tolist()
    cv = replace(
        phi,
        map=InternalMap(internal=mixed),
        atom_indices=np.array([4, 6, 8, 14]),
        cv_range=np.array([circle, [0.1, 0.5]]),
        periodic=(True, False),
    )
    write_cv(cv, tmp_path, system="ala2", system_hash=ala2.spec.hash)
    what = str(tmp_path / "cv.json")
    given = GivenCV(what=what, ranges=((0.2, 0.9),))(ala2)
    np.testing.assert_array_equal(given.cv_range, [circle, [0.2, 0.9]])
    assert given.periods == pytest.approx([2.0 * np.pi, 0.0])
    with pytest.raises(CVError, match=r"each of 1 components; its periodic ones keep their period; got"):
        GivenCV(what=what, ranges=((-1.0, 1.0), (0.2, 0.9)))(ala2)


ATOMS = "1,4,6,8,10,14,16,18"
NATIVE_ONLY = r"is a model of another program, which runs in Python; use --engine native"


def test_every_engine_takes_or_refuses_a_model_of_others(
    ala2: MolecularSystem, ours: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what it is, and never by a word for something else; ours and observables run with all."""
    foreign = GivenCV(what=str(theirs), atoms=ATOMS)(ala2)
    plugin = SimpleNamespace()  # TorchForce alone, as releases have
    monkeypatch.setattr(torchforce, "load_openmmtorch", lambda: plugin)
    monkeypatch.setattr(plumed, "probe_kernel", lambda: EVERYTHING)
    for what in (str(ours), "phi,psi"):
        cv = GivenCV(what=what)(ala2)
        for name in choice.engine_names():
            choice.check_cv(name, cv)
    choice.check_cv("native", foreign)
    for name in ("plumed", "torchforce"):
        with pytest.raises(CVError, match=rf"engine {name}: .*end\.pt {NATIVE_ONLY}"):
            choice.check_cv(name, foreign)
    # what is advised instead
    path = tmp_path / "sums.pt"
    torch.jit.save(torch.jit.script(Sums()), str(path))
    for name in choice.engine_names():
        choice.check_cv(name, load_cv(path, atom_indices=foreign.atom_indices))
    plugin.PythonTorchForce = object
    choice.check_cv("torchforce", foreign)


def test_a_cv_that_its_engine_cannot_run_ends_before_the_hot_run(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plumed, "probe_kernel", lambda: EVERYTHING)
    out = tmp_path / "run"
    result = run("--cv", theirs, "--atoms", ATOMS, "--engine", "plumed", "--out", out)
    assert result.exit_code == 1
    assert re.search(rf"engine plumed: .*end\.pt {NATIVE_ONLY}", result.stderr)
    assert not out.exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"what": "phy"}, "'phy' is none of the observables phi, psi; did you mean 'phi'?"),
        ({"what": ","}, "needs 1 to 3 different observables, got none"),
        ({"what": "phi", "atoms": "all"}, "names of observables, which says that itself; leave --atoms out"),
        ({"what": "phi", "ranges": ((0.0, 1.0),)}, "needs one range for each of no component"),
        ({"what": "nowhere.pt"}, "needs a TorchScript file, there is none"),
        ({"what": "some/folder"}, "there is none"),
        ({"what": "OURS", "length_unit": "angstrom"}, "leave --length-unit out"),
        ({"what": "OURS", "ranges": ((1.0, 0.0),)}, "needs a range lower < upper for each of 1 components"),
        ({"what": "THEIRS"}, "give either its atoms"),
        ({"what": "THEIRS", "atoms": "name CA"}, "1 to 3 finite numbers per frame"),
        ({"what": "THEIRS", "atoms": "1,2", "features": Path("f.toml")}, "got both"),
        ({"what": "THEIRS", "atoms": "1,4,6,8,10,14,16,18", "periodic": (1,)}, "got 0 ranges"),
        (
            {"what": "THEIRS", "atoms": "1,4,6,8,10,14,16,18", "ranges": ((0.0, 1.0), (0.0, 1.0))},
            "for each of its 1 components, got 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    ala2: MolecularSystem, ours: Path, theirs: Path, said: dict[str, object], message: str
) -> None:
    what = {"OURS": str(ours), "THEIRS": str(theirs)}.get(str(said["what"]), said["what"])
    with pytest.raises(CVError) as error:
        GivenCV(**{**said, "what": what})(ala2)  # type: ignore[arg-type]
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing option '--cv'"),
        (("--cv", "phi", "--ns", "0"), 2, "Invalid value for '--ns'"),
        (("--cv", "phi", "--range", "1"), 2, "requires 2 arguments"),
        (("--cv", "phi", "--length-unit", "bohr"), 2, "Invalid value for '--length-unit'"),
        (("--cv", "phi,chi"), 1, "'chi' is none of the observables"),
        (("--cv", "theirs.pt", "--atoms", "all"), 1, "there is none; check the path"),
        (("--cv", "phi", "--set", "sampling.n=1"), 1, "did you mean 'ns'?"),
    ],
)
def test_wrong_use_and_bad_input(tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run("--out", tmp_path / "run", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_cv_of_more_atoms_than_there_are_ends_before_the_hot_run(ours: Path, tmp_path: Path) -> None:
    command = ["--system", "mueller_brown", "--cv", str(ours), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "needs atom 18, 'mueller_brown' has 1 atoms" in result.stderr
    assert not (tmp_path / "run").exists()


def test_what_is_said_before_the_run_is_in_its_log_and_once_on_the_screen(
    ours: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CV that was learned on other files, and one that turns with the molecule; stopped once it is open."""

    def stop(*_: object, **__: object) -> None:
        raise CVError("stopped here")

    monkeypatch.setattr("aecv.workflow.sample_along.prepare_walkers", stop)
    copy = shutil.copytree(load_system("ala2").directory, tmp_path / "copy")
    with (copy / "system.toml").open("a") as file:
        file.write("# a remark\n")
    positions = tmp_path / "sums.pt"
    torch.jit.save(torch.jit.script(Sums()), str(positions))
    for said, words in (
        (("--system", copy, "--cv", ours), "this system of that name has other files"),
        (
            ("--system", copy, "--cv", positions, "--atoms", ATOMS),
            "a bias along it pushes the whole molecule",
        ),
    ):
        out = tmp_path / str(len(words))
        result = run(*said, "--out", out)
        assert "stopped here" in result.stderr
        assert result.stderr.count(words) == 1
        assert (out / "run.log").read_text().count(words) == 1


def test_print_config_and_options_short_for_settings() -> None:
    result = run("--cv", "phi", "--ns", "2", "--seed", "3", "--platform", "CPU", "--print-config")
    settings = tomllib.loads(result.output)
    assert settings["sampling"]["ns"] == 2.0
    assert settings["run"]["seed"] == 3
    assert settings["dynamics"]["platform"] == "CPU"


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("phi,psi", "phi_psi"),
        ("runs/a/iteration_06", "iteration_06"),
        ("x/their cv.pt", "their_cv"),
        ("..", "cv"),
    ],
)
def test_folders_are_named_after_the_cv(what: str, name: str) -> None:
    assert slug(what) == name


def test_the_table_says_what_is_sure() -> None:
    result = Sampled(
        cv="phi", folder="runs/x/along", ns=1.0, steps_per_s=1e4, n_frames=7000, n_effective=612.0,
        delta_f_kj_mol=9.0, delta_f_interval=(8.5, 9.5), passages=12, problems=("one", "two"),
        cv_files=(), cv_note="",
    )  # fmt: skip
    settings = load_system("ala2").settings
    lines = sampled_table(result, settings).splitlines()
    assert lines[3] == "dF         9.00 ±0.50 kJ/mol (95 %), F(0 < phi < 2.2) - F(elsewhere)"
    assert lines[5:7] == ["coverage   one", "           two"]
    unknown = replace(result, delta_f_kj_mol=float("inf"), delta_f_interval=None, problems=())
    lines = sampled_table(unknown, settings).splitlines()
    assert lines[3].startswith("dF         inf kJ/mol (a side without frames)")
    assert lines[5] == "coverage   no problem found"


def test_numbers_of_the_table_are_those_of_the_file(their_run: tuple[Path, Result]) -> None:
    stored = read_json(their_run[0] / "along" / "sampled.json")
    assert f"{stored['n_frames']} under the frozen bias" in their_run[1].stdout
