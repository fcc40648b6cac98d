"""Docstrings of aecv are plain text: here they become what Sphinx takes for the same.

`|x|`, `fes_*` and `Q_ of` mean nothing but themselves, and an indented paragraph is a formula.
"""

import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_SPECIAL = re.compile(r"([\\*|])|(?<=\w)(_)(?!\w)")
_NAMES = re.compile(r"^(    \w+)((?:, \w+)+)(?=: )")
_SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Examples?):$")


def _escaped(line: str) -> str:
    """A line whose special signs stand for themselves, but for code in backticks."""
    parts = _CODE.split(line)
    parts[::2] = [_SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def plain(lines: list[str]) -> list[str]:
    """Lines of a docstring as reStructuredText: sections as they are, formulas literal."""
    result: list[str] = []
    in_section, in_formula, in_example = False, False, False
    for number, line in enumerate(lines):
        if _SECTION.match(line):
            in_section, in_example = True, line.startswith("Example")
        elif in_section and line and not line.startswith(" "):
            in_section, in_example = False, False
        if in_example:  # code, and what it prints
            result.append(line)
            continue
        if in_section:  # names that share an explanation; with a space Sphinx takes the first for a type
            line = _NAMES.sub(lambda found: found[0].replace(", ", ","), line)
        is_indented = line.startswith("    ") and not in_section
        if is_indented and not in_formula and not (number and lines[number - 1].strip()):
            result += ["::", ""]
            in_formula = True
        elif line.strip() and not is_indented:
            in_formula = False
        # lines below a sentence that are indented go on with it
        continues = is_indented and not in_formula
        result.append(line if in_formula else _escaped(line.lstrip() if continues else line))
    return result


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = plain(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
