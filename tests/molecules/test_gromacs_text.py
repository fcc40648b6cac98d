"""A Gromacs topology in one piece: what is listed, and hashed, is what OpenMM reads."""

import time
from pathlib import Path

import pytest
from openmm import app

from aecv.ground.errors import MolecularSystemError
from aecv.molecules.gromacs_text import gromacs_text
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import build
from tests.sampling.system.three_atoms import POSITIONS, energy, potential_energy, write_system


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_system(tmp_path / "tri", "gromacs")


def included(folder: Path, top: str) -> list[str]:
    (folder / "tri.top").write_text(top, encoding="utf-8")
    return [path.name for path in gromacs_text(folder / "tri.top", (folder / "itp",)).included]


def test_nothing_is_left_to_include(folder: Path) -> None:
    whole = gromacs_text(folder / "tri.top", (folder / "itp",))
    assert [path.name for path in whole.included] == ["ff.itp", "molecule.itp"]
    assert "#include" not in [
        line.split()[0] for line in whole.text.splitlines() if line.strip() and "posre" not in line
    ]
    assert potential_energy(build(load_system(folder)).system, POSITIONS) == pytest.approx(energy(), rel=2e-5)


@pytest.mark.parametrize(
    "hidden",
    [
        '#include \\\n"hidden.itp"\n',  # goes on in the next line
        '#inc\\\nlude "hidden.itp"\n',  # is none: OpenMM puts a blank between
        "#include hidden.itp\n",
        "#include <hidden.itp> ; why\n",
        '\t #include\t"hidden.itp"\n',
        '; nothing\u2028#include "hidden.itp"\n',  # is none: a comment, for OpenMM
        '#ifdef A\n#include "b.itp"\n#include "hidden.itp"\n#endif\n',  # is none
        '#define A\n#undef A\n#ifndef A\n#include "hidden.itp"\n#endif\n',
        '#ifdef A\n#undef FLEXIBLE\n#endif\n#ifndef FLEXIBLE\n#include "hidden.itp"\n#endif\n',
        '#ifdef A\n#else\n#include "hidden.itp"\n#endif\n',
        '#include "opens.itp"\n#include "hidden.itp"\n#endif\n',  # is none: what opens.itp began goes on
    ],
)
def test_files_are_those_that_openmm_reads(
    folder: Path, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenMM is asked, by the files that it opens."""
    (folder / "hidden.itp").write_text("; nothing\n", encoding="utf-8")
    (folder / "opens.itp").write_text("#ifdef NOBODY\n", encoding="utf-8")
    text = hidden + (folder / "tri.top").read_text(encoding="utf-8")
    mine = included(folder, text)
    theirs: list[str] = []
    process = app.GromacsTopFile._processFile

    def spy(self: app.GromacsTopFile, file: str) -> None:
        theirs.append(Path(file).name)
        process(self, file)

    monkeypatch.setattr(app.GromacsTopFile, "_processFile", spy)
    app.GromacsTopFile(str(folder / "tri.top"), includeDir=str(folder / "itp"))
    assert mine == theirs[1:]
    theirs.clear()
    assert potential_energy(build(load_system(folder)).system, POSITIONS) == pytest.approx(energy(), rel=2e-5)
    assert theirs == ["whole.top"]


def test_chains_and_doubled_includes_end(folder: Path) -> None:
    (folder / "c1499.itp").write_text("; the end\n", encoding="utf-8")
    for k in range(1499):
        (folder / f"c{k}.itp").write_text(f'#include "c{k + 1}.itp"\n', encoding="utf-8")
    text = (folder / "tri.top").read_text(encoding="utf-8")
    assert len(included(folder, f'#include "c0.itp"\n{text}')) == 1502
    assert build(load_system(folder)).n_atoms == 3
    for k in range(28):
        (folder / f"d{k}.itp").write_text(2 * f'#include "d{k + 1}.itp"\n', encoding="utf-8")
    (folder / "d28.itp").write_text("; the end\n", encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(MolecularSystemError, match="includes more than 5000 files, counting repeats"):
        included(folder, f'#include "d0.itp"\n{text}')
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize("name", ["\x00", "x" * 5000, "sub/../tri.top", "loop.itp"])
def test_names_that_are_none_and_circles_are_said(folder: Path, name: str) -> None:
    (folder / "sub").mkdir()
    (folder / "loop.itp").symlink_to("loop.itp")
    with pytest.raises(
        MolecularSystemError, match=r"line 1: ('.*' includes itself|includes '.*', which is in)"
    ):
        included(folder, f'#include "{name}"\n')


def test_what_is_included_twice_is_there_twice(folder: Path) -> None:
    (folder / "twice.itp").write_text("#ifdef SEEN\nsecond\n#else\n#define SEEN\nfirst\n#endif\n")
    (folder / "tri.top").write_text('#include "twice.itp"\n#include "twice.itp"\n')
    whole = gromacs_text(folder / "tri.top", ())
    assert whole.text.count("first") == 2
    assert whole.text.count("#include") == 0
