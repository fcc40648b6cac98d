"""What finished stages wrote, and whether it is still that: STAGE.done beside the files.

    STAGE.done    what the stage was made from, size and SHA-256 of every file that it wrote, and a seal

Small files are hashed whenever a run is looked at, large ones when they are read.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from aecv.ground.errors import StoreError
from aecv.ground.files import sha256
from aecv.ground.forms import Count, in_form
from aecv.ground.sealed import read_sealed

STAGES = ("starts", "sampling", "learning", "analysis", "pictures")
"""In the order of the work; other files that end in .done are somebody else's."""
SMALL = 1 << 20
"""Bytes up to which a file is hashed though nobody reads it: a thousandth of a second."""
LARGE = 1 << 29
"""Bytes from which on a file that is read in parts alone is not hashed; a resumed run hashes all."""


def _is_inside(name: str) -> str:
    """The name of a file in a folder or below it, and nowhere else."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or any(c in name for c in "\\\0:\n"):
        raise ValueError("needs the name of a file in the folder")
    return name


_Name = Annotated[str, AfterValidator(_is_inside)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class StageRecord(BaseModel):
    """STAGE.done.

    Attributes:
        inputs: what the stage was made from: names and hashes or numbers.
        outputs: SHA-256 per file, by its name in the folder.
        sizes: in bytes; runs of earlier versions have none.
        run: what the run's manifest said that may not change, as a hash; "" in earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, Any]
    outputs: dict[_Name, _Digest]
    sizes: dict[_Name, Count] = {}
    run: str = ""


def read_stage(path: Path) -> StageRecord:
    """A STAGE.done.

    Raises:
        StoreError: when it is missing or damaged, with what to do.
    """
    try:
        status = path.stat()
        return _stage(path, status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError as error:
        raise StoreError(f"{path}: needs what the stage wrote down at its end ({error.strerror})") from error


@lru_cache(maxsize=1024)
def _stage(path: Path, *_: int) -> StageRecord:
    try:
        return in_form(read_sealed(path), StageRecord, source=str(path))
    except StoreError as error:
        raise StoreError(f"{error}; restore it, or delete it to have the stage done again") from error


def stages_of(folder: Path) -> list[Path]:
    """STAGE.done of every finished stage of a folder."""
    return [path for stage in STAGES if (path := folder / f"{stage}.done").is_file()]


def state_of(path: Path, record: StageRecord, name: str, *, hash_up_to: int | None = None) -> str:
    """`is missing`, `has changed` or `is cut off` of a file that a stage wrote; "" where it is as it was.

    Args:
        path: the file.
        name: in the record.
        hash_up_to: of a larger file [bytes] the size alone counts; None for none.
    """
    try:
        status = path.stat()
    except OSError:
        return "is missing"
    size = record.sizes.get(name, status.st_size)
    if status.st_size != size:
        return "has changed" if status.st_size > size else "is cut off"
    if hash_up_to is not None and size > hash_up_to:
        return ""
    found = _digest(path, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
    return "" if found == record.outputs[name] else "has changed"


@lru_cache(maxsize=4096)
def _digest(path: Path, *_: int) -> str:
    """Of a file that was not written since."""
    try:
        return sha256(path)
    except OSError:  # it may not be read
        return ""


def checked(path: Path) -> Path:
    """The path of a file of a run, which is as the stage that wrote it left it; of any other file, the path.

    Raises:
        StoreError: when it is missing, cut off or has changed since, or what the stage wrote down is damaged.
    """
    for folder in (path.parent, path.parent.parent):  # a stage may write into folders below its own
        name = path.relative_to(folder).as_posix()
        for done in stages_of(folder):
            record = read_stage(done)
            if name in record.outputs and (state := state_of(path, record, name, hash_up_to=LARGE)):
                raise StoreError(f"{path}: {told(state, done.stem)}; restore it from a copy, or {RESUME}")
    return path


RESUME = "let aecv iterate or aecv sample go on with --resume, which makes again what it can"


def told(state: str, stage: str) -> str:
    """A state as a message has it."""
    return f"{state} since {stage} wrote it"


def damages(run: Path) -> Iterator[str]:
    """Of every stage of a run what is missing, cut off or changed, a sentence each.

    Files larger than `SMALL` are held against their size alone, so that a look takes no time.
    """
    for done in (done for folder in sorted(run.glob("*/")) for done in stages_of(folder)):
        place = done.parent.relative_to(run)
        try:
            record = read_stage(done)
        except StoreError as error:
            yield str(error)
            continue
        for name in record.outputs:
            if state := state_of(done.parent / name, record, name, hash_up_to=SMALL):
                yield f"{place}/{name}: {told(state, done.stem)}"
