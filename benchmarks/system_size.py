"""Steps per second with and without bias, by the number of atoms: alanine dipeptide alone and in water.

    python benchmarks/system_size.py [--platform auto] [--paddings 0.8 1 1.5] [--seconds 3] [--json FILE]

In vacuum, in implicit water (OBC2), both as the shipped system says, and in boxes of TIP3P water: PME, fixed
bonds to hydrogen, 2 fs. The cutoff is 0.9 nm, in small boxes 0.45 edges: a box is always wider than two.

The bias is native extended ABF along an encoder of 8 atoms, 24-40-2; what it adds to a step should not
depend on the rest of the system. One process, all in turns; medians over the repeats, and of the added time
the mean and its standard error. On a machine with other jobs, --processor-time counts what this process used,
all threads together; it sees no work on a GPU.
"""

import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from alanine_setting import water_box
from eabf_speed import biased_job, equilibrated, made_up_cv, make_job
from machine import machine
from openmm import app, unit
from options import amount, guarded, natural, parsed, parser_of
from runs import NOT_A_NUMBER, Row, mean_and_spread, print_table, text, with_error, write_rows

from aecv.molecules.spec import load_system
from aecv.sampling.dynamics.jobs import Engine, SegmentJob
from aecv.sampling.dynamics.segments import UnbiasedEngine
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.starting.minimising import minimise
from aecv.sampling.system.molecular_system import MolecularSystem, build, make_context
from aecv.sampling.system.platforms import PlatformChoice, choose_platform

Clock = Callable[[], float]

PROTEIN, IMPLICIT = "amber99sbildn.xml", "implicit/obc2.xml"
TOLERANCE = 50.0
"""Root-mean-square force at which a minimisation ends [kJ/mol/nm]: enough to start from."""
N_PROBE = 20
"""Frames that give the CV its range and on which it is verified."""
QUICK = {"paddings": [0.8], "equilibration_ps": 0.5, "seconds": 0.3, "repeats": 2}
"""What --quick sets."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One system with its two engines, and a job of 100 steps for each."""

    name: str
    system: MolecularSystem
    platform: PlatformChoice
    engines: tuple[Engine, Engine]
    jobs: tuple[SegmentJob, SegmentJob]


def main() -> None:
    """Parse, build, measure, print, write."""
    parser = parser_of(__doc__)
    parser.add_argument("--platform", default="auto", help="of OpenMM; auto: what aecv takes for each size")
    parser.add_argument("--paddings", type=amount, nargs="*", default=[0.8, 1.0, 1.5], help="of water [nm]")
    parser.add_argument("--equilibration-ps", type=amount, default=5.0)
    parser.add_argument("--seconds", type=amount, default=3.0, help="of every measurement")
    parser.add_argument("--repeats", type=natural, default=5)
    parser.add_argument("--processor-time", action="store_true", help="in the place of wall time")
    parser.add_argument("--quick", action="store_true", help="few sizes, rough figures")
    options = parsed(parser, QUICK)
    logging.getLogger("aecv").setLevel(logging.ERROR)  # a made-up CV is stiff, and sigma widens for it
    with TemporaryDirectory() as folder:
        systems = make_systems(options.paddings, options.equilibration_ps, Path(folder))
        runs = [
            prepare(name, system, options.platform, Path(folder) / f"cv{index}")
            for index, (name, system) in enumerate(systems)
        ]
        clock = time.process_time if options.processor_time else time.perf_counter
        rows = measure(runs, options.seconds, options.repeats, clock)
    for run in runs:
        print(f"{run.name}: {run.platform.reason}")
    header = (
        "system",
        "atoms",
        "cutoff",
        "platform",
        "unbiased/s",
        "biased/s",
        "ratio",
        "ns/day",
        "us added",
    )
    print_table(header, map(_line, rows))
    write_rows(
        options.json,
        {
            "rows": rows,
            "seconds": options.seconds,
            "repeats": options.repeats,
            "clock": "processor" if options.processor_time else "wall",
        }
        | machine(),
    )


def _line(row: Row) -> tuple[str, ...]:
    return (
        row["system"],
        str(row["n_atoms"]),
        text(row["cutoff_nm"]),
        row["platform"],
        f"{row['unbiased_steps_per_s']:.0f}",
        f"{row['biased_steps_per_s']:.0f}",
        f"{row['ratio']:.3f}",
        f"{row['biased_ns_per_day']:.1f}",
        with_error(row["added_us"], row["added_us_error"], "+.1f"),
    )


