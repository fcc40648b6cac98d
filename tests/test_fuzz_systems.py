"""Whatever stands in a system's folder, and is laid over it: a system or an error in words, and no code runs.

Contents are valid ones of a molecule of three atoms with a few edits: of their text, of the tree of an XML
file, of the tables of a TOML file; and what was built to get past a check.
"""

import codecs
import copy
import math
import re
import string
import tomllib
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from time import perf_counter
from typing import Any
from xml.etree import ElementTree

import mdtraj
import pytest
import tomli_w
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from aecv.commands.cli import main
from aecv.ground.layers import load_toml, validate
from aecv.models.inputs.features import read_features
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import build
from tests.sampling.system.three_atoms import FORMATS, write_system
from tests.test_fuzz import EFFORT, KEYS, PIECES, VALID, damaged, edited, problem_of, reads_or_says
from tests.test_fuzz_runs import contents

PLACE = re.compile(r"\btri|\bhostile|--set|overrides|\b[a-z_]+\.[a-z_]+")
"""A file of the folder, the folder, or a setting."""
MARKER = "this-ran"
SCRIPT = f"open({MARKER!r}, 'w').close()"
NAMES = ("hostile.xml", "in\u2028ner.xml", "in\x85ner.xml", "in\u00e4ner.xml", "in\nner.xml", "tri.xml",
         "../tri/hostile.xml", "../hostile.xml", "../" * 40 + "etc/hostname", "amber14-all.xml", "tip3p.xml",
         "../data/tip3p.xml", "/dev/zero", "/dev/stdin", ".", "", "\t", "x" * 300, "absent.xml")  # fmt: skip
"""What an Include may name."""
HOSTILE = [
    "<Script>", "</Script>", f"<Script>{SCRIPT}</Script>",
    f"<InitializationScript>{SCRIPT}</InitializationScript>",
    f'<a:Script xmlns:a="b">{SCRIPT}</a:Script>', f'<Script xmlns="x">{SCRIPT}</Script>',
    f"<script>{SCRIPT}</script>",
    "<!--", "-->", "<![CDATA[", "]]>", "<?x?>", "&#0;", "&#x2028;", "&lt;", "&a;", "<!DOCTYPE a>",
    '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>', "<a>" * 300, "<a>" * 300 + "</a>" * 300,
    "<", ">",
    "/>", '"', "\ufeff", "\x0b", f' useDispersionCorrection="{SCRIPT}"', ' energy="', "(" * 20_000,
    "9" * 5000,
    'type="PlumedForce"', 'type="PythonForce"', *(f'<Include file="{name}"/>' for name in NAMES),
]  # fmt: skip
VALUES = ["", " ", "nan", "-inf", "1e400", "-1", "0", "9" * 5000, "9" * 18, "2147483648", "0x10", "1e-320",
          "tri-O", "\u0663", "True", "x" * 200, "(" * 200, "1/0", SCRIPT, "__import__('os')", "r;r=r",
          "sqrt(-1)", *NAMES]  # fmt: skip
