"""Whether an engine works on this machine, and if not, why and what mends it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PROBE_S = 300
"""Longest wait for a probe: loading torch takes seconds, from a cold, busy disk a minute."""


@dataclass(frozen=True, kw_only=True)
class Availability:
    """What a probe of one engine found.

    Attributes:
        name: the engine, as sampling.engine calls it.
        works: whether it can run here.
        reason: what was found, in words: versions where it works, the fault where it does not.
        remedy: the command or step that mends it; empty where it works.
        versions: of the packages that are its own; a run is resumed with the same ones.
    """

    name: str
    works: bool
    reason: str
    remedy: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        state = "works" if self.works else "does not work here"
        return f"engine {self.name} {state}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a process of a probe ended.

    Attributes:
        output: its standard output.
        errors: its standard error.
        fault: why it did not end well; empty where it did.
    """

    output: str
    errors: str
    fault: str


def probe_apart(arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> Ending:
    """Run a probe in a Python of its own, which compiled packages that do not fit each other may end.

    Args:
        arguments: of the interpreter.
        env: its environment; None for that of this process.
    """
    # -P: a file in the working folder may have the name of a package
    command = [sys.executable, "-P", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=env,
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout
        return Ending(output=said or "", errors="", fault=f"no answer in {PROBE_S} s")
    return Ending(output=done.stdout, errors=done.stderr, fault=_fault(done.returncode, done.stderr))


def _fault(exit_code: int, errors: str) -> str:
    """What an exit code means; negative for a signal."""
    if exit_code < 0:
        return f"the process crashed ({signal.Signals(-exit_code).name})"
    if exit_code > 0:
        return (errors.strip().splitlines() or [f"exit code {exit_code}"])[-1]
    return ""


def json_lines(lines: Iterable[str]) -> list[dict[str, Any]]:
    """What a probe said, a JSON object per line; lines of libraries are left out, whatever they look like."""
    found = []
    for line in lines:
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict):
            found.append(answer)
    return found