def make_systems(
    paddings: Sequence[float], equilibration_ps: float, folder: Path
) -> Iterator[tuple[str, MolecularSystem]]:
    """Names and systems, fewest atoms first; the structures of those in water go into a folder."""
    common = f"sampling.equilibration_ps={equilibration_ps}"
    yield "vacuum", build(load_system("ala2", overrides=[common]))
    implicit = f'system.forcefield=["{PROTEIN}", "{IMPLICIT}"]'
    yield "OBC2", build(load_system("ala2", overrides=[common, implicit]))
    for padding in sorted(set(paddings)):
        inside = folder / f"water{padding:g}"
        inside.mkdir()
        system = build(water_box(inside, padding, common))
        yield f"TIP3P, {edge_nm(system.topology):.2f} nm", system


def edge_nm(topology: app.Topology) -> float:
    """Edge of a cubic box."""
    return float(topology.getPeriodicBoxVectors()[0][0].value_in_unit(unit.nanometer))


def prepare(name: str, system: MolecularSystem, platform: str, folder: Path) -> Run:
    """A system brought to temperature, and its engines; the CV's files go into a folder."""
    choice = choose_platform(system.system, platform)
    context, _ = make_context(system, platform=choice, seed=1)
    minimum, _ = minimise(context, system.positions, tolerance=TOLERANCE)
    state, frames = equilibrated(system, choice, minimum, 100 * N_PROBE)
    probe = frames[:, system.cv_atom_indices]
    cv, extended = made_up_cv(system, probe, folder)
    return Run(
        name=name,
        system=system,
        platform=choice,
        engines=(
            UnbiasedEngine(*make_context(system, platform=choice, seed=1)),
            NativeEngine(system, cv, extended, platform=choice, probe=probe),
        ),
        jobs=(make_job(state, 100), biased_job(cv, extended, state, 100)),
    )


def measure(runs: Sequence[Run], seconds: float, repeats: int, clock: Clock) -> list[Row]:
    """One row per system; systems in turns, with bias before without in every other repeat."""
    n_steps = [enough(run, seconds, clock) for run in runs]
    rates = np.empty((len(runs), repeats, 2))
    for repeat in range(repeats):
        for index, (run, n) in enumerate(zip(runs, n_steps, strict=True)):
            for which in (0, 1) if repeat % 2 == 0 else (1, 0):
                job = replace(run.jobs[which], n_steps=n)
                rates[index, repeat, which] = n / _seconds(run.engines[which], job, clock)
    return [_row(run, own) for run, own in zip(runs, rates, strict=True)]


def enough(run: Run, seconds: float, clock: Clock) -> int:
    """Steps that take about so long, a multiple of 100; both engines warm up, and the bias is verified."""
    for engine, job in zip(run.engines, run.jobs, strict=True):
        engine.run(job)
    return max(1, round(seconds / _seconds(run.engines[0], run.jobs[0], clock))) * 100


def _seconds(engine: Engine, job: SegmentJob, clock: Clock) -> float:
    began = clock()
    engine.run(job)
    return clock() - began


def _row(run: Run, rates: np.ndarray) -> Row:
    """From steps per second, shape (repeats, 2): unbiased, biased."""
    settings = run.system.spec.settings
    unbiased, biased = np.median(rates, axis=0).tolist()
    added = [{"us": value} for value in (1e6 / rates[:, 1] - 1e6 / rates[:, 0]).tolist()]
    mean, spread = mean_and_spread(added, "us")
    is_cut = settings.system.nonbonded != "NoCutoff"
    return {
        "system": run.name,
        "n_atoms": run.system.n_atoms,
        "cutoff_nm": settings.system.cutoff_nm if is_cut else NOT_A_NUMBER,
        "timestep_ps": settings.dynamics.timestep_ps,
        "platform": run.platform.platform.getName(),
        "unbiased_steps_per_s": unbiased,
        "biased_steps_per_s": biased,
        "ratio": statistics.median((rates[:, 1] / rates[:, 0]).tolist()),
        "biased_ns_per_day": biased * settings.dynamics.timestep_ps * 86.4,
        "added_us": mean,
        "added_us_error": spread / math.sqrt(len(added)),
    }


if __name__ == "__main__":
    guarded(main)
