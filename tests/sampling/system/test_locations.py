"""One model and one location per atom: what is taken of a file that has several, and that it is said."""

from pathlib import Path

import numpy as np
import pytest

from aecv.ground.errors import MolecularSystemError
from aecv.molecules.spec import load_system
from aecv.sampling.system.locations import tidy_pdb
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.structure import Coordinates, openmm_name, read_coordinates, residue_title
from tests.sampling.system.three_atoms import write_system


def atom(
    name: str, residue: str, number: str, x: float, *, location: str = "", occupancy: float = 1.0
) -> str:
    """A line of a PDB file; the number may end in an insertion code."""
    number, code = (number[:-1], number[-1]) if number[-1].isalpha() else (number, " ")
    return (
        f"ATOM      1  {name:<3}{location or ' '}{residue:>3} A{number:>4}{code}   "
        f"{x:8.3f}{0.0:8.3f}{0.0:8.3f}{occupancy:6.2f}  0.00           {name[0]}"
    )


def backbone(residue: str, number: str, x: float, *, oxt: bool = False, **more: object) -> list[str]:
    names = ("N", "CA", "C", "O", *(("OXT",) if oxt else ()))
    return [atom(name, residue, number, x + k, **more) for k, name in enumerate(names)]  # type: ignore[arg-type]


def read(path: Path, lines: list[str]) -> Coordinates:
    path.write_text("\n".join([*lines, "END", ""]), encoding="utf-8")
    return read_coordinates(path)


def test_the_location_of_the_highest_occupancy_is_taken_and_said(tmp_path: Path) -> None:
    lines = [
        *backbone("ALA", "1", 0.0),
        *backbone("ALA", "2", 10.0, location="A", occupancy=0.3),
        *backbone("ALA", "2", 20.0, location="B", occupancy=0.7),
        atom("CB", "ALA", "2", 30.0, location="A", occupancy=0.3),
    ]
    found = read(tmp_path / "x.pdb", lines)
    # CB is in A alone, and stays
    np.testing.assert_allclose(found.positions[4:, 0], [2.0, 2.1, 2.2, 2.3, 3.0])
    (note,) = found.notes
    assert "of 1 residue the one of the highest occupancy is taken" in note
    assert "ALA 2 B (0.70; A 0.30)" in note


def test_hydrogens_neither_decide_nor_come_from_another_location(tmp_path: Path) -> None:
    """Programs that add them write occupancy 0, and where one of A lay, B has none: 0.9 is what A has."""
    lines = [
        *backbone("ALA", "2", 10.0, location="A", occupancy=0.9),
        *(atom(name, "ALA", "2", 15.0, location="A", occupancy=0.0) for name in ("H", "HA", "HB1", "HB2")),
        *backbone("ALA", "2", 20.0, location="B", occupancy=0.5),
        atom("HX", "ALA", "2", 25.0, location="B", occupancy=0.0),
    ]
    found = read(tmp_path / "x.pdb", lines)
    assert [a.name for a in found.topology.atoms()] == ["N", "CA", "C", "O", "H", "HA", "HB1", "HB2"]
    np.testing.assert_allclose(found.positions[:4, 0], [1.0, 1.1, 1.2, 1.3])


def test_of_equal_occupancies_the_first_location_is_taken(tmp_path: Path) -> None:
    lines = [
        *backbone("ALA", "2", 10.0, location="A", occupancy=0.1),
        *backbone("ALA", "2", 20.0, location="B", occupancy=0.1),
    ]
    assert read(tmp_path / "x.pdb", lines).positions[0, 0] == pytest.approx(1.0)


def test_of_two_residues_in_one_place_the_likelier_one_is_taken_alone(tmp_path: Path) -> None:
    lines = [
        *backbone("SER", "2", 10.0, location="A", occupancy=0.4),
        atom("OG", "SER", "2", 15.0, location="A", occupancy=0.4),
        *backbone("THR", "2", 20.0, location="B", occupancy=0.6),
        atom("CG2", "THR", "2", 25.0, location="B", occupancy=0.6),
    ]
    found = read(tmp_path / "x.pdb", lines)
    assert [a.name for a in found.topology.atoms()] == ["N", "CA", "C", "O", "CG2"]
    assert [residue_title(r) for r in found.topology.residues()] == ["THR 2"]


def test_locations_of_an_mmcif_file(tmp_path: Path) -> None:
    columns = (
        "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_seq_id "
        "pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy auth_seq_id auth_asym_id pdbx_PDB_model_num"
    )
    head = "data_X\nloop_\n_atom_site." + columns.replace(" ", "\n_atom_site.") + "\n"
    rows = [
        f"ATOM {k} {name[0]} {name} {location} ALA A 1 B {x} 0.0 0.0 {share} 5 A {model}"
        for model in (1, 2)
        for k, (name, location, x, share) in enumerate(
            [("N", ".", 1.0, 1.0), ("CA", "A", 2.0, 0.2), ("CA", "B", 3.0, 0.8)], 1
        )
    ]
    path = tmp_path / "x.cif"
    path.write_text(head + "\n".join(rows) + "\n#\n", encoding="utf-8")
    found = read_coordinates(path)
    np.testing.assert_allclose(found.positions[:, 0], [0.1, 0.3])
    assert [residue_title(r) for r in found.topology.residues()] == ["ALA 5B"]
    assert found.n_models == 2
    assert found.notes[0] == "2 models or frames in the file: the first one is taken"
    assert "ALA 5B B (0.80; A 0.20)" in found.notes[1]


