"""Text that a terminal may be given: no control characters, and a message is one line.

Names of files and atoms, titles of PDB files, values of TOML and what libraries say come from elsewhere; an
escape sequence among them could move the cursor, hide text or change the title of a window.
"""

import logging
import re
import unicodedata

_BREAK = "\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
_BREAKS = re.compile(f" *[{_BREAK}][{_BREAK} ]*")
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of Unicode that are not seen: controls, directions of writing, halves of characters."""


def one_line(text: str) -> str:
    """The text in one line: breaks become a space, what cannot be seen is written as Python writes it."""
    return _visible(_BREAKS.sub(" ", text.strip(_BREAK)))


def printable_lines(text: str) -> str:
    """The text with its own line feeds; what else cannot be seen is written as in `one_line`."""
    return "\n".join(_visible(line) for line in text.split("\n"))


def _visible(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _HIDDEN
        else character
        for character in line
    )


class LineFormatter(logging.Formatter):
    """Records of a log, a line each; a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        clean = logging.makeLogRecord(record.__dict__)
        clean.msg, clean.args = one_line(record.getMessage()), None
        return printable_lines(super().format(clean))