"""Of an attribute."""
ENCODINGS = (
    "utf-8",
    "utf-16",
    "utf-16-le",
    "iso-8859-1",
    "cp1252",
    "utf-7",
    "shift_jis",
    "cp037",
    "idna",
    "rot13",
    "hex",
)


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Code that runs leaves a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARKER).exists()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Per format the files of its folder."""
    found = {}
    for kind in FORMATS:
        folder = write_system(tmp_path_factory.mktemp("original") / "tri", kind)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        found[kind] = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return found


def builds_or_says(folder: Path, files: dict[str, bytes], **layers: Any) -> None:
    """A folder with these files is a system, or an error names one of them, the folder or the key."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    said = problem_of(lambda: build(load_system(folder, **layers)))
    assert not Path(MARKER).exists()
    assert said is None or PLACE.search(said)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_originals_are_systems(kind: str, originals: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    builds_or_says(tmp_path / "tri", originals[kind])
    assert build(load_system(tmp_path / "tri")).n_atoms == 3


@st.composite
def grown(draw: st.DrawFn, root: ElementTree.Element) -> ElementTree.Element:
    """A tree with up to four elements or attributes dropped, doubled, moved, renamed or changed in value."""
    root = copy.deepcopy(root)
    for _ in range(draw(st.integers(1, 4))):
        everything = list(root.iter())
        element, other = draw(st.sampled_from(everything)), draw(st.sampled_from(everything))
        change = draw(
            st.sampled_from(
                ("drop", "double", "copy", "rename", "value", "unset", "text", "script", "include")
            )
        )
        if change == "drop" and len(element):
            element.remove(draw(st.sampled_from(list(element))))
        elif change in ("double", "copy"):
            (element if change == "double" else other).append(copy.deepcopy(element))
        elif change == "rename":
            element.tag = draw(st.sampled_from((other.tag, "Script", "Include", "x")))
        elif change == "value":
            key = draw(st.sampled_from(sorted({*element.attrib, *other.attrib, "useDispersionCorrection"})))
            element.set(key, draw(st.sampled_from([*VALUES, *other.attrib.values()])))
        elif change == "unset" and element.attrib:
            del element.attrib[draw(st.sampled_from(sorted(element.attrib)))]
        elif change == "text":
            element.text = draw(st.sampled_from(VALUES[: -len(NAMES)]))
        elif change == "script":
            kind = draw(st.sampled_from(("Script", "InitializationScript")))
            ElementTree.SubElement(element, kind).text = SCRIPT
        elif change == "include":
            ElementTree.SubElement(element, "Include", file=draw(st.sampled_from(NAMES)))
    return root


@st.composite
def xml_of(draw: st.DrawFn, content: bytes) -> bytes:
    """An XML file that is or was meant to be like a valid one."""
    kind = draw(st.sampled_from(("tree", "text", "encoded", "bytes")))
    if kind == "bytes":
        return draw(damaged(content))
    text = content.decode()
    if kind == "text":
        return draw(edited(text, [*PIECES, *HOSTILE])).encode("utf-8", "surrogatepass")
    root = draw(grown(ElementTree.fromstring(text)))
    if kind == "tree":
        return ElementTree.tostring(root, encoding="utf-8")
    declared, used = draw(st.sampled_from(ENCODINGS)), draw(st.sampled_from(ENCODINGS[:6]))
    mark = draw(st.sampled_from((b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)))
    body = ElementTree.tostring(root, encoding="unicode")
    return mark + f'<?xml version="1.0" encoding="{declared}"?>{body}'.encode(used, "xmlcharrefreplace")


@EFFORT
@given(data=st.data(), kind=st.sampled_from(("forcefield", "openmm")))
def test_an_xml_of_a_system(
    data: st.DataObject, kind: str, originals: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    """Force field or System; beside it lies a script under every name that an Include may have."""
    folder, files = tmp_path / kind / "tri", dict(originals[kind])
    name = "tri.xml" if kind == "forcefield" else "tri_system.xml"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        for other in (*(folder / name for name in NAMES[:5]), folder.parent / "hostile.xml"):
            other.write_text(f"<ForceField><Script>{SCRIPT}</Script></ForceField>", encoding="utf-8")
    files[name] = data.draw(xml_of(files[name]))
    builds_or_says(folder, files)


TEXTS = sorted(
    (kind, name)
    for kind, names in {
        "forcefield": ("tri.pdb",),
        "amber": ("tri.prmtop", "tri.inpcrd"),
        "gromacs": ("tri.top", "itp/ff.itp", "itp/molecule.itp", "tri.gro"),
        "charmm": ("tri.psf", "tri.prm", "tri.pdb"),
    }.items()
    for name in names
)
CARDS = ["[ atoms ]\n", "[ molecules ]\nTRI 9999999\n", "[ bonds ]\n", "#include", '#include "tri.top"\n',
         '#include "../x"\n',
         "#ifdef A\n", "#else\n", "#endif\n", "#define A B\n", "\\\n", ";", "%FLAG ", "%FORMAT(5E16.8)\n",
         "%FORMAT(99999999a9)\n",
         "99999999", "9" * 5000, "-1", " nan ", "HETATM    1  O1  TRI A   1    ", "TER\n", "MODEL 1\n",
         "END\n", "CRYST1",
         "CONECT    1    9\n", " !NATOM\n", "MASS -1 OX 15.999 O\n", "\x00", "\x1a", "\u2028", "\r",
         "\t"]  # fmt: skip
"""Pieces of topologies and structures."""


@EFFORT
@given(data=st.data(), which=st.sampled_from(TEXTS))
def test_topologies_and_structures(
    data: st.DataObject, which: tuple[str, str], originals: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    (kind, name), folder = which, tmp_path / which[0] / "tri"
    whole = originals[kind][name]
    text = edited(whole.decode(), [*PIECES, *CARDS]).map(lambda new: new.encode("utf-8", "surrogatepass"))
    builds_or_says(folder, originals[kind] | {name: data.draw(st.one_of(text, damaged(whole)))})


DEEP = ["[" * 100_000, "[" * 900 + "]" * 900, "{a=" * 100_000, "a" + ".a" * 100_000 + "=1", "9" * 5000,
        "0x" + "f" * 5000,
        "1_" * 3000 + "1", "1e" + "9" * 5000, "2000-02-30", "24:00:00", "1979-05-27T07:32:00Z", '"\\ud800"',
        '"\\U00110000"',
        '"""', "'''", "\x7f", "\r", "\ufeff", "[[", "]]", "[a]\n[a]\n", "a.b=1\na=2\n",
        "[" + "a." * 2000 + "a]\n"]  # fmt: skip
"""What breaks readers of TOML."""
SECTIONS = ["[system]\n", "[cv]\n", "[solvent.a]\n", "[particle]\n", "[observables.a]\n",
            "[solvent]\na=1\n", "[solvent.a.system]\n",
            'potential = "x"\n', 'solvent = "a"\n', 'atoms = "all"\n', 'atoms = "resid 0 and"\n',
            "[[system]]\n",
            "[solvent.a]\nsystem = 1\n", "solvent = {}\n", "solvent = [1]\n"]  # fmt: skip
LEAVES = st.one_of(
    st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=6), st.sampled_from([*VALUES,
    *NAMES]),
    st.just(date(2000, 1, 1)), st.just(time(1, 2)), st.sampled_from([math.nan, math.inf, 0, 1, 10**30]),
)  # fmt: skip
TABLES = st.recursive(
    LEAVES,
    lambda item: st.one_of(
        st.lists(item, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=4), st.sampled_from(["name", "kind", "atoms"])), item, max_size=3
        ),
    ),
    max_leaves=6,
)


