"""What figures hang on: the machine, the versions, the commit."""

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

import psutil
from runs import Row

from aecv.ground.versions import versions


def machine() -> Row:
    """What the figures hang on: processor, cores, memory, versions and the commit of this checkout."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "commit": _git("rev-parse", "HEAD") or None,
        "changed_since": bool(_git("status", "--porcelain")),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    """Its model, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    """What git says of this checkout; nothing where there is no git, or no checkout."""
    git = shutil.which("git")
    command = [git or "true", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
