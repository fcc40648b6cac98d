"""The command itself: its exit codes, and what it says about bad input of every kind."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import aecv
from aecv.commands.iterate import main
from aecv.molecules.spec import load_system

STRUCTURE = "ala2.pdb"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def own_system(tmp_path: Path) -> Path:
    """A copy of ala2 that a test may spoil."""
    return Path(shutil.copytree(load_system("ala2").directory, tmp_path / "own"))


def spoil(system: Path, old: str, new: str, name: str = "system.toml") -> None:
    text = (system / name).read_text()
    assert old in text
    (system / name).write_text(text.replace(old, new, 1))


def test_print_config_is_toml_that_is_read_again(tmp_path: Path) -> None:
    printed = run("--system", "ala2", "--print-config", "--set", "training.restarts=7", "--seed", "11")
    assert printed.exit_code == 0
    settings = tomllib.loads(printed.output)
    assert settings["training"]["restarts"] == 7
    assert settings["run"]["seed"] == 11
    config = tmp_path / "config.toml"
    config.write_text(printed.output)
    again = run("--system", "ala2", "--config", str(config), "--print-config")
    assert again.output == printed.output


def test_options_are_short_for_settings() -> None:
    printed = run(
        "--system", "ala2", "--iters", "3", "--ns", "1.5", "--platform", "CPU", "--starts", "one",
        "--engine", "torchforce",
        "--pool", "none", "--stop-when-converged", "--final-ns", "0.25", "--print-config",
        "--set", "autoencoder.latent=5", "--bias-components", "3,0",
    )  # fmt: skip
    settings = tomllib.loads(printed.output)
    assert settings["run"]["iterations"] == 3
    assert settings["sampling"]["ns"] == 1.5
    assert settings["dynamics"]["platform"] == "CPU"
    assert settings["starts"]["mode"] == "one"
    assert settings["sampling"]["engine"] == "torchforce"
    assert settings["pool"]["mode"] == "none"
    assert settings["convergence"]["stop"] is True
    assert settings["production"]["ns"] == 0.25
    assert settings["autoencoder"]["bias_components"] == [0, 3]


def test_no_production_is_not_the_same_as_none_said() -> None:
    """0 means none; left out it is not in the configuration, and twice --ns."""
    none = tomllib.loads(run("--system", "ala2", "--final-ns", "0", "--print-config").output)
    assert none["production"]["ns"] == 0.0
    assert "ns" not in tomllib.loads(run("--system", "ala2", "--print-config").output)["production"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--system'"),
        (("--system", "ala2", "--itres", "3"), "No such option"),
        (("--system", "ala2", "--iters", "0"), "Invalid value for '--iters'"),
        (("--system", "ala2", "--ns", "-1"), "Invalid value for '--ns'"),
        (("--system", "ala2", "--final-ns", "-1"), "Invalid value for '--final-ns'"),
        (("--system", "ala2", "--final-ns", "long"), "Invalid value for '--final-ns'"),
        (("--system", "ala2", "--starts", "many"), "Invalid value for '--starts'"),
        (("--system", "ala2", "--engine", "gromacs"), "Invalid value for '--engine'"),
    ],
)
def test_wrong_use_ends_with_2(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--system", "ala3"), "did you mean 'ala2'?"),
        (("--system", "ala2", "--set", "training.restart=3"), "did you mean 'restarts'?"),
        (("--system", "ala2", "--set", "trainin.restarts=3"), "did you mean 'training'?"),
        (("--system", "ala2", "--set", "training.restarts"), "needs SECTION.KEY=VALUE"),
        (("--system", "ala2", "--set", "training.restarts=many"), "training.restarts"),
        (("--system", "ala2", "--set", "sampling.ns=nan"), "sampling.ns"),
        (
            ("--system", "ala2", "--set", "convergence.s_min=1.2"),
            'convergence.s_min: needs "bootstrap" or a number between 0 and 1, got 1.2',
        ),
        (("--system", "ala2", "--set", "convergence.s_min=often"), "between 0 and 1, got 'often'"),
        (("--system", "ala2", "--set", "convergence.s_min=true"), "between 0 and 1, got True"),
        (("--system", "ala2", "--set", "convergence.replicas=1"), "convergence.replicas"),
        (("--system", "ala2", "--set", "dynamics.timestep_ps=-1"), "dynamics.timestep_ps"),
        (("--system", "ala2", "--set", "sampling.frame_ps=0.00015"), "multiple of dynamics.timestep_ps"),
        (("--system", "ala2", "--set", "delta_f.observable=phy"), "did you mean 'phi'?"),
        (("--system", "ala2", "--set", "sampling.engine=gromacs"), "sampling.engine"),
        (("--system", "ala2", "--config", "no/such.toml"), "needs a readable TOML file"),
        (("--system", "ala2", "--platform", "Refrence"), "did you mean 'Reference'?"),
        (("--system", "ala2", "--starts", "given"), "starts.mode 'given' needs system.starts"),
        (("--system", "ala2", "--ns", "0.0001"), "no frame every"),
        (("--system", "ala2", "--final-ns", "0.0001"), "production 0: 0.1 ps over 4 walkers hold no frame"),
        (("--system", "ala2", "--set", "production.ns=nan"), "production.ns"),
        (("--system", "ala2", "--final-ns", "1e12"), "production.ns is 1e+18 time steps"),
        (("--system", "ala2", "--set", "production.replicates=5"), "production.replicates"),
        (("--system", "ala2", "--set", "cv.atoms=nme CA"), "cv.atoms"),
        (("--system", "ala2", "--set", "cv.atoms=name ZZ"), "cv.atoms"),
        (("--system", "ala2", "--set", "cv.atoms=name CA CB"), "at least 3 atoms"),
        (
            ("--system", "ala2", "--set", 'observables.phi.atoms=["name C","name N","name CA","all"]'),
            "phi",
        ),
        (("--system", "ala2", "--set", "eabf.tau_ps=0.001"), "at least 20 time steps"),
        (("--system", "ala2", "--set", "autoencoder.latent=3"), "at most 31 per component"),
        (
            ("--system", "ala2", "--set", "autoencoder.latent=5", "--bias-components", "0,1,2"),
            "eabf.bins 50 with 3 autoencoder.bias_components give 125000 bins, more than 30000; at most 31",
        ),
        (("--system", "ala2", "--set", "autoencoder.latent=9"), "less than or equal to 8, got 9"),
        (
            ("--system", "ala2", "--set", "autoencoder.latent=5", "--bias-components", "0,5"),
            "bias_components [0, 5] needs indices below autoencoder.latent 5, 0 to 4",
        ),
        (("--system", "ala2", "--bias-components", "2"), "below autoencoder.latent 2, 0 to 1"),
        (("--system", "ala2", "--bias-components", "1,1"), "needs indices that differ, got '1,1'"),
        (("--system", "ala2", "--bias-components", "0,1,2,3"), "needs 1 to 3 indices"),
        (("--system", "ala2", "--bias-components", "best"), 'needs "auto" or indices from 0, such as 0,3'),
        (("--system", "ala2", "--bias-components", "0,-1"), "got '0,-1'"),
        (("--system", "ala2", "--model", "aee"), "autoencoder.model: needs one of ae"),
        (("--system", "mueller_brown", "--set", "autoencoder.latent=4"), "moves in a plane"),
        (("--system", "ala2", "--set", "autoencoder.hidden=[0]"), "autoencoder.hidden"),
        (("--system", "ala2", "--ns", "1e12"), "sampling.ns is 1e+18 time steps"),
        (
            ("--system", "ala2", "--set", "sampling.equilibration_ps=1e9"),
            "equilibration_ps is 1e+12",
        ),
        (("--system", "ala2", "--set", "starts.hot_ps=1e300"), "starts.hot_ps is"),
        (("--system", "ala2", "--set", "dynamics.timestep_ps=1e-300"), "time steps of dynamics.timestep_ps"),
    ],
)
def test_bad_input_ends_with_1_and_one_clear_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = run(*arguments, "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    error = result.stderr.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[dynamics]", "[dynamics", "needs a readable TOML file"),
        ('structure = "ala2.pdb"', 'structure = "other.pdb"', "other.pdb"),
        ('structure = "ala2.pdb"', 'structure = "../ala2.pdb"', "structure"),
        ("amber99sbildn.xml", "amber99sbildm.xml", "did you mean 'amber99sbildn.xml'?"),
        ('nonbonded = "NoCutoff"', 'nonbonded = "PME"', "needs a box"),
        ("temperature_k = 300.0", "temprature_k = 300.0", "did you mean 'temperature_k'?"),
    ],
)
def test_a_bad_system_file_is_explained(
    own_system: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    spoil(own_system, old, new)
    result = run("--system", str(own_system), "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert message in result.stderr.strip().splitlines()[-1]


def test_a_structure_with_nan_or_without_a_hydrogen_is_explained(own_system: Path, tmp_path: Path) -> None:
    lines = (own_system / STRUCTURE).read_text().splitlines(keepends=True)
    atoms = [index for index, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    spoiled = lines.copy()
    spoiled[atoms[3]] = spoiled[atoms[3]][:30] + "     nan" + spoiled[atoms[3]][38:]
    (own_system / STRUCTURE).write_text("".join(spoiled))
    result = run("--system", str(own_system), "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert "needs finite positions, those of atom H3 of residue ACE 1 (index 3) are not" in result.stderr
    del lines[atoms[0]]
    (own_system / STRUCTURE).write_text("".join(lines))
    result = run("--system", str(own_system), "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert "force field" in result.stderr
    (own_system / STRUCTURE).write_text("REMARK nothing\n")
    result = run("--system", str(own_system), "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert result.stderr.endswith(f"{STRUCTURE}: has no atoms\n")


def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    result = run("--system", "ala2", "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert "needs a folder for the run, found a file" in result.stderr


def test_too_few_effective_frames_say_what_to_change(tmp_path: Path) -> None:
    result = run(
        "--system", "ala2", "--out", str(tmp_path / "run"), "--iters", "1", "--ns", "0.02",
        "--set", "sampling.frame_ps=0.02", "--set", "starts.mode=one",
        "--set", "training.min_effective_frames=5000",
    )  # fmt: skip
    assert result.exit_code == 1
    # known from the lengths alone, so that it is said before anything is written
    assert "iteration 0: training needs >= 5000 frames" in result.stderr
    assert "at most 1000 of 1000 in 0.02 ns" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_length_that_does_not_fit_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run("--system", "ala2", "--ns", "0.0001", "--out", str(folder)).exit_code == 1
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "a b"])
def test_names_that_become_paths_are_checked(name: str) -> None:
    result = run("--system", "ala2", "--set", f'system.name="{name}"', "--print-config")
    assert result.exit_code == 1
    assert "system.name" in result.stderr


@pytest.mark.parametrize("name", ["time", "xi_1", '"a/b"'])
def test_observables_do_not_take_reserved_names(name: str) -> None:
    value = '{kind="distance", atoms=["name CA", "name CB"]}'
    result = run("--system", "ala2", "--set", f"observables.{name}={value}", "--print-config")
    assert result.exit_code == 1
    assert "needs a name of letters" in result.stderr


def test_version() -> None:
    assert run("--version").output == f"aecv, version {aecv.__version__}\n"


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = run("--system", "ala2", "--starts", "given", "--debug", "--out", str(tmp_path))
    assert "Traceback" in result.stderr


def test_a_full_disk_is_one_line_and_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails with ENOSPC keeps the run, and --resume goes on from it."""
    import errno

    import numpy as np

    small = ("--iters", "1", "--ns", "0.02", "--set", "sampling.frame_ps=0.02", "--set", "starts.mode=one",
             "--set", "sampling.segment_ps=1", "--set", "training.max_epochs=2",
             "--set", "training.restarts=1")  # fmt: skip
    command = ("--system", "ala2", "--out", str(tmp_path / "run"), *small)
    savez, calls = np.savez, []

    def full_disk(path: Path, **arrays: object) -> None:
        calls.append(path)
        if len(calls) == 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        savez(path, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        result = run(*command)
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "--resume" in result.stderr
    assert not list((tmp_path / "run").rglob("*.part*"))
    assert run(*command, "--resume").exit_code == 0


def test_a_disk_that_is_full_at_once_leaves_nothing_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aecv.ground.files.os.replace", full_disk)
    result = run("--system", "ala2", "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert "cannot be written (No space left on device); free space or choose another --out" in result.stderr
    assert "--resume" not in result.stderr


def test_help_and_module_run_without_heavy_libraries() -> None:
    code = (
        "import sys, click.testing\n"
        "from aecv.commands.iterate import main\n"
        "result = click.testing.CliRunner().invoke(main, ['--help'])\n"
        "assert result.exit_code == 0 and '--resume' in result.output, result.output\n"
        "print(sorted({'torch', 'openmm', 'numba', 'matplotlib', 'mdtraj'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_of_the_system_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the operating system refuses outside our own writers."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(Path, "mkdir", refuse)
    result = run("--system", "ala2", "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert "cannot be written (Permission denied); make its folder writable" in result.stderr
    monkeypatch.undo()
    monkeypatch.setattr("aecv.molecules.spec.load_system", refuse)
    result = run("--system", "ala2", "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert "Permission denied: 'somewhere'; nothing was written yet" in result.stderr


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        (KeyboardInterrupt(), "interrupted; continue with the same command and --resume"),
        (PermissionError(13, "denied"), "denied; mend that, then continue with --resume"),
    ],
)
def test_resume_is_advised_only_where_there_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: BaseException, advice: str
) -> None:
    """Before run.json is written there is nothing to go on with."""

    def refuse(*_: object, **__: object) -> None:
        raise refusal

    monkeypatch.setattr("aecv.workflow.loop.iterate", refuse)
    command = ("--system", "ala2", "--out", str(tmp_path))
    for begun in (False, True):
        if begun:
            (tmp_path / "run.json").touch()
        result = run(*command)
        assert result.exit_code in (1, 130)
        assert ("nothing was written yet" in result.stderr) is not begun
        assert (advice in result.stderr) is begun
