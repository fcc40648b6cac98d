"""Peak memory of the learning stage of a finished run, by the number of frames.

    python benchmarks/memory.py runs/ala2 [--times 1 2 4] [--json FILE]

The last iteration is learned again, each time in a process of its own, on copies of the run in which every
walker goes through its frames once, twice, ... The copies need disk (ala2, 10 iterations: 0.2 GB each time)
and are deleted; the run stays as it is. Settings that do not belong to the system are today's.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import machine
from numpy.typing import NDArray
from options import guarded, natural, parser_of
from runs import Row, print_table, settings_of, write_rows

from aecv.ground.files import read_json
from aecv.models.cvs.cv_files import load_cv
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import build
from aecv.workflow.learning.learning_stage import OUTPUTS, learn
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.store import RunDirectory


def main() -> None:
    """Parse, measure in child processes, print, write."""
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--times", type=natural, nargs="+", default=[1, 2, 4])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(learned(options.run)))
        return
    rows = [measured(options.run, times) for times in options.times]
    print(f"learning stage of iteration {rows[0]['iteration']}, in a process of its own")
    lines = [(str(row["frames"]), f"{row['peak_mib']:.0f}", f"{row['seconds']:.0f}") for row in rows]
    print_table(("frames of the run", "peak MiB", "seconds"), lines, n_left=0)
    write_rows(options.json, {"rows": rows} | machine())


def measured(run: Path, times: int) -> Row:
    """A copy of a run with more frames, and its last iteration learned in a child process.

    Raises:
        StoreError: when there is no finished run.
    """
    last = len(read_json(run / "summary.json")["iterations"]) - 1
    spec = load_system(settings_of(run).system.name)
    with TemporaryDirectory() as parent:
        with RunDirectory.create(Path(parent) / "run", spec, platform="any") as copy:
            places = [(run / f"iteration_{k:02d}", copy.iteration_dir(k)) for k in range(last + 1)]
            n_frames = sum(repeated(source, place, times) for source, place in places)
            for name in OUTPUTS:
                (copy.iteration_dir(last) / name).unlink(missing_ok=True)
        command = [sys.executable, __file__, str(copy.path), "--child"]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if child.returncode:
            sys.exit(f"the learning ended with {child.returncode}")
        return {"iteration": last, "frames": n_frames} | json.loads(child.stdout.splitlines()[-1])


def learned(path: Path) -> Row:
    """Learn the last iteration of a run, in this process."""
    spec = load_system(settings_of(path).system.name)
    last = max(int(folder.name.removeprefix("iteration_")) for folder in path.glob("iteration_*"))
    with RunDirectory.resume(path, spec, platform="any") as run:
        previous = [load_cv(run.iteration_dir(k)) for k in range(last)]
        began = time.perf_counter()
        learn(run, last, previous, build(spec), silent)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return {"peak_mib": peak / (2**20 if sys.platform == "darwin" else 2**10), "seconds": seconds}


def repeated(folder: Path, copy: Path, times: int) -> int:
    """An iteration's folder with more frames; returns their number."""
    for item in folder.iterdir():
        if item.name != "samples.npz":
            (copy / item.name).symlink_to(item.resolve())
    longer(Samples.load(folder / "samples.npz"), times).save(copy / "samples.npz")
    return Samples.load(copy / "samples.npz").n_frames


def longer(samples: Samples, times: int) -> Samples:
    """Samples in which every walker goes through its frames several times."""
    n_walkers = len(np.unique(samples.walker))
    n_frames = samples.n_frames

    order = np.tile(np.arange(n_frames).reshape(n_walkers, -1), times).ravel()

    def repeat(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return values[order] if values.shape[:1] == (n_frames,) else values

    arrays = {name: repeat(values) for name, values in samples.arrays.items()}
    first = samples.time_ps[: n_frames // n_walkers]
    whole = np.concatenate([first + k * first[-1] for k in range(times)])
    return Samples(arrays | {"time_ps": np.tile(whole, n_walkers)})


@contextmanager
def silent(*_: object) -> Iterator[object]:
    """No bar."""
    yield lambda _: None


if __name__ == "__main__":
    guarded(main)
