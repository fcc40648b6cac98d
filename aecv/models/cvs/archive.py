"""A TorchScript file as the archive of texts and numbers that it is: looked at, with nothing of it run."""

import hashlib
import io
import pickletools
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from aecv.ground.errors import CVError, first_line
from aecv.ground.files import parse_json

_FILE_OPERATIONS = re.compile(rb"\b(from_file|save)\b")
"""All of TorchScript's operations that take the name of a file, however they are called."""
_AT_LOAD = b"__setstate__"
_MANGLED = re.compile(r"[./]___torch_mangle_\d+")
_MOST_UNPACKED = 256 << 20
_DESCRIPTION = "/extra/cv.json"


def metadata_inside(path: Path) -> dict[str, Any] | None:
    """cv.json inside a .pt; None where it has none.

    Raises:
        CVError: when it is no TorchScript, or its cv.json is no description.
    """
    with _opened(path) as archive:
        names = archive.namelist()
        found = [name for name in names if name.endswith(_DESCRIPTION)]
        content = parse_json(archive.read(found[0])) if found else None
    if not any(name.endswith("/constants.pkl") for name in names):
        raise CVError(
            f"{path}: needs a complete TorchScript file, got an archive without a program, perhaps weights "
            "alone; export the model with torch.jit.script and torch.jit.save"
        )
    if found and not isinstance(content, dict):
        raise CVError(f"{path}: its cv.json needs to be the description of a CV, got {content!r:.40}")
    return content


def looked_at(path: Path, content: bytes | None = None) -> bytes:
    """A TorchScript file made anew of the members that were looked at: what is read is what was checked.

    torch finds the members of an archive by other rules than Python does, so that a file can show one program
    to each.

    Args:
        path: the file.
        content: of it, where it has been read already.

    Raises:
        CVError: for a program that reads or writes files, one that is said to be aecv's and runs when it is
            loaded, and a file that is no archive.
    """
    new = io.BytesIO()
    with _opened(path, content) as archive, zipfile.ZipFile(new, "w") as copy:
        is_ours = any(name.endswith(_DESCRIPTION) for name in archive.namelist())
        for item in archive.infolist():
            member = archive.read(item)
            if item.filename.lower().endswith(".py"):  # torch finds names in whatever case
                _check_code(path, member, is_ours)
            copy.writestr(zipfile.ZipInfo(item.filename), member)
    return new.getvalue()


def program_hash(content: bytes) -> str:
    """Hexadecimal SHA-256 of what a TorchScript file computes: its code and numbers.

    Not of the description inside, of torch's debugging information, or of the numbers that torch appends to
    the names of classes, which count what a process has compiled before.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    codes = {name: _ordered(text.decode()) for name, text in members.items() if name.endswith(".py")}
    parts = [f"{_MANGLED.sub('', name)} {code}" for name, code in codes.items()]
    for name, data in members.items():
        if name.startswith(("data/", "constants/")):
            parts.append(f"{name} {hashlib.sha256(data).hexdigest()}")
        elif name.endswith(".pkl"):
            parts.append(f"{name} {_objects(data, codes)}")
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()


def _ordered(code: str) -> str:
    """Code with constants in the order of their names; torch writes them in that of a set."""
    runs = groupby(_MANGLED.sub("", code).splitlines(), key=lambda line: " : Final[" in line)
    return "\n".join(line for is_constant, run in runs for line in (sorted(run) if is_constant else run))


def _objects(pickled: bytes, codes: Mapping[str, str]) -> list[object]:
    """What a pickle says, told and not run, with the code of every class where it comes up first."""
    told: list[object] = []
    for operation, value, _ in pickletools.genops(pickled):
        if isinstance(value, str) and value.startswith("__torch__"):
            home = value.split()[0].replace(".", "/")
            told.append(codes.get(f"code/{home}.py"))
            value = _MANGLED.sub("", value)
        told.append((operation.name, value))
    return told


def _check_code(path: Path, code: bytes, is_ours: bool) -> None:
    use = _FILE_OPERATIONS.search(code)
    if use:
        raise CVError(
            f"{path}: uses '{use[0].decode()}' of TorchScript, which reads or writes files and is nothing "
            "that a CV needs; do not trust it, or export it without"
        )
    if is_ours and _AT_LOAD in code:
        raise CVError(
            f"{path}: runs code when it is loaded, which no CV of aecv does; do not trust it, or export the "
            "CV again"
        )


@contextmanager
def _opened(path: Path, content: bytes | None = None) -> Iterator[zipfile.ZipFile]:
    if content is None and not path.is_file():
        raise CVError(f"{path}: needs a TorchScript file, there is none; check the path")
    try:
        with zipfile.ZipFile(path if content is None else io.BytesIO(content)) as archive:
            _check_members(archive.infolist())
            yield archive
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise CVError(
            f"{path}: needs a complete TorchScript file (torch.jit.save), got: {first_line(error)}; export "
            "the model again with torch.jit.script, or delete it"
        ) from error


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    packed = [item for item in members if item.compress_type != zipfile.ZIP_STORED]
    if any(item.compress_type != zipfile.ZIP_DEFLATED for item in packed):
        raise ValueError("an archive that torch did not pack")
    if sum(item.file_size for item in packed) > _MOST_UNPACKED:  # torch packs its code alone
        raise ValueError(f"an archive that unpacks to more than {_MOST_UNPACKED >> 20} MB")
    if len({item.filename for item in members}) < len(members):
        raise ValueError("an archive with two members of the same name")
