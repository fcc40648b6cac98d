"""One model and one location per atom of a structure file, and in words what was chosen.

OpenMM takes the first of alternate locations, joins chains between which TER is missing, and lays frames that
END parts into one molecule; nothing is said of any of it.
"""

import io
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from openmm.app.internal.pdbx.reader.PdbxReader import PdbxReader
from openmm.app.internal.pdbx.writer.PdbxWriter import PdbxWriter

from aecv.ground.errors import listed

_ATOMS = ("ATOM", "HETATM")
_OF_A_MODEL = (*_ATOMS, "TER", "ANISOU", "SIGATM", "SIGUIJ", "MODEL", "ENDMDL")


@dataclass(frozen=True, kw_only=True)
class Tidied:
    """The text of a structure file for OpenMM.

    Attributes:
        text: of the same format; the file's own where nothing had to be chosen.
        n_models: models or frames in the file.
        notes: what was chosen.
    """

    text: str
    n_models: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Record:
    """One atom's line: the key of its residue, and how it is called."""

    key: Hashable
    title: str
    residue: str
    atom: str
    location: str
    occupancy: float


def tidy_pdb(text: str) -> Tidied:
    """A PDB file's first model, of each residue the location of the highest occupancy, chains ended.

    Of equal occupancies the first location is taken; heavy atoms that the residue's location lacks are taken
    where they are, hydrogens are not: these belong to the other location's place. Frames that END parts
    count as models where all have the same atoms.
    """
    lines, n_models, notes = _first_model(text.splitlines())
    rows = [row for row, line in enumerate(lines) if line.startswith(_ATOMS)]
    records = [_pdb_record(lines[row]) for row in rows]
    kept, chosen = _choose(records)
    taken = [records[k] for k in sorted(kept)]
    notes += [*chosen, *_namesakes(taken), *_unseen(taken)]
    dropped = {row for k, row in enumerate(rows) if k not in kept}
    for k, row in enumerate(rows):
        if records[k].location:
            lines[row] = f"{lines[row][:16]} {lines[row][17:]}"
    ends = _ends_unmarked(lines, rows, records)
    if ends:
        notes.append(f"chains ended after {listed(ends.values())}, where OXT ends them and TER is missing")
    tidied = []
    for row, line in enumerate(lines):
        if row not in dropped:
            tidied.append(line)
        if row in ends:
            tidied.append("TER")
    return Tidied(text="\n".join(tidied) + "\n", n_models=n_models, notes=tuple(notes))


def tidy_cif(text: str) -> Tidied:
    """The same of an mmCIF file, whose models and chains have names of their own."""
    containers: list = []
    PdbxReader(io.StringIO(text)).read(containers)
    atoms = containers[0].getObj("atom_site") if containers else None
    if atoms is None:
        return Tidied(text=text)
    column = {name: atoms.getAttributeIndex(name) for name in atoms.getAttributeList()}
    rows = atoms.getRowList()
    records = [_cif_record(row, column) for row in rows]
    n_models = (
        len({row[column["pdbx_PDB_model_num"]] for row in rows}) if "pdbx_PDB_model_num" in column else 1
    )
    notes = [_of_models(n_models)] if n_models > 1 else []
    kept, chosen = _choose(records)
    notes += [*chosen, *_unseen([records[k] for k in sorted(kept)])]
    if not any(record.location for record in records):
        return Tidied(text=text, n_models=n_models, notes=tuple(notes))
    for row in rows:
        row[column["label_alt_id"]] = "."
    atoms.setRowList([row for k, row in enumerate(rows) if k in kept])
    out = io.StringIO()
    PdbxWriter(out).write(containers)
    return Tidied(text=out.getvalue(), n_models=n_models, notes=tuple(notes))


def _pdb_record(line: str) -> _Record:
    name = line[17:21].strip()
    number = (line[22:26] + line[26:27]).strip()
    try:
        occupancy = float(line[54:60])
    except ValueError:
        occupancy = 1.0
    return _Record(
        key=(line[21:22], number),
        title=f"{name} {number}",
        residue=name,
        atom=line[12:16].strip(),
        location=line[16:17].strip(),
        occupancy=occupancy,
    )


def _cif_record(row: Sequence[str], column: dict[str, int]) -> _Record:
    def value(*names: str, unknown: str = "") -> str:
        found = next((row[column[name]] for name in names if name in column), unknown)
        return unknown if found in (".", "?") else found

    name = value("auth_comp_id", "label_comp_id")
    number = value("auth_seq_id", "label_seq_id") + value("pdbx_PDB_ins_code")
    return _Record(
        key=(value("pdbx_PDB_model_num"), value("label_asym_id"), value("auth_asym_id"), number),
        title=f"{name} {number}",
        residue=name,
        atom=value("auth_atom_id", "label_atom_id"),
        location=value("label_alt_id"),
        occupancy=float(value("occupancy", unknown="1")),
    )


