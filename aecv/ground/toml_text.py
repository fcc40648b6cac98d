"""TOML of others as plain values, with one kind of error for whatever its parser stumbles over."""

import re
import tomllib
from typing import Any

MOST_CHARACTERS = 16_000_000
MOST_PARTS = 64
"""Of a dotted key: tomllib takes a time that grows with their square, 12 s for 100 000."""
_PART = r"""\s{0,20}(?:[\w-]{1,200}|"[^"\n]{0,200}"|'[^'\n]{0,200}')\s{0,20}\."""
_LONG_KEY = re.compile(rf"(?:{_PART}){{{MOST_PARTS}}}")


def parse_toml(text: str) -> dict[str, Any]:
    """The content of TOML.

    Raises:
        ValueError: when it is none, too long, nested too deeply, or holds numbers or letters that nothing can
            take.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"more than {MOST_CHARACTERS} characters")
    if _LONG_KEY.search(text):
        raise ValueError(f"a key of more than {MOST_PARTS} parts")
    try:
        text.encode("utf-8")  # half a letter, as a command line can hold it, cannot be printed or written
        found = tomllib.loads(text)
        repr(found)  # hexadecimal numbers may be larger than what can be printed
    except RecursionError as error:
        raise ValueError("brackets nested too deeply") from error
    return found
