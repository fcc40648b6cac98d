"""A TorchScript file as the archive of texts and numbers that it is: looked at, with nothing of it run."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aecv.ground.errors import CVError, first_line
from aecv.ground.files import parse_json

_FILE_OPERATIONS = re.compile(rb"\b(from_file|save)\b")
"""All of TorchScript's operations that take the name of a file, however they are called."""


def metadata_inside(path: Path) -> dict[str, Any] | None:
    """cv.json inside a .pt; None where it has none.

    Raises:
        CVError: when it is no TorchScript, or its cv.json is no description.
    """
    with _opened(path, None) as archive:
        names = archive.namelist()
        found = [name for name in names if name.endswith("/extra/cv.json")]
        content = parse_json(archive.read(found[0])) if found else None
    if not any(name.endswith("/constants.pkl") for name in names):
        raise CVError(
            f"{path}: needs a complete TorchScript file, got an archive without a program, perhaps weights "
            "alone; export the model with torch.jit.script and torch.jit.save"
        )
    if found and not isinstance(content, dict):
        raise CVError(f"{path}: its cv.json needs to be the description of a CV, got {content!r:.40}")
    return content


def check_code(path: Path, content: bytes | None = None) -> None:
    """Refuse a program that reads or writes files.

    Args:
        path: the file.
        content: of it, where it has been read already.

    Raises:
        CVError: then, and when it is no archive.
    """
    with _opened(path, content) as archive:
        for item in archive.infolist():
            # torch finds names in whatever case
            if item.filename.lower().endswith(".py") and (use := _FILE_OPERATIONS.search(archive.read(item))):
                raise CVError(
                    f"{path}: uses '{use[0].decode()}' of TorchScript, which reads or writes files and is "
                    "nothing that a CV needs; do not trust it, or export it without"
                )


@contextmanager
def _opened(path: Path, content: bytes | None) -> Iterator[zipfile.ZipFile]:
    if content is None and not path.is_file():
        raise CVError(f"{path}: needs a TorchScript file, there is none; check the path")
    try:
        with zipfile.ZipFile(path if content is None else io.BytesIO(content)) as archive:
            yield archive
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise CVError(
            f"{path}: needs a complete TorchScript file (torch.jit.save), got: {first_line(error)}; export "
            "the model again with torch.jit.script, or delete it"
        ) from error