def _first_model(lines: list[str]) -> tuple[list[str], int, list[str]]:
    """Lines without those of later models, the number of models, and a note of them."""
    block, blocks, ended = 0, [], False
    for line in lines:
        if line.startswith(_ATOMS) and ended:
            block, ended = block + 1, False
        ended = ended or line.startswith("END")
        blocks.append(block)
    if block == 0:
        return lines, 1, []
    models: list[list[str]] = [[] for _ in range(block + 1)]
    for line, number in zip(lines, blocks, strict=True):
        if line.startswith(_ATOMS):
            models[number].append(line[12:27])
    named = any(line.startswith("MODEL") for line in lines)
    if not named and any(atoms != models[0] for atoms in models):
        return lines, 1, []  # an END that stands between two molecules
    pairs = zip(lines, blocks, strict=True)
    kept = [line for line, number in pairs if number == 0 or not line.startswith(_OF_A_MODEL)]
    return kept, len(models), [_of_models(len(models))]


def _of_models(count: int) -> str:
    return f"{count} models or frames in the file: the first one is taken"


def _choose(records: list[_Record]) -> tuple[set[int], list[str]]:
    """Which records are taken, and words on residues where there was a choice."""
    kept, titles = set(range(len(records))), []
    for _, grouped in groupby(range(len(records)), key=lambda k: records[k].key):
        rows = list(grouped)
        shares = _shares([records[k] for k in rows])
        if len(shares) < 2:
            continue
        best = max(shares, key=lambda location: shares[location])
        chosen = [k for k in rows if records[k].location == best]
        name = records[chosen[0]].residue
        own = {records[k].atom for k in chosen}
        seen: dict[str, int] = {}
        for k in rows:
            record = records[k]
            if not record.location or record.location == best:
                continue
            kept.discard(k)
            if record.residue == name and record.atom not in own and not _is_hydrogen(record):
                # an atom of other locations alone: the one most often seen
                other = seen.get(record.atom)
                if other is None or record.occupancy > records[other].occupancy:
                    seen[record.atom] = k
        kept |= set(seen.values())
        titles.append(f"{records[chosen[0]].title} {best} ({_percent(shares, best)})")
    if not titles:
        return kept, []
    return kept, [
        f"alternate locations: of {len(titles)} residue{'s' if len(titles) > 1 else ''} the one of the "
        f"highest occupancy is taken, of equal ones the first: {listed(titles)}"
    ]


def _shares(records: list[_Record]) -> dict[str, float]:
    """Mean occupancy per location, in the order of the file; of hydrogens where there is nothing else, since
    programs that add them write 0."""
    found: dict[str, list[float]] = {}
    located = [record for record in records if record.location]
    heavy = [record for record in located if not _is_hydrogen(record)]
    for record in heavy or located:
        found.setdefault(record.location, []).append(record.occupancy)
    # six digits: the means of equal occupancies are equal
    return {location: round(sum(values) / len(values), 6) for location, values in found.items()}


def _percent(shares: dict[str, float], best: str) -> str:
    others = ", ".join(f"{name} {share:.2f}" for name, share in shares.items() if name != best)
    return f"{shares[best]:.2f}; {others}"


def _namesakes(records: Sequence[_Record]) -> Iterator[str]:
    """Atoms of one name in a residue, of which OpenMM keeps the last alone."""
    found: list[str] = []
    for _, grouped in groupby(records, key=lambda record: (record.key, record.residue)):
        names: set[str] = set()
        for record in grouped:
            if record.atom in names:
                found.append(f"{record.atom} of {record.title}")
            names.add(record.atom)
    if found:
        yield (
            f"{len(found)} atoms have the name of another one in their residue, of which only the last is "
            f"taken: {listed(found)}; give each a name of its own"
        )


def _is_hydrogen(record: _Record) -> bool:
    return record.atom.lstrip("0123456789").startswith(("H", "D"))


def _unseen(records: Sequence[_Record]) -> Iterator[str]:
    """Heavy atoms that an experiment did not see; programs that write 0 for all of them say nothing."""
    heavy = [record for record in records if not _is_hydrogen(record)]
    unseen = [record for record in heavy if record.occupancy == 0]
    if 0 < len(unseen) < 0.5 * len(heavy):
        titles = dict.fromkeys(record.title for record in unseen)
        yield f"{len(unseen)} atoms have occupancy 0, placed without being seen: of {listed(titles)}"


def _ends_unmarked(lines: list[str], rows: list[int], records: list[_Record]) -> dict[int, str]:
    """Last lines of residues with OXT that amino acids of the same chain follow, and these residues."""
    found = {}
    residues = [list(group) for _, group in groupby(range(len(rows)), key=lambda k: records[k].key)]
    for here, following in pairwise(residues):
        names = {records[k].atom for k in following}
        if (
            any(records[k].atom == "OXT" for k in here)
            and {"N", "CA", "C"} <= names
            and lines[rows[here[-1]]][21:22] == lines[rows[following[0]]][21:22]
            and not any(lines[row].startswith("TER") for row in range(rows[here[-1]], rows[following[0]]))
        ):
            found[rows[here[-1]]] = records[here[0]].title
    return found