@pytest.mark.parametrize("named", [True, False])
def test_of_several_models_or_frames_the_first_is_taken(tmp_path: Path, named: bool) -> None:
    """MODEL parts them, or END alone, as VMD and MDAnalysis write."""
    lines: list[str] = []
    for model in range(3):
        lines += [f"MODEL{model + 1:9d}"] if named else []
        lines += [*backbone("ALA", "1", 10.0 * model), *backbone("ALA", "2", 10.0 * model)]
        lines += ["ENDMDL" if named else "END"]
    found = read(tmp_path / "x.pdb", lines)
    assert len(found.positions) == 8
    assert found.n_models == 3
    assert found.notes == ("3 models or frames in the file: the first one is taken",)


def test_an_end_between_two_molecules_parts_no_frames(tmp_path: Path) -> None:
    found = read(tmp_path / "x.pdb", [*backbone("ALA", "1", 0.0), "END", *backbone("GLY", "9", 20.0)])
    assert len(found.positions) == 8
    assert found.notes == ()


def test_a_chain_ends_with_its_oxt_where_ter_is_missing(tmp_path: Path) -> None:
    lines = [*backbone("ALA", "1", 0.0, oxt=True), *backbone("GLY", "1A", 20.0)]
    found = read(tmp_path / "x.pdb", lines)
    assert found.topology.getNumChains() == 2
    assert found.notes == ("chains ended after ALA 1, where OXT ends them and TER is missing",)
    ended = read(tmp_path / "y.pdb", [*lines[:5], "TER", *lines[5:]])
    assert (ended.topology.getNumChains(), ended.notes) == (2, ())


def test_atoms_of_one_name_and_unseen_ones_are_told(tmp_path: Path) -> None:
    lines = [
        *backbone("ALA", "1", 0.0),
        atom("CA", "ALA", "1", 9.0),
        atom("CB", "ALA", "1", 9.0, occupancy=0.0),
    ]
    found = read(tmp_path / "x.pdb", lines)
    assert "1 atoms have the name of another one in their residue" in found.notes[0]
    assert "CA of ALA 1" in found.notes[0]
    assert found.notes[1] == "1 atoms have occupancy 0, placed without being seen: of ALA 1"


def test_numbers_as_people_and_programs_write_them(tmp_path: Path) -> None:
    """Negative ones, insertion codes, hybrid-36 (A000 is 10000), and a remark that is no UTF-8."""
    lines = [line for number in ("-5", "5", "5A", "A000") for line in backbone("ALA", number, 0.0)]
    path = tmp_path / "x.pdb"
    text = "\n".join(["REMARK  \u00e5ngstr\u00f6m", *lines, "END", ""])
    path.write_bytes(text.encode("latin-1"))
    titles = [residue_title(residue) for residue in read_coordinates(path).topology.residues()]
    assert titles == ["ALA -5", "ALA 5", "ALA 5A", "ALA 10000"]


def test_a_crystal_of_one_angstrom_is_no_box(tmp_path: Path) -> None:
    """The Protein Data Bank's way to say that there is no crystal: NMR, electron microscopy."""
    cell = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1"
    found = read(tmp_path / "x.pdb", [cell, *backbone("ALA", "1", 0.0)])
    assert found.box is None
    assert found.topology.getPeriodicBoxVectors() is None


def test_a_file_without_choices_stays_as_it_is() -> None:
    path = load_system("ala2").structure_path
    text = path.read_text(encoding="utf-8")
    assert tidy_pdb(text).text.split() == text.split()
    assert read_coordinates(path).notes == ()


def test_names_of_gromacs_and_of_openmm_are_the_same_atoms(tmp_path: Path) -> None:
    """OpenMM's reader of topologies calls HH31 of ACE H1."""
    assert openmm_name("ACE", "HH31") == "H1"
    folder = write_system(tmp_path / "tri", "gromacs")
    for path in (folder / "itp" / "molecule.itp", folder / "tri.gro"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("TRI ", "ACE ").replace("  H1", "HH31").replace("  H2", "HH32"))
    (folder / "tri.top").write_text((folder / "tri.top").read_text().replace("TRI 1", "ACE 1"))
    names = [a.name for a in build(load_system(folder)).topology.atoms()]
    assert names == ["O", "H1", "H2"]
    swapped = (folder / "tri.gro").read_text().replace("HH32", " CH3")
    (folder / "tri.gro").write_text(swapped)
    with pytest.raises(MolecularSystemError, match=r"atom 3 is CH3, there it is H2 of ACE 1"):
        build(load_system(folder))


def test_the_given_cases(shared_data: Path) -> None:
    cases = shared_data.parent / "cases" / "altloc_icode"
    found = read_coordinates(cases / "alt.pdb")
    gamma = next(a.index for a in found.topology.atoms() if a.name == "CG" and a.residue.id == "2")
    assert found.positions[gamma, 1] == pytest.approx(1.796)
    assert "TYR 2 B (0.70; A 0.30)" in found.notes[0]
    titles = [residue_title(r) for r in read_coordinates(cases / "icode.pdb").topology.residues()]
    assert titles[4:8] == ["GLU 5", "THR 5A", "GLY 5B", "THR 5C"]
