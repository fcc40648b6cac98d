"""Shipped molecules: steps per second with and without bias, ns a day and memory, on every platform.

    python benchmarks/shipped_systems.py [NAME ...] [--platforms auto Reference CPU] [--json FILE]

NAME is a shipped system, chignolin:explicit one in a solvent of its own; all of them when left out. `auto`
is the platform that aecv takes; on the others it shows whether it takes the fastest. The bias is native
extended ABF along a made-up encoder of the system's CV atoms. Every line is a process of its own, so that its
peak of memory is its own; the ratio of biased to unbiased is of one process, in turns.
"""

import logging
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import machine
from options import amount, guarded, natural, parsed, parser_of
from runs import Row, print_table, write_rows
from system_size import measure, prepare

from aecv.molecules.spec import load_system, shipped_systems
from aecv.sampling.system.molecular_system import MolecularSystem, build

QUICK = {"seconds": 0.3, "repeats": 2, "equilibration_ps": 0.1, "platforms": ["auto"]}
"""What --quick sets."""


def main() -> None:
    """Parse, measure, print, write."""
    parser = parser_of(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", default=[], help="system, or system:solvent")
    parser.add_argument("--platforms", nargs="+", default=["auto", "Reference", "CPU"])
    parser.add_argument("--equilibration-ps", type=amount, default=2.0)
    parser.add_argument("--seconds", type=amount, default=3.0, help="of every measurement")
    parser.add_argument("--repeats", type=natural, default=3)
    parser.add_argument("--quick", action="store_true", help="one platform, rough figures")
    options = parsed(parser, QUICK)
    rows = [
        apart(name, platform, options.equilibration_ps, options.seconds, options.repeats)
        for name in options.names or molecules()
        for platform in options.platforms
    ]
    header = (
        "system",
        "atoms",
        "platform",
        "unbiased/s",
        "biased/s",
        "ratio",
        "ns/day",
        "MiB",
        "why this platform",
    )
    print_table(header, map(_line, rows))
    write_rows(
        options.json, {"rows": rows, "seconds": options.seconds, "repeats": options.repeats} | machine()
    )


def _line(row: Row) -> tuple[str, ...]:
    return (
        row["system"],
        str(row["n_atoms"]),
        row["platform"],
        f"{row['unbiased_steps_per_s']:.0f}",
        f"{row['biased_steps_per_s']:.0f}",
        f"{row['ratio']:.3f}",
        f"{row['biased_ns_per_day']:.2f}",
        f"{row['peak_mib']:.0f}",
        row["reason"],
    )


def molecules() -> list[str]:
    """Shipped molecules, each in all of its solvents, fewest atoms first."""
    found = []
    for name in shipped_systems():
        spec = load_system(name)
        if spec.settings.particle is None:
            others = [solvent for solvent in spec.solvents if solvent != spec.settings.system.solvent]
            found += [name, *(f"{name}:{solvent}" for solvent in others)]
    return sorted(found, key=lambda name: system_of(name).n_atoms)


def system_of(name: str, overrides: Sequence[str] = ()) -> MolecularSystem:
    """The system of a name like chignolin or chignolin:explicit."""
    system_name, _, solvent = name.partition(":")
    more = [f"solvent={solvent}"] if solvent else []
    return build(load_system(system_name, overrides=[*overrides, *more]))


def apart(name: str, platform: str, equilibration_ps: float, seconds: float, repeats: int) -> Row:
    """One line, measured in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, name, platform, equilibration_ps, seconds, repeats).result()


def measured(name: str, platform: str, equilibration_ps: float, seconds: float, repeats: int) -> Row:
    """One line, in this process."""
    logging.getLogger("aecv").setLevel(logging.ERROR)  # a made-up CV is stiff, and sigma widens for it
    overrides = [f"sampling.equilibration_ps={equilibration_ps}", "barostat.equilibration_ps=0"]
    system = system_of(name, overrides)
    with TemporaryDirectory() as folder:
        run = prepare(name, system, platform, Path(folder) / "cv")
        (row,) = measure([run], seconds, repeats, time.perf_counter)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    mib = peak / (2**20 if sys.platform == "darwin" else 2**10)
    return row | {"asked": platform, "reason": run.platform.reason, "peak_mib": mib}


if __name__ == "__main__":
    guarded(main)
