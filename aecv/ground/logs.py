"""What is logged, on a terminal."""

import logging
from typing import TextIO

from aecv.ground.printable import LineFormatter

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class _Terminal(logging.StreamHandler[TextIO]):
    """What `set_up_logging` set up, to be found again."""


def set_up_logging(*, works: bool = True, debug: bool = False) -> None:
    """Log lines of aecv to standard error, cleaned: INFO where a command works, else warnings.

    Args:
        works: whether the command runs for so long that it tells how far it is.
        debug: what developers want to know, too.
    """
    logger = logging.getLogger("aecv")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.handlers[:] = [handler for handler in logger.handlers if not isinstance(handler, _Terminal)]
    handler = _Terminal()
    handler.setLevel(logging.DEBUG if debug else logging.INFO if works else logging.WARNING)
    handler.setFormatter(LineFormatter(_FORMAT, datefmt="%H:%M:%S"))
    logger.addHandler(handler)
