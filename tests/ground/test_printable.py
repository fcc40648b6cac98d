"""Text for terminals: nothing that moves a cursor, and messages of one line."""

import logging

import pytest

from aecv.ground.printable import LineFormatter, one_line, printable_lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[2J\x1b]0;title\x07b", r"a\x1b[2J\x1b]0;title\x07b"),
        ("first\nsecond\r\n  third\x85fourth\u2028fifth\tsixth\n", "first second third fourth fifth sixth"),
        ("atom \u202eXH\u2066 \u200b\ufeff", r"atom \u202eXH\u2066 \u200b\ufeff"),
        ("\x00\x7f\x9b31m\ud800", r"\x00\x7f\x9b31m\ud800"),
        ("  12 ± 0.5 Å, R²; été", "  12 ± 0.5 Å, R²; été"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, expected: str) -> None:
    """Escape sequences, breaks of all kinds, directions of writing, NUL; numbers and letters stay."""
    assert one_line(text) == expected
    assert one_line(expected) == expected


def test_a_table_keeps_its_lines_and_nothing_else() -> None:
    assert printable_lines("  a  b\n\n  1\r  \x1b[1m2\n") == "  a  b\n\n  1\\r  \\x1b[1m2\n"


def test_a_record_of_the_log_is_a_line() -> None:
    record = logging.LogRecord("aecv", logging.INFO, "x.py", 1, "%s: has %d", ("a\x1b[K\nb", 3), None)
    assert LineFormatter("%(levelname)s %(message)s").format(record) == r"INFO a\x1b[K b: has 3"
    assert record.args == ("a\x1b[K\nb", 3)
