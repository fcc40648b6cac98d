"""The whole job as a user starts it: time, steps per second and memory, beside the limit of unbiased MD.

    python benchmarks/whole_job.py [--iters 10] [--ns 10] [--workers N] [--set KEY=VALUE ...] [--json FILE]

Runs `python -m aecv.iterate --system ala2` and looks at the memory of its processes twice a second. The limit
is the time of as many steps of unbiased MD of the same walkers in as many processes, measured just before;
the steps/s of the stages include the starting of processes and the files.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from eabf_speed import prepared
from machine import machine
from options import amount, guarded, natural, parser_of
from runs import Row, print_table, settings_of, write_rows
from walkers import steps_per_second

from aecv.ground.cores import usable_cores
from aecv.ground.files import read_json
from aecv.sampling.dynamics.walkers import Ensemble
from aecv.sampling.processes.opening import open_workers
from aecv.sampling.processes.recipe import EngineRecipe
from aecv.workflow.story.record_table import duration


def main() -> None:
    """Parse, measure, print, write."""
    parser = parser_of(__doc__)
    parser.add_argument("--iters", type=natural, default=10)
    parser.add_argument("--ns", type=amount, default=10.0, help="an iteration, over all walkers")
    parser.add_argument("--walkers", type=natural, default=4)
    parser.add_argument("--workers", type=natural, help="processes; default: as aecv chooses")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for aecv.iterate")
    parser.add_argument("--out", type=Path, help="keep the run here")
    options = parser.parse_args()
    for item in options.set:
        if item.startswith(("system.", "dynamics.")):
            parser.error(f"--set {item}: the limit is measured for the shipped system with its own time step")
    n_workers = min(options.walkers, options.workers or usable_cores())
    unbiased = unbiased_rate(options.walkers, n_workers)
    with ExitStack() as stack:
        out = options.out or Path(stack.enter_context(TemporaryDirectory())) / "run"
        command = [sys.executable, "-m", "aecv.iterate", "--system", "ala2", "--out", str(out)]
        command += ["--iters", str(options.iters), "--ns", str(options.ns), "--workers", str(n_workers)]
        command += ["--walkers", str(options.walkers), *(f"--set={item}" for item in options.set)]
        watched = watch(command)
        rows = stages(out, unbiased, watched["seconds"])
    print(f"{' '.join(command[1:])}\n{n_workers} processes; unbiased MD alone: {unbiased:.0f} steps/s")
    lines = [
        (
            row["stage"],
            duration(row["seconds"]),
            "-" if row["steps_per_s"] is None else f"{row['steps_per_s']:.0f}",
            "-" if row["limit_s"] is None else duration(row["limit_s"]),
        )
        for row in rows
    ]
    print_table(("", "time", "steps/s", "unbiased MD alone"), lines)
    print(
        "peak memory per process, the first one first [MiB]:", *(f"{mib:.0f}" for mib in watched["peaks_mib"])
    )
    write_rows(options.json, {"rows": rows, "unbiased_steps_per_s": unbiased} | watched | machine())


def unbiased_rate(n_walkers: int, n_workers: int) -> float:
    """Steps per second of unbiased MD of all walkers together, as iteration 0 runs it."""
    system, platform, state, _ = prepared()
    recipe = EngineRecipe(system=system, platform=platform, bias=None)
    start = Ensemble(rounds_done=0, states=(state,) * n_walkers, increments=None)
    with open_workers(n_walkers, n_local=n_workers) as workers:
        rates = [steps_per_second(start, workers.executor(recipe), 40.0, 10, seed) for seed in (1, 2, 3)]
    return statistics.median(rates)


def watch(command: Sequence[str]) -> Row:
    """Run a command; seconds, and the peak resident memory of its processes [MiB]."""
    began, peaks = time.perf_counter(), dict[int, float]()
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        while process.poll() is None:
            for pid, mib in resident(process.pid):
                peaks[pid] = max(peaks.get(pid, 0.0), mib)
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"the job ended with {process.returncode}")
    seconds, first = time.perf_counter() - began, peaks.pop(process.pid, float("nan"))
    return {"seconds": seconds, "peaks_mib": [first, *sorted(peaks.values(), reverse=True)]}


def resident(pid: int) -> Iterator[tuple[int, float]]:
    """Resident memory of a process and of what it started [MiB]."""
    try:
        parent = psutil.Process(pid)
        processes = (parent, *parent.children(recursive=True))
    except psutil.NoSuchProcess:
        return
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it has just ended
            yield process.pid, process.memory_info().rss / 2**20


def stages(out: Path, unbiased: float, seconds: float) -> list[Row]:
    """Time of the iterations, of the production and of all the rest, and of as many steps of unbiased MD."""
    summary = read_json(out / "summary.json")
    step_ns = settings_of(out).dynamics.timestep_ps / 1000.0
    rows = [
        {
            "stage": f"iteration {record['index']}",
            "seconds": record["wall_s"],
            "steps_per_s": record["steps_per_s"],
            "limit_s": record["ns"] / step_ns / unbiased,
        }
        for record in summary["iterations"]
    ]
    rows.append(_total("iterations", rows))
    production = summary.get("production")
    if production is not None:
        sampling_s = production["ns"] / step_ns / production["steps_per_s"]
        rows.append(
            {
                "stage": "production, sampling",
                "seconds": sampling_s,
                "steps_per_s": production["steps_per_s"],
                "limit_s": production["ns"] / step_ns / unbiased,
            }
        )
    counted = rows[len(summary["iterations"]) :]
    rest = seconds - sum(row["seconds"] for row in counted)
    rows.append(
        {"stage": "starts, pictures, the rest", "seconds": rest, "steps_per_s": None, "limit_s": None}
    )
    return [*rows, _total("all", [*counted, rows[-1]])]


def _total(stage: str, rows: Sequence[Row]) -> Row:
    limits = [row["limit_s"] for row in rows if row["limit_s"] is not None]
    seconds = sum(row["seconds"] for row in rows)
    return {"stage": stage, "seconds": seconds, "steps_per_s": None, "limit_s": sum(limits)}


if __name__ == "__main__":
    guarded(main)
