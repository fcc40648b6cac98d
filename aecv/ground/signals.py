"""Handlers of signals for a while."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def handled(number: signal.Signals, handler: Any) -> Iterator[None]:
    """Another handler of a signal, inside; the old one off the main thread, where Python takes none.

    Args:
        handler: a function of signal and frame, or signal.SIG_IGN, which processes started inside inherit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
