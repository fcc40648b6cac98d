"""JSON files with a seal, which tells whether they are still what was written.

A seal is the SHA-256 of what else stands in the file; one that was edited or damaged does not fit it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aecv.ground.errors import StoreError
from aecv.ground.files import read_json, write_json
from aecv.ground.forms import in_form

SEAL = "seal"


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with its seal, in one piece."""
    unsealed = {key: value for key, value in content.items() if key != SEAL}
    write_json(path, unsealed | {SEAL: fingerprint(unsealed)})


def read_sealed(path: Path) -> dict[str, Any]:
    """The fields of a JSON file without its seal; of an earlier version, which has none, as they are.

    Raises:
        StoreError: when it is missing, no JSON, or has changed since it was written.
    """
    found = in_form(read_json(path), dict[str, Any], source=str(path))
    seal = found.pop(SEAL, None)
    if seal is not None and seal != fingerprint(found):
        raise StoreError(f"{path}: has changed since it was written (its seal does not fit)")
    return found


def fingerprint(content: Any) -> str:
    """SHA-256 of plain values, whatever their order in a file."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
