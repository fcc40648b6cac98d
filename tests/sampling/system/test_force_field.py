"""Nothing that lies in a system's folder is run: what was looked at is what OpenMM gets.

Each try writes a file where it succeeds, which is looked for.
"""

import json
import os
import shutil
import time
from pathlib import Path

import openmm
import pytest
from openmm import app

from aecv.ground.errors import AecvError, MolecularSystemError
from aecv.molecules.spec import load_system
from aecv.sampling.preparing.preparation import Preparation, prepare_structure
from aecv.sampling.system.force_field import read_force_field
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.structure import read_coordinates
from aecv.workflow.new_system.guesses import guess_forcefields
from tests.sampling.system import three_atoms
from tests.sampling.system.three_atoms import POSITIONS, potential_energy, write_system


def code(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


def script(marker: Path, kind: str = "InitializationScript") -> str:
    return f"<ForceField><{kind}>{code(marker)}</{kind}></ForceField>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_system(tmp_path / "tri", "forcefield")


def add(folder: Path, content: str, encoding: str = "utf-8") -> None:
    """Put something into the root of the force field."""
    text = (folder / "tri.xml").read_text(encoding="utf-8")
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    text = head + text.replace("<ForceField>", f"<ForceField>{content}", 1)
    (folder / "tri.xml").write_bytes(text.encode(encoding))


def refused(folder: Path, marker: Path) -> str:
    """What building says; OpenMM alone would have run the code."""
    with pytest.raises(AecvError) as raised:
        build(load_system(folder))
    assert not marker.exists()
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["Script", "InitializationScript"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "cp1252"])
def test_a_script_is_found_in_every_encoding(folder: Path, tmp_path: Path, encoding: str, kind: str) -> None:
    marker = tmp_path / "ran"
    add(folder, f"<{kind}>{code(marker)}</{kind}>", encoding)
    assert "holds a script" in refused(folder, marker)