@st.composite
def tables(draw: st.DrawFn, fields: dict[str, Any]) -> dict[str, Any]:
    """Settings with up to three keys or sections left out, added, or given any value."""
    fields = copy.deepcopy(fields)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(
            st.sampled_from([fields, *(value for value in fields.values() if isinstance(value, dict))])
        )
        section = next((name for name, value in fields.items() if value is place), "")
        known = [key.split(".")[1] for key in KEYS if key.startswith(f"{section}.")] or sorted(
            {key.split(".")[0] for key in KEYS}
        )
        key = draw(st.one_of(st.sampled_from([*known, *place]), st.text(max_size=5)))
        if draw(st.integers(0, 4)):
            place[key] = draw(TABLES)
        else:
            place.pop(key, None)
    return fields


@st.composite
def toml_of(draw: st.DrawFn, text: str) -> bytes:
    """A TOML file that is or was meant to be like a valid one."""
    kind = draw(st.sampled_from(("tables", "text", "built", "bytes")))
    if kind == "bytes":
        return draw(damaged(text.encode()))
    if kind == "tables":
        return tomli_w.dumps(draw(tables(tomllib.loads(text)))).encode("utf-8", "surrogatepass")
    pieces = [*SECTIONS, *PIECES] if kind == "text" else [*DEEP, *SECTIONS]
    return draw(edited(text, pieces)).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("piece", DEEP, ids=lambda text: repr(text[:12]))
@pytest.mark.parametrize("before", ["", "x = ", "[system]\nname = "])
def test_what_breaks_readers_of_toml(piece: str, before: str, tmp_path: Path) -> None:
    began = perf_counter()
    reads_or_says(load_toml, tmp_path / "tri.toml", before + piece)
    assert perf_counter() - began < 2.0  # a dotted key of 100 000 parts took 12 s


