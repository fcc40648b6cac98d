"""The floors hold, and `import aecv` stays light."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import aecv

REPOSITORY = Path(__file__).resolve().parent.parent
HEAVY = (
    "torch",
    "openmm",
    "mdtraj",
    "numba",
    "pymbar",
    "scipy",
    "pydantic",
    "matplotlib",
    "distributed",
    "plotly",
    "jinja2",
)


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules in memory after a statement in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = {**os.environ, "PYTHONPATH": str(Path(aecv.__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    return set(result.stdout.split())


def test_import_aecv_loads_nothing_heavy():
    assert loaded_by("import aecv; aecv.__version__").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("aecv.numerics.kernels.encoder_kernels", ("torch", "openmm", "mdtraj", "matplotlib")),
        ("aecv.ground.settings", ("torch", "openmm", "mdtraj", "matplotlib", "numba", "scipy")),
    ],
)
def test_low_floors_load_only_what_they_need(module, unwanted):
    assert loaded_by(f"import {module}").isdisjoint(unwanted)


def test_pictures_leave_pyplot_alone():
    """pyplot would choose a backend and keep every figure in memory."""
    code = "import sys, aecv.results.plots; assert 'matplotlib.pyplot' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(Path(aecv.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


def test_version_is_that_of_the_project():
    try:
        metadata.version("aecv")
    except metadata.PackageNotFoundError:
        pytest.skip('aecv is not installed, so it has no version; pip install -e ".[test]"')
    with open(REPOSITORY / "pyproject.toml", "rb") as handle:
        assert aecv.__version__ == tomllib.load(handle)["project"]["version"]


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="load_vc"):
        aecv.load_vc  # noqa: B018


def test_imports_go_down_the_floors_only(tmp_path):
    """The contracts in pyproject.toml; imports inside functions count too."""
    command = Path(sysconfig.get_path("scripts")) / "lint-imports"
    if not command.exists():
        pytest.skip('import-linter is not installed; pip install -e ".[test]"')
    result = subprocess.run(
        [command, "--config", REPOSITORY / "pyproject.toml", "--no-cache"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=REPOSITORY,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_every_room_is_under_a_floor():
    """A new top-level module of the package needs a line in the layers."""
    told = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in told if contract["type"] == "layers")
    known = {name for layer in layers for name in re.findall(r"aecv\.(\w+)", layer)}
    package = REPOSITORY / "aecv"
    rooms = {
        item.stem for item in package.iterdir() if item.suffix == ".py" or (item / "__init__.py").exists()
    }
    assert rooms - {"__init__"} <= known


def test_names_of_rooms_say_what_is_inside():
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "tools"}
    assert not [path for path in (REPOSITORY / "aecv").rglob("*.py") if path.stem in vague]


def test_above_models_a_cv_is_loaded_with_a_look_at_its_run():
    """`models` knows no runs: its load_cv would take a file that has changed since its stage wrote it."""
    pattern = re.compile(r"cv_files import .*\bload_cv\b|cv_files\.load_cv")
    files = (path for room in ("workflow", "commands") for path in (REPOSITORY / "aecv" / room).rglob("*.py"))
    assert [path.name for path in files if pattern.search(path.read_text())] == ["cv_of_run.py"]


def stored(tree: ast.AST) -> set[str]:
    """Names of the functions, classes, variables and attributes that a file defines."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def foreign_private_names(text: str, theirs: set[str]) -> list[str]:
    """Private names of others in a test: imports, attributes, and texts that monkeypatch takes for one."""
    tree = ast.parse(text)
    own = stored(tree)
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("aecv", "benchmarks")):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            whose = node.value.id if isinstance(node.value, ast.Name) else ""
            if whose != "os" and not (whose == "self" and node.attr in own):
                found.append(node.attr)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("setattr", "delattr"):
            texts = [part.value for part in node.args if isinstance(part, ast.Constant)]
            found += [text.rpartition(".")[2] for text in texts if isinstance(text, str)]
    return sorted({name for name in found if re.match("_[A-Za-z]", name)} & theirs)


def test_tests_use_public_names():
    """What is worth a test has a public name in its room, or is met through the public door."""
    rooms = (path for room in ("aecv", "benchmarks") for path in (REPOSITORY / room).rglob("*.py"))
    theirs = set().union(*(stored(ast.parse(path.read_text())) for path in rooms))
    uses = {
        path.name: foreign_private_names(path.read_text(), theirs)
        for path in (REPOSITORY / "tests").rglob("*.py")
    }
    assert {name: found for name, found in uses.items() if found} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from aecv.workflow.loop import _Loop",
        "engine._context.setPositions(x)",
        "super()._make(1)",
        'patch.setattr("aecv.workflow.loop._Loop._make", stop)',
        'patch.setattr(loop, "_make", stop)',
    ],
)
def test_a_private_name_is_seen(line):
    assert foreign_private_names(line, {"_Loop", "_context", "_make"}) != []
    assert foreign_private_names(line, set()) == []


def test_private_names_of_a_test_of_its_own_are_its_own():
    text = "class Counting:\n    def begin(self):\n        self._make = 1\n        return self._make"
    assert foreign_private_names(text, {"_make"}) == []
