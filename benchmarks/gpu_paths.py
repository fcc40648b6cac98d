"""Which way to the force of the CV is the fastest on a platform, how exact it is, and whether it lasts.

    python benchmarks/gpu_paths.py [--platform NAME] [--water NM] [--steps 20000] [--repeats 5]
        [--error-steps 400000] [--phase 0.16 0.33 0.5] [--soak 0] [--json FILE]

Alanine dipeptide in vacuum; with --water also in a box of TIP3P (PME, bonds with hydrogen constrained, 2 fs).
The platform is the fastest one that works, unless it is named. Three tables:

1. Steps per second of unbiased MD and of extended ABF: the compiled kernel on the CPU through PythonForce
   (`native`), torch on the device in the same place, openmm-torch (`torchforce`), and the native force every
   n-th step (MTS). In turns in one process: trust the ratios. What cannot run here is named with the reason.
2. What MTS costs: two averages that are exactly 1, and the temperature of the CV's atoms, for springs that
   turn --phase rad per step; see `multiple_time_step.py`. In vacuum; 0 for --error-steps leaves it out.
3. With --soak STEPS, every path runs that long, looked at every --check steps, up to the first number that is
   not finite. PythonForce together with torch gave such numbers on the CUDA platform alone (OpenMM's pull
   request 5412, which takes the worker thread out of PythonForce as a workaround).
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openmm
from alanine_setting import FRAME_STEPS, Setting, minimised, prepared, water_box
from force_ways import Way, ways
from machine import machine
from multiple_time_step import error_rows, multiple_step_context
from options import amount, guarded, natural, parser_of
from runs import NOT_A_NUMBER, Row, print_table, text, with_error, write_rows
from soak import soak_rows

from aecv.ground.errors import AecvError
from aecv.molecules.spec import load_system
from aecv.sampling.dynamics.jobs import Engine, SegmentJob
from aecv.sampling.dynamics.segments import UnbiasedEngine
from aecv.sampling.system.molecular_system import make_context
from aecv.sampling.system.platforms import choose_platform, fastest_platform

UNBIASED = "unbiased MD"
EQUILIBRATION = "sampling.equilibration_ps=5"


def main() -> None:
    """Parse, measure, print, write."""
    parser = parser_of(__doc__)
    parser.add_argument("--platform", default="auto", help="Reference, CPU, OpenCL, CUDA")
    parser.add_argument("--water", type=amount, metavar="NM", help="also in water, images so far apart")
    parser.add_argument("--steps", type=natural, default=20_000, help="MD steps of a timing")
    parser.add_argument("--repeats", type=natural, default=5)
    parser.add_argument("--error-steps", type=int, default=400_000, help="MD steps of every average")
    parser.add_argument("--phase", type=amount, nargs="+", default=[0.16, 0.33, 0.5])
    parser.add_argument("--torch-device", help="of the network in the callback; cuda where torch finds it")
    parser.add_argument("--soak", type=int, default=0, metavar="STEPS")
    parser.add_argument("--check", type=natural, default=100, help="steps between the looks of the soak")
    options = parser.parse_args()
    # not the Reference platform that aecv takes for 22 atoms: the question is about the others
    platform = (
        fastest_platform()
        if options.platform == "auto"
        else choose_platform(openmm.System(), options.platform)
    )
    print(f"platform {platform.platform.getName()}, OpenMM {openmm.Platform.getOpenMMVersion()}")
    report: Row = {"platform": platform.platform.getName(), **machine()}
    with TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"vacuum": prepared(load_system("ala2", overrides=[EQUILIBRATION]), platform, folder)}
        if options.water is not None:
            box = minimised(water_box(folder, options.water, EQUILIBRATION), platform)
            settings["water"] = prepared(box, platform, folder)
        compared = ways(options.torch_device)
        for place, setting in settings.items():
            where = f"alanine dipeptide in {place}, {setting.system.n_atoms} atoms"
            found = report[place] = {"atoms": setting.system.n_atoms}
            found["speed"] = speed_rows(setting, options.steps, options.repeats, compared)
            print_speed(where, found["speed"])
            if options.soak:
                found["soak"] = soak_rows(setting, options.soak, options.check, compared)
                print_soak(where, found["soak"])
        if options.error_steps:
            vacuum = settings["vacuum"]
            report["error"] = [
                {"phase_of_dt": phase} | row
                for phase in options.phase
                for row in error_rows(vacuum.with_phase(phase), options.error_steps)
            ]
            print_errors(report["error"])
    write_rows(options.json, report)


def speed_rows(setting: Setting, n_steps: int, repeats: int, compared: Sequence[Way]) -> list[Row]:
    """Steps per second and their ratio to unbiased MD, medians over the repeats; NaN and why where skipped.

    Args:
        n_steps: inner steps of a timing, in hundreds.
    """
    system, platform = setting.system, setting.platform
    plain = replace(setting.job(_hundreds(n_steps), FRAME_STEPS), accumulators=None)
    runs: dict[str, Callable[[], float]] = {}
    for name, context in {
        UNBIASED: make_context(system, platform=platform, seed=1),
        "unbiased MD, MTSLangevin n = 1": multiple_step_context(system, platform, n=1),
    }.items():
        runs[name] = partial(_rate, UnbiasedEngine(*context), plain, 1)
    why_not = {}
    for way in compared:
        try:
            runs[way.name] = partial(_rate, way.engine(setting), _job(setting, way, n_steps), way.n)
            runs[way.name]()  # compile, and warm up
        except AecvError as error:
            runs.pop(way.name, None)
            why_not[way.name] = str(error)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            rates[name].append(run())
    rows = [
        {
            "what": name,
            "steps_per_s": statistics.median(values),
            "ratio": statistics.median(np.divide(values, rates[UNBIASED]).tolist()),
        }
        for name, values in rates.items()
    ]
    skipped = [
        {"what": name, "steps_per_s": NOT_A_NUMBER, "ratio": NOT_A_NUMBER, "why_not": why}
        for name, why in why_not.items()
    ]
    return rows + skipped


def _hundreds(n_steps: float) -> int:
    return max(round(n_steps / FRAME_STEPS), 1) * FRAME_STEPS


def _job(setting: Setting, way: Way, n_steps: int) -> SegmentJob:
    return setting.job(_hundreds(n_steps * way.share) // way.n, FRAME_STEPS // way.n)


def _rate(engine: Engine, job: SegmentJob, n: int) -> float:
    return n * job.n_steps / engine.run(job).wall_s


def print_speed(where: str, rows: Sequence[Row]) -> None:
    """Steps per second, and below them why a way is missing."""
    print(f"\n{where}")
    lines = [(row["what"], text(row["steps_per_s"], ".0f"), text(row["ratio"], ".3f")) for row in rows]
    print_table(("what", "steps/s", "ratio"), lines)
    for row in rows:
        if "why_not" in row:
            print(f"  {row['why_not']}")


def print_errors(rows: Sequence[Row]) -> None:
    """The averages that are 1 when exact, a line per spring and time step."""
    print("\naverages that are exactly 1 but for the time step, by the rad per step of the spring")
    names = ("spring", "lam_kinetic", "atoms_kinetic")
    lines, why = [], []
    for row in rows:
        first = (f"{row['phase_of_dt']:.2f}", row["what"], f"{row['phase']:.2f}")
        if "failed" in row:
            # the first clause says where it exploded and why, the others what a user of a run may do
            lines.append((*first, "failed", "", ""))
            why.append(f"  {row['what']} at {row['phase']:.2f}: {row['failed'].partition(';')[0]}")
            continue
        lines.append((*first, *(with_error(row[name], row[f"{name}_error"], ".3f") for name in names)))
    header = ("spring", "what", "omega n dt", "kappa<(xi-lam)2>/kT", "m<v_lam2>/kT", "CV atoms T/T0")
    print_table(header, lines, n_left=2)
    print("\n".join(why))


def print_soak(where: str, rows: Sequence[Row]) -> None:
    """How far each way came."""
    print(f"\n{where}: steps with finite numbers")
    print_table(
        ("what", "steps", "fault"), [(r["what"], str(r["steps"]), r["fault"] or "none") for r in rows]
    )


if __name__ == "__main__":
    guarded(main)
