"""Writing files so that a reader never sees half of one, and naming their contents by hash."""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.errors import StoreError, WriteError, first_line, suggestion

PARTIAL = ".*.part*"
"""Pattern of the temporary names; a process that was killed leaves such files behind."""

_REMEDIES = {
    errno.ENOSPC: "free space or choose another --out",
    errno.EDQUOT: "free space, your quota is used up, or choose another --out",
    errno.EACCES: "make its folder writable or choose another --out",
    errno.EPERM: "make its folder writable or choose another --out",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""What helps against a system's refusal to write; all else asks for another place."""


def cannot_write(path: Path, error: OSError) -> WriteError:
    """The error that says why a file or folder cannot be written, and what helps in that case."""
    reason = error.strerror or str(error)
    return WriteError(path, reason, _REMEDIES.get(error.errno or 0, "choose another --out"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the name `path`, on failure it goes.

    The temporary name keeps the suffix, since several writers choose their format by it.

    Raises:
        WriteError: when the file cannot be written (disk full, read-only folder ...).
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "r+b") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the name `path`, on failure it goes.

    An empty folder at `path` stays and gets the contents one by one: a shell may stand in it.

    Raises:
        StoreError: when there is something at `path` already, other than an empty folder; WriteError when it
            cannot be made.
    """
    check_new(path)
    target = path.resolve()  # "." has no name
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if target.is_dir():
            for item in sorted(temporary.iterdir()):
                os.replace(item, target / item.name)
        else:
            os.replace(temporary, target)
    except WriteError as error:  # of a file inside, whose folder is a temporary one
        raise WriteError(path, error.reason, error.remedy) from error
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new(path: Path) -> None:
    """Refuse the place of a new folder where there is something already, other than an empty folder.

    Raises:
        StoreError: where there is.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StoreError(f"{path}: exists already; delete it or choose another --out")


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that on success takes the place of the folder at `path`, which then goes.

    Raises:
        WriteError: when it cannot be made; the folder at `path` is still there.
    """
    target = path.resolve()
    new, old = (target.with_name(f".{target.name}.{os.getpid()}.part-{end}") for end in ("new", "old"))
    with new_folder(new) as folder:
        yield folder
    try:
        os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            os.replace(old, target)
            raise
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise cannot_write(path, error) from error
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one piece; NaN and infinity become null, so that every reader can parse it."""
    write_text(path, json.dumps(_plain(content), indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StoreError: when the file is missing or malformed.
    """
    if reason := why_no_file(path):
        raise StoreError(f"{path}: needs a readable JSON file, {reason}")
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: needs a readable JSON file, got: {first_line(error)}") from error


def parse_json(text: str | bytes) -> Any:
    """The content of JSON.

    Raises:
        ValueError: when it is none, is nested too deeply, or holds numbers or letters that nothing can take.
    """
    try:
        found = json.loads(text)
        # half a letter, as "\ud800" makes one, cannot be printed or written
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("brackets nested too deeply") from error
    return found


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write an .npz archive of plain arrays in one piece."""
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def read_arrays(path: Path, form: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read every array of an .npz archive; pickled objects are refused.

    Args:
        form: which arrays there have to be, see `check_form`; None for any.

    Raises:
        StoreError: when the file is missing, truncated or not such an archive.
    """
    return dict(StoredArrays(path, form))


class MissingArrayError(StoreError, KeyError):
    """An archive lacks an array."""

    __str__ = Exception.__str__  # that of KeyError puts the message in quotes


class StoredArrays(Mapping[str, Any]):
    """The arrays of an .npz archive, read when they are asked for and not kept; pickled objects are refused.

    Args:
        path: the archive.
        form: which arrays there have to be, see `check_form`; None for any.

    Raises:
        StoreError: when the file is missing, truncated or not such an archive, or an array is damaged;
            MissingArrayError for one that is not there.
    """

    def __init__(self, path: Path, form: Mapping[str, str] | None = None) -> None:
        self._path = path
        with _opened(path) as archive:
            self._headers = {name: _header(archive, name) for name in archive.files}
        if form is not None:
            check_form(path, self._headers, form)

    def __getitem__(self, name: str) -> Any:
        if name not in self._headers:
            raise MissingArrayError(
                f"{self._path}: needs an array named '{name}', has {', '.join(self._headers)}"
            )
        with _opened(self._path) as archive:
            return archive[name]

    def __contains__(self, name: object) -> bool:
        return name in self._headers

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except MemoryError as error:  # the sizes that an archive tells are held against it before
        raise StoreError(f"{path}: does not fit into the memory ({first_line(error)})") from error
    except Exception as error:  # zipfile, numpy and the OS raise a dozen kinds for a damaged archive
        raise StoreError(
            f"{path}: needs a readable .npz archive of plain arrays, got: {first_line(error)}"
        ) from error


_Header = tuple[np.dtype[Any], tuple[int, ...]]
"""Kind of numbers and shape of an array."""


def _header(archive: Any, name: str) -> _Header:
    """What an archive says of an array, without reading it.

    Raises:
        ValueError: when that is no array of numbers or texts, or of another size than what follows.
    """
    member = f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name
    with archive.zip.open(member) as file:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        try:
            shape, _, dtype = read(file)
        except (MemoryError, RecursionError) as error:  # of Python's own parser
            raise ValueError(f"array '{name}' has no readable header") from error
        size = archive.zip.getinfo(member).file_size - file.tell()
    # a shape of 1e12 numbers would be given memory before the first of them is looked for
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"array '{name}' says {dtype} of shape {shape}, which is not what follows")
    return dtype, shape


def check_form(path: Path, headers: Mapping[str, _Header], form: Mapping[str, str]) -> None:
    """Hold the arrays of an archive against what they have to be.

    Args:
        headers: kind of numbers and shape per array.
        form: per array the kind (f a number, i a whole one, b yes or no) and its axes, such as "f n 3": a
            digit is a length, a letter one that all axes of that letter share; 0 only for a capital.
            A name that ends in ? may be missing; in * it stands for all that begin so.

    Raises:
        StoreError: naming the first array that is missing or of another form.
    """
    lengths: dict[str, int] = {}
    for key, text in form.items():
        name, (kind, *axes) = key.rstrip("?*"), text.split()
        found = [item for item in headers if item.startswith(name)] if key[-1] == "*" else [name]
        for item in found:
            if item not in headers:
                if key[-1] == "?":
                    continue
                raise MissingArrayError(f"{path}: needs an array named '{item}'")
            dtype, shape = headers[item]
            fits = len(shape) == len(axes) and dtype.kind in {"f": "fiu", "i": "iu", "b": "b"}[kind]
            for axis, length in zip(axes, shape, strict=False):
                wanted = int(axis) if axis.isdigit() else lengths.setdefault(axis, length)
                fits = fits and length == wanted and (length > 0 or axis.isupper())
            if not fits:
                raise StoreError(
                    f"{path}: array '{item}' needs the form '{text}', is {dtype} of shape {shape}"
                )


def why_no_file(path: Path) -> str:
    """What is wrong with a path where a file is needed, in a clause with the name that may have been meant;
    empty where there is a file or a device."""
    try:
        if path.is_dir():
            return "found a folder; name a file in it"
        if path.exists():
            return "" if path.is_file() or path.is_char_device() else "found what is no file"
        beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    except (OSError, ValueError) as error:  # no name at all, or one that may not be looked at
        return f"got: {first_line(error)}"
    return f"there is none{suggestion(path.name, beside)}"


def is_file(path: Path) -> bool:
    """Whether there is a file of that name; False also for what can be no name (too long, or with a NUL)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, behind all links, lies in a folder that has none."""
    try:
        return path.resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):  # no name at all, or links in a circle
        return False


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Numbers and containers that json can write; non-finite floats become None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
