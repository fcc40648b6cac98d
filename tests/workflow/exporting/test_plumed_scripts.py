"""The inputs in plumed_scripts/ are what the exporter writes from the CVs beside them."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from aecv.models.cvs.cv_files import load_cv
from aecv.models.cvs.encoder_map import EncoderMap
from tests.results.exports.plumed_reader import evaluate

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPTS = REPOSITORY / "plumed_scripts"
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_inputs", SCRIPTS / "make_inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("system", ["ala2", "mueller_brown"])
def test_inputs_are_what_the_exporter_writes(system, tmp_path):
    """Words are the same, and numbers to 1e-12: the last digit is the processor's."""
    script().write_inputs(system, tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    kept = [path.relative_to(SCRIPTS / system) for path in (SCRIPTS / system).rglob("*/*") if path.is_file()]
    assert made == sorted(kept)
    for name in made:
        if name.suffix == ".pt":
            continue
        ours, theirs = ((root / name).read_text() for root in (tmp_path, SCRIPTS / system))
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs), name
        numbers = [np.array(NUMBER.findall(text), dtype=float) for text in (ours, theirs)]
        np.testing.assert_allclose(*numbers, rtol=1e-9, atol=1e-12, err_msg=str(name))


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("ala2/pytorch", 1e-5),
        ("ala2/ann", 1e-12),
        ("ala2/plain", 1e-12),
        ("mueller_brown/ann", 1e-12),
        ("mueller_brown/plain_metad", 1e-12),
    ],
)
def test_inputs_give_the_cv(name, allowed):
    cv = load_cv(SCRIPTS / Path(name).parent / "cv.json")
    rng = np.random.default_rng(0)
    assert isinstance(cv.map, EncoderMap)
    frames = np.zeros((100, cv.atom_indices.max() + 1, 3))
    start = cv.map.encoder.reference if cv.map.encoder.is_aligned else np.zeros((1, 3))
    spread = 0.02 if cv.map.encoder.is_aligned else 0.5
    frames[:, cv.atom_indices] = start + spread * rng.standard_normal((100, cv.n_atoms, 3))
    values = evaluate(SCRIPTS / name, frames)
    xi = np.stack([values[f"xi_{c + 1}"] for c in range(cv.n_components)], axis=1)
    assert np.abs(xi - cv.of_frames(frames)).max() < allowed


def test_the_folder_stays_small():
    sizes = {path: path.stat().st_size for path in SCRIPTS.rglob("*") if path.suffix != ".pyc"}
    assert max(sizes.values()) < 100_000
    assert sum(sizes.values()) < 400_000


def test_conda_environment_asks_for_what_pip_asks_for():
    names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    listed = set(re.findall(r"^  - ([\w.,<>=-]+)$", (REPOSITORY / "environment.yml").read_text(), re.M))
    with open(REPOSITORY / "pyproject.toml", "rb") as handle:
        project = tomllib.load(handle)["project"]
    for requirement in project["dependencies"]:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert names.get(name[0], name[0]) + requirement[name.end() :] in listed
    assert f"python{project['requires-python']}" in listed
    assert {"plumed", "openmm-plumed"} <= listed
