"""All tables of speed and memory in one go.

    python -m benchmarks [NAME ...] [--run runs/ala2] [--quick] [--json FILE] [--page docs/speed.md]

Each benchmark is a script of this folder and runs in a process of its own, one after the other, every process
on one thread: trust the ratios inside one table, not figures of two. Those that need a finished run take that
of the whole job, or --run. All of them take about an hour; --quick takes a few minutes and shows that
everything works, its figures are rough. One that fails is named at the end, and the others run all the same.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the scripts import each other by their names

from machine import machine  # noqa: E402
from runs import Row, write_rows  # noqa: E402

from aecv.ground.files import write_text  # noqa: E402


@dataclass(frozen=True)
class Benchmark:
    """A script and how it is called.

    Attributes:
        name: of the script.
        title: what it answers.
        quick: arguments that make it short.
        whole: arguments otherwise.
        of_run: whether it takes the folder of a finished run as its first argument.
    """

    name: str
    title: str
    quick: tuple[str, ...]
    whole: tuple[str, ...] = ()
    of_run: bool = False


JOB = Benchmark(
    "whole_job",
    "The whole job",
    ("--iters", "3", "--ns", "0.1", "--set", "starts.mode=one", "--set", "training.min_effective_frames=10"),
)
BENCHMARKS = (
    JOB,
    Benchmark("eabf_speed", "A step and its parts", ("--steps", "2000", "--repeats", "2")),
    Benchmark("system_size", "By the size of the system", ("--quick",)),
    Benchmark("shipped_systems", "The shipped molecules", ("ala2", "ala2_obc", "--quick")),
    Benchmark(
        "gpu_paths",
        "Ways to the CV's force on the fastest platform",
        ("--steps", "200", "--repeats", "1", "--error-steps", "2000", "--phase", "0.33"),
        ("--water", "1", "--steps", "2000", "--error-steps", "100000"),
    ),
    Benchmark("walkers", "Walkers in processes", ("--rounds", "2", "--repeats", "1", "--update-ps", "2")),
    Benchmark("training", "Training", ("--frames", "500", "--epochs", "2"), of_run=True),
    Benchmark("memory", "Memory of learning", ("--times", "1"), of_run=True),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, print, write; returns the number of benchmarks that failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all")
    parser.add_argument("--run", type=Path, help="folder of a finished run of ala2")
    parser.add_argument("--quick", action="store_true", help="short, with rough figures")
    parser.add_argument("--json", type=Path, help="write all tables, machine, versions and commit here")
    parser.add_argument("--page", type=Path, help="write a page in Markdown here")
    parser.add_argument("--note", default="", help="what else the reader should know, for JSON and page")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; known: {', '.join(known)}")
    if options.run is not None and not (options.run / "summary.json").is_file():
        parser.error(f"--run {options.run}: holds no finished run (no summary.json)")
    for option, path in (("--json", options.json), ("--page", options.page)):
        if path is not None and not path.resolve().parent.is_dir():
            parser.error(f"{option} {path}: there is no folder {path.resolve().parent}")
    chosen = [benchmark for benchmark in BENCHMARKS if not options.names or benchmark.name in options.names]
    lacking = [benchmark.name for benchmark in chosen if benchmark.of_run]
    if lacking and options.run is None and JOB not in chosen:
        parser.error(
            f"{', '.join(lacking)}: give the folder of a finished run (--run), or name {JOB.name} too"
        )
    report: Row = {"machine": machine(), "quick": options.quick, "note": options.note, "benchmarks": {}}
    with TemporaryDirectory() as folder:
        run = options.run or Path(folder) / "run"
        for benchmark in chosen:
            print(f"\n== {benchmark.title} ({benchmark.name}.py)", flush=True)
            result = measured(benchmark, run, quick=options.quick, is_made=options.run is None)
            if result["rows"] is not None:  # what stands once in the report
                result["rows"] = {k: v for k, v in result["rows"].items() if k not in report["machine"]}
            report["benchmarks"][benchmark.name] = result
            print(result["text"] or result["skipped"] or result["error"], flush=True)
            write_rows(options.json, report)  # after each, so that an interrupted one keeps what it has
            if options.page is not None:
                write_text(options.page, page(report))
    failed = [name for name, result in report["benchmarks"].items() if result["error"]]
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def measured(benchmark: Benchmark, run: Path, *, quick: bool, is_made: bool) -> Row:
    """Run one; what it printed, its rows, and why there are none.

    Args:
        run: folder of a finished run, or where the whole job puts its own.
        is_made: whether it does.
    """
    result: Row = {"text": "", "rows": None, "skipped": "", "error": "", "command": "", "seconds": 0.0}
    if benchmark.of_run and not (run / "summary.json").is_file():
        return result | {"skipped": f"skipped: needs the run of {JOB.name}.py, which failed"}
    with TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command, shown = command_of(benchmark, run, out, quick=quick, is_made=is_made)
        began = time.perf_counter()
        ended = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        result |= {"command": shown, "seconds": time.perf_counter() - began}
        if ended.returncode or not out.is_file():
            why = f"{benchmark.name}.py ended with {ended.returncode}; what it said is above"
            return result | {"error": "\n".join(filter(None, (ended.stdout.rstrip(), why)))}
        rows = json.loads(out.read_text(encoding="utf-8"))
    return result | {"text": ended.stdout.rstrip(), "rows": rows}


def command_of(
    benchmark: Benchmark, run: Path, out: Path, *, quick: bool, is_made: bool
) -> tuple[list[str], str]:
    """What is run, and how a person would write it."""
    more = benchmark.quick if quick else benchmark.whole
    place = [str(run)] if benchmark.of_run else []
    hidden = ["--out", str(run)] if benchmark is JOB and is_made else []
    command = [sys.executable, str(HERE / f"{benchmark.name}.py"), *place, *more, *hidden, "--json", str(out)]
    shown = ["python", f"benchmarks/{benchmark.name}.py", *(["RUN"] if place else []), *more]
    return command, " ".join(shown)


def page(report: Row) -> str:
    """The report as a page of the documentation."""
    on = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    commit = (on["commit"] or "unknown")[:10] + (" with changes" if on["changed_since"] else "")
    lines = [
        "# Speed and memory",
        "",
        "Written by `python -m benchmarks --page docs/speed.md`; the same command repeats it. Each table is",
        "from one process or job: trust the ratios inside it; figures of two tables cannot be compared.",
        *(["", "**A quick run, whose figures are rough.**"] if report["quick"] else []),
        "",
        f"{on['date']}, commit {commit}: {on['processor']}, {on['cores']} cores, {on['memory_gib']} GiB,",
        f"{on['system']}; {packages}.",
        *(["", report["note"]] if report["note"] else []),
    ]
    for benchmark in BENCHMARKS:
        result = report["benchmarks"].get(benchmark.name)
        if result is None:
            continue
        lines += ["", f"## {benchmark.title}", ""]
        if result["text"]:
            lines += [f"`{result['command']}`, {result['seconds']:.0f} s", "", "```", result["text"], "```"]
        else:
            lines.append(result["skipped"] or "It failed on this machine.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
