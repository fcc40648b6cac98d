"""The command family: names without imports, and one way to end for all of them."""

import errno
import importlib
import os
import signal
import subprocess
import sys
import tomllib

import click
import pytest
from click.testing import CliRunner, Result

from aecv.commands.cli import COMMANDS, main
from aecv.commands.command import Command
from aecv.commands.options import ENGINES, finite
from aecv.ground.errors import SettingsError
from aecv.sampling.engines.choice import engine_names
from tests.conftest import REPOSITORY

HEAVY = "{'plotly', 'jinja2', 'torch', 'openmm', 'numba', 'matplotlib', 'mdtraj', 'pydantic', 'numpy'}"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="aecv")


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys, click.testing, aecv.commands.cli\n"
        "result = click.testing.CliRunner().invoke(aecv.commands.cli.main, ['--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        f"print(sorted({HEAVY} & set(sys.modules)), 'aecv.iterate' in sys.modules)\n"
        "print(result.output)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, _, output = done.stdout.partition("\n")
    assert first == "[] False"
    listed = output.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line[2:3].isalpha()] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_without_heavy_libraries(name: str) -> None:
    code = (
        "import sys, click.testing, aecv.commands.cli\n"
        f"result = click.testing.CliRunner().invoke(aecv.commands.cli.main, ['{name}', '--help'])\n"
        "assert result.exit_code == 0 and '--debug' in result.output, result.output\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_of_its_own(name: str) -> None:
    module = importlib.import_module(f"aecv.commands.{name}")
    assert isinstance(module.main, Command)


def test_python_m_aecv_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aecv", "iterate", "--system", "ala2", "--print-config", "--seed", "5"],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert tomllib.loads(done.stdout)["run"]["seed"] == 5
    with open(REPOSITORY / "pyproject.toml", "rb") as handle:
        scripts = tomllib.load(handle)["project"]["scripts"]
    assert scripts == {"aecv": "aecv.commands.cli:main", "aecv-iterate": "aecv.commands.iterate:main"}


def test_a_command_that_is_not_there() -> None:
    result = run("itrate")
    assert result.exit_code == 2
    assert "no command 'itrate'; did you mean 'iterate'?" in result.stderr
    assert run("--version").output.startswith("aecv, version ")


def test_engines_of_the_option_are_those_of_the_settings() -> None:
    assert set(engine_names()) <= set(ENGINES)


def ending_with(action: object, *arguments: str, resumes: bool = False) -> Result:
    """A command whose body does something, and how it ends."""

    @click.command(cls=Command)
    def body(**_: object) -> None:
        action()  # type: ignore[operator]

    if resumes:
        click.option("--resume", is_flag=True)(body)
    return CliRunner().invoke(body, list(arguments), catch_exceptions=False)


def raising(error: BaseException) -> object:
    def action() -> None:
        raise error

    return action


def test_errors_end_with_1_and_one_line() -> None:
    result = ending_with(raising(SettingsError("place: needs a, got b; do c")))
    assert (result.exit_code, result.stderr) == (1, "error: place: needs a, got b; do c\n")
    full = OSError(errno.ENOSPC, "No space left on device")
    assert ending_with(raising(full)).stderr == "error: [Errno 28] No space left on device\n"
    assert ending_with(raising(full), resumes=True).stderr.endswith("; nothing was written yet\n")
    assert "Traceback" in ending_with(raising(full), "--debug").stderr


def test_a_fault_of_aecv_shows_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        ending_with(lambda: 1 / 0)


def test_a_reader_that_went_away_is_no_error() -> None:
    """`aecv ... | head` ends without a word about --resume."""
    result = ending_with(raising(BrokenPipeError(errno.EPIPE, "Broken pipe")), resumes=True)
    assert result.exit_code == 1
    assert result.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_with_130(number: signal.Signals) -> None:
    # what a shell starts in the background ignores Ctrl-C, the tests among it
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        check_signal(number)
    finally:
        signal.signal(signal.SIGINT, ctrl_c)


def check_signal(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def killed() -> None:
        os.kill(os.getpid(), number)

    result = ending_with(killed, resumes=True)
    assert result.exit_code == 130
    assert result.stderr == "interrupted; nothing was written yet\n"
    assert ending_with(killed).stderr == "interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "words",
    [
        ("init", "mine", "--solvate"),
        ("fes", "run", "--least-visits"),
        ("fes", "run", "--range", "0"),
        ("fes", "run", "--region", "phi", "0"),
        ("sample", "--range", "0"),
    ],
)
def test_numbers_are_finite(words: tuple[str, ...], value: str) -> None:
    """Comparisons with NaN are false, so that it passes every bound of click's own type."""
    result = run(*words, value)
    assert result.exit_code == 2
    assert "not a finite number" in result.stderr or "is not in the range" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_takes_a_number_that_may_be_infinite(name: str) -> None:
    command = importlib.import_module(f"aecv.commands.{name}").main
    for option in command.params:
        for kind in getattr(option.type, "types", [option.type]):
            assert not isinstance(kind, click.types.FloatParamType) or type(kind) is type(finite()), (
                option.name
            )