@EFFORT
@given(
    data=st.data(),
    kind=st.sampled_from(("forcefield", "gromacs", "openmm")),
    place=st.sampled_from(("system", "config")),
)
def test_a_toml_of_a_system(
    data: st.DataObject, kind: str, place: str, originals: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    """The system's own, or one that is laid over it."""
    folder, files = tmp_path / kind / "tri", dict(originals[kind])
    valid = files["system.toml"].decode()
    if place == "system":
        files["system.toml"] = data.draw(toml_of(valid))
        builds_or_says(folder, files)
    else:
        config = tmp_path / "tri.toml"
        config.write_bytes(data.draw(toml_of(data.draw(st.sampled_from((valid, VALID))))))
        builds_or_says(folder, files, config=config)


LONG = [*PIECES, *DEEP, *VALUES, "[" * 900, "{}", "[]", "[[]]", "''", '""', "1e309", "0.1\n[cv]\natoms=1"]
PARTS = st.integers(0, len(LONG) - 1)  # by number: Hypothesis writes strategies with all that is in them
ASSIGNED = st.one_of(
    st.text(max_size=30), PARTS.map(LONG.__getitem__), LEAVES.map(str), TABLES.map(repr),
)  # fmt: skip
ASSIGNMENTS = st.one_of(
    st.builds("{}={}".format, st.sampled_from([*KEYS, *(key.split(".")[1] for key in KEYS)]), ASSIGNED),
    st.builds("{}={}".format, st.sampled_from(["system", "cv", "observables", "observables.a",
    "observables.a.kind",
                                               "solvent", "solvent.a.b", "particle", "particle.potential",
                                               "a" + ".a" * 5000,
                                               "system.name", "cv.atoms.a", "..", "."]), ASSIGNED),
    st.builds("{}={}".format, st.text(string.ascii_lowercase + "._ \x1b\u202e", max_size=20), ASSIGNED),
    st.text(max_size=40),
)  # fmt: skip


@EFFORT
@given(data=st.data(), kind=st.sampled_from(("forcefield", "gromacs", "openmm")))
def test_overrides_of_a_system(
    data: st.DataObject, kind: str, originals: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    """Texts as --set takes them, several of them; or a dict, as Python does."""
    given = data.draw(
        st.one_of(st.lists(ASSIGNMENTS, min_size=1, max_size=3),
        tables(tomllib.loads(originals[kind]["system.toml"].decode())),
                  st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), TABLES, min_size=1,
                  max_size=2))
    )  # fmt: skip
    folder = tmp_path / kind / "tri"
    builds_or_says(folder, originals[kind], overrides=given)


FEATURES = {"features": [{"kind": "distance", "atoms": [1, 2]}, {"kind": "positions", "atoms": ["all"]}]}


@EFFORT
@given(data=st.data(), suffix=st.sampled_from((".toml", ".json")))
def test_features_of_a_model(data: st.DataObject, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"tri{suffix}"
    topology = mdtraj.Topology()
    residue = topology.add_residue("XXX", topology.add_chain())
    for index in range(4):
        topology.add_atom(f"C{index}", mdtraj.element.carbon, residue)
    text = data.draw(toml_of(tomli_w.dumps(FEATURES)) if suffix == ".toml" else contents(FEATURES))
    reads_or_says(lambda path: read_features(path, topology), path, text)


@EFFORT
@given(texts=st.lists(ASSIGNMENTS, min_size=1, max_size=2))
@example(texts=["dynamics.temperature_k=310", "cv.atoms=['index 4', 'index 6', 'index 8', 'index 14']"])
def test_set_on_the_command_line(texts: list[str]) -> None:
    """Settings that are printed are those of the system, with what was set; an error is one line."""
    arguments = ["iterate", "--system", "ala2", "--print-config", *(f"--set={text}" for text in texts)]
    done = CliRunner().invoke(main, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert done.exit_code in (0, 1, 2)
    if done.exit_code == 0:
        Path("printed.toml").write_text(done.output, encoding="utf-8")
        settings = load_system("ala2", overrides=texts).settings.model_dump(mode="json", exclude_none=True)
        assert (
            validate(load_toml(Path("printed.toml")), source="x").model_dump(mode="json", exclude_none=True)
            == settings
        )
    else:
        assert done.output.strip()
        assert all(character.isprintable() or character == "\n" for character in done.output)
        if done.exit_code == 1:
            assert done.output.count("\n") == 1
