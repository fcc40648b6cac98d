"""Options that the benchmarks share, and their errors in one line."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aecv.ground.errors import AecvError


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser with --json that shows a script's docstring as it is."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows, with machine and versions, here")
    return parser


def parsed(parser: argparse.ArgumentParser, quick: Mapping[str, Any]) -> argparse.Namespace:
    """The options, `quick` being the defaults where --quick is among them."""
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(**quick)
    return parser.parse_args()


def natural(text: str) -> int:
    """A positive integer."""
    value = int(text) if text.lstrip("+").isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"needs an integer of 1 or more, got '{text}'")
    return value


def amount(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"needs a positive number, got '{text}'")
    return value


def guarded(main: Callable[[], None]) -> None:
    """Run a script; what aecv refuses ends it with one line and status 1."""
    try:
        main()
    except AecvError as error:
        sys.exit(f"error: {error}")