@pytest.mark.parametrize("encoding", ["utf-7", "nonsense", "shift_jis"])
def test_an_encoding_that_nobody_reads_is_refused(folder: Path, tmp_path: Path, encoding: str) -> None:
    text = (folder / "tri.xml").read_text(encoding="utf-8")
    (folder / "tri.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?>{text}', encoding="utf-8")
    assert "needs an XML file that can be read" in refused(folder, tmp_path / "ran")


@pytest.mark.parametrize(
    ("character", "encoding"),
    [("\u2028", "utf-8"), ("\u2029", "utf-8"), ("\x85", "utf-8"), ("\u00e4", "iso-8859-1"),
     ("\u20ac", "cp1252"), ("\u00e4", "utf-16")],
)  # fmt: skip
def test_an_include_is_found_whatever_its_name(
    folder: Path, tmp_path: Path, character: str, encoding: str
) -> None:
    """Split at U+2028 and joined by a newline, or taken for UTF-8, the name was another one, which was not
    there; OpenMM itself found the file."""
    marker = tmp_path / "ran"
    (folder / f"in{character}ner.xml").write_text(script(marker), encoding="utf-8")
    add(folder, f'<Include file="in{character}ner.xml"/>', encoding)
    assert "holds a script" in refused(folder, marker)


def test_no_include_leads_out_of_openmm_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMM joins a name that is not beside the file to its own folder, with every `..` in it."""
    marker = tmp_path / "ran"
    (tmp_path / "evil.xml").write_text(script(marker), encoding="utf-8")
    up = Path(app.__file__).parent.parts  # that of the data has one part more, and the root none
    folder = write_system(tmp_path / "/".join(["deep"] * len(up)) / "tri", "forcefield")
    name = "../" * len(up) + f"{tmp_path}/evil.xml".lstrip("/")
    monkeypatch.chdir(folder)
    assert not Path(name).exists()  # beside the file there is none
    add(folder, f'<Include file="{name}"/>')
    assert "needs to lie beside it or to be one of OpenMM's files" in refused(folder, marker)


def test_a_name_with_dots_is_none_of_openmm_s() -> None:
    with pytest.raises(
        MolecularSystemError, match=r"force field '\.\./data/tip3p\.xml': is no file, here or"
    ):
        read_force_field(["../data/tip3p.xml"])
    with pytest.raises(MolecularSystemError, match=r"force field 'tip3.xml': .*did you mean 'tip3p.xml'"):
        read_force_field(["tip3.xml"])


def test_an_attribute_that_openmm_evaluates_is_no_code(folder: Path, tmp_path: Path) -> None:
    """Its reader calls eval(useDispersionCorrection)."""
    marker = tmp_path / "ran"
    text = (folder / "tri.xml").read_text(encoding="utf-8")
    for value, is_code in ((f"{code(marker)}", True), ("False", False)):
        changed = text.replace("<NonbondedForce", f'<NonbondedForce useDispersionCorrection="{value}"')
        assert changed != text
        (folder / "tri.xml").write_text(changed, encoding="utf-8")
        if is_code:
            assert "would run it as Python code" in refused(folder, marker)
        else:
            energy = potential_energy(build(load_system(folder)).system, POSITIONS)
            assert energy == pytest.approx(three_atoms.energy(), rel=2e-5)


def test_init_takes_no_force_field_from_the_current_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenMM looks there before it looks at its own files, and aecv init guessed among these by name."""
    marker, here = tmp_path / "ran", tmp_path / "here"
    for name in ("amber14-all.xml", "amber14/tip3pfb.xml", "implicit/obc2.xml", "amber14/protein.ff14SB.xml"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(script(marker), encoding="utf-8")
    monkeypatch.chdir(here)
    topology = read_coordinates(load_system("ala2").structure_path).topology
    for is_solvated in (False, True):
        next(guess_forcefields(topology, is_solvated=is_solvated))
    wanted = Preparation(add_hydrogens=True)
    with pytest.raises(MolecularSystemError, match="holds a script"):  # of a file that is given it is said
        prepare_structure(folder / "tri.pdb", tmp_path / "out.pdb", wanted, forcefield=["implicit/obc2.xml"])
    assert not marker.exists()


def test_what_openmm_s_own_file_includes_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "amber14").mkdir()
    (tmp_path / "amber14/protein.ff14SB.xml").write_text(script(tmp_path / "ran"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    mine, theirs = read_force_field(["amber14-all.xml"]), app.ForceField("amber14-all.xml")
    assert list(mine._templates) == list(theirs._templates)
    assert [type(item) for item in mine.getGenerators()] == [type(item) for item in theirs.getGenerators()]
    assert not (tmp_path / "ran").exists()


def test_the_order_of_files_is_openmm_s(tmp_path: Path) -> None:
    """First those that are named, then what the first includes, what the second includes, and so on."""

    def atom_type(name: str, *includes: str) -> None:
        inside = "".join(f'<Include file="{item}.xml"/>' for item in includes)
        kind = f'<AtomTypes><Type name="{name}" class="{name}" mass="1"/></AtomTypes>'
        (tmp_path / f"{name}.xml").write_text(f"<ForceField>{inside}{kind}</ForceField>", encoding="utf-8")

    atom_type("a", "c", "d")
    atom_type("b", "e", "c")
    atom_type("c", "f")
    for name in "def":
        atom_type(name)
    files = [str(tmp_path / f"{name}.xml") for name in "ab"]
    assert (
        list(read_force_field(files)._atomTypes) == list(app.ForceField(*files)._atomTypes) == list("abcdef")
    )


def test_chains_and_doubled_includes_end(folder: Path) -> None:
    """28 levels of two files, each of which includes both of the next level, have 2^28 ways."""

    def level(name: str, *includes: str) -> None:
        inside = "".join(f'<Include file="{item}"/>' for item in includes)
        (folder / name).write_text(f"<ForceField>{inside}</ForceField>", encoding="utf-8")

    for k in range(28):
        for side in "ab":
            level(f"{side}{k}.xml", *((f"a{k + 1}.xml", f"b{k + 1}.xml") if k < 27 else ()))
    for k in range(1500):
        level(f"c{k}.xml", *((f"c{k + 1}.xml",) if k < 1499 else ("tri.xml",)))  # and a circle
    add(folder, '<Include file="a0.xml"/><Include file="c0.xml"/>')
    began = time.monotonic()
    spec = load_system(folder)
    assert potential_energy(build(spec).system, POSITIONS) == pytest.approx(three_atoms.energy(), rel=2e-5)
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize("kind", ["forcefield", "openmm"])
def test_files_that_would_end_the_process_are_refused(tmp_path: Path, kind: str) -> None:
    """Recursive readers: 100 000 levels, or brackets in a formula, took the process along."""
    folder = write_system(tmp_path / "tri", kind)
    path = folder / ("tri.xml" if kind == "forcefield" else "tri_system.xml")
    text = path.read_text(encoding="utf-8")
    root_end = text.rindex("</")
    deep = "<a>" * 100_000 + "</a>" * 100_000
    path.write_text(text[:root_end] + deep + text[root_end:], encoding="utf-8")
    assert "at most 200 levels" in refused(folder, tmp_path / "ran")
    formula = f'<CustomBondForce energy="{"(" * 100_000}r{")" * 100_000}"/>'
    path.write_text(text[:root_end] + formula + text[root_end:], encoding="utf-8")
    assert "attributes of at most 10000 characters" in refused(folder, tmp_path / "ran")
    bare = text[text.index("?>") + 2 :] if "?>" in text else text
    path.write_text(f'<!DOCTYPE a SYSTEM "file:///etc/hostname">{bare}', encoding="utf-8")
    assert "without entity definitions" in refused(folder, tmp_path / "ran")


@pytest.mark.parametrize("tag", ["Force", "Foo"])
@pytest.mark.parametrize("kind", ["PlumedForce", "TorchForce", "PythonForceProxy", "X\u2028"])
def test_forces_of_plugins_are_not_read(tmp_path: Path, tag: str, kind: str) -> None:
    """OpenMM looks at the type alone, whatever the element is called."""
    folder = write_system(tmp_path / "tri", "openmm")
    path = folder / "tri_system.xml"
    text = path.read_text(encoding="utf-8")
    changed = text.replace("<Forces>", f'<Forces><{tag} type="{kind}" script="DUMPATOMS FILE=x"/>')
    assert changed != text
    path.write_text(changed, encoding="utf-8")
    assert "none of OpenMM's own" in refused(folder, tmp_path / "ran")


def test_forces_with_tables_and_types_of_particles_are_read(tmp_path: Path) -> None:
    folder = write_system(tmp_path / "tri", "openmm")
    system = three_atoms.openmm_system()
    force = openmm.CustomManyParticleForce(3, "0*distance(p1, p2)")
    inner = openmm.CustomCompoundBondForce(2, "t(distance(p1, p2))")
    inner.addTabulatedFunction("t", openmm.Continuous1DFunction([0.0, 0.0, 0.0], 0.0, 1.0))
    inner.addBond([0, 1])
    outer = openmm.CustomCVForce("cv")
    outer.addCollectiveVariable("cv", inner)
    for k in range(3):
        force.addParticle([], k)
    system.addForce(force)
    system.addForce(outer)
    (folder / "tri_system.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    assert build(load_system(folder)).system.getNumForces() == system.getNumForces()


@pytest.mark.parametrize(
    "name", ["\x00.xml", "x" * 5000, "loop.xml", "../out.xml", "/dev/zero", "fifo.xml", ""]
)
@pytest.mark.parametrize("key", ["structure", "forcefield", "starts"])
def test_names_that_are_none_are_said(folder: Path, tmp_path: Path, key: str, name: str) -> None:
    (folder / "loop.xml").symlink_to("loop.xml")
    os.mkfifo(folder / "fifo.xml")
    value = name if key == "structure" else [name]
    if key == "structure":
        value = name.removesuffix(".xml") + ".pdb"
        for item in ("loop", "fifo"):
            shutil.move(folder / f"{item}.xml", folder / f"{item}.pdb")
    override = f"system.{key}={json.dumps(value)}"
    with pytest.raises(AecvError) as raised:
        build(load_system(folder, overrides=[override]))
    assert "Errno" not in str(raised.value)
