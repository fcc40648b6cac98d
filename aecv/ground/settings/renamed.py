"""Settings that had another name before: taken under either, kept under the new one."""

from collections.abc import Mapping
from typing import Any

RENAMED = {("pool", "temper"): "power"}
"""Section and old name -> new name."""


def renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Nested fields with new names for old ones; where both are there the new one counts."""
    found = dict(fields)
    for (section, old), new in RENAMED.items():
        below = found.get(section)
        if isinstance(below, Mapping) and old in below:
            found[section] = {new: below[old]} | {key: below[key] for key in below if key != old}
    return found
