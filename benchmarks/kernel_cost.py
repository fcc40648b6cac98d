"""Time of one step of the compiled extended-ABF kernel, by the size of the CV.

    python benchmarks/kernel_cost.py [--hidden 20 40-40] [--components 1 3] [--atoms 20 300] [--json FILE]

The default encoder, 8 atoms and 24-40-2, with made-up weights; others that differ from it in one thing; and
plain CVs. One thread, one process, all in turns; medians over the repeats of processor time, which other jobs
on the machine lengthen less.

    us/call   the kernel from Python on its own memory, as OpenMM's callback calls it, positions in place
    fit       superposition and its derivatives, compiled, in % of us/call
    network   forward and backward
    lambda    ABF sample and step of the extended variable; what is left is the call from Python, and what
              the parts take longer inside the kernel than in a loop of their own
    GFlop/s   2 flops per weight forward and 2 backward, over the time of the network; tanh does not count
    autograd  xi and its gradients by the exported TorchScript module, one backward pass per component

Before a size is timed, the kernel's forces are held against those of the torch module. Grids have 50 bins per
component, with three components 24; more than three are more than a grid takes.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from kernel_parts import fit_seconds, lambda_seconds, network_seconds
from kernel_sizes import Size, make_sizes
from machine import machine
from options import amount, guarded, natural, parsed, parser_of, widths
from runs import NOT_A_NUMBER, Row, print_table, text, write_rows

from aecv.ground.errors import CVError
from aecv.ground.grid import FloatArray
from aecv.models.cvs.torchscript import evaluate_with_gradient
from aecv.models.training.optimisation import one_thread
from aecv.numerics.kernels import encoder_kernels as kernels
from aecv.numerics.kernels.encoder import Encoder
from aecv.sampling.engines.lambda_dynamics import LambdaDynamics

Measure = Callable[[int], float]
"""Seconds of so many calls."""

TOLERANCE = 1e-6
"""Relative difference of forces from which a kernel is wrong; right ones agree to 1e-12."""
WARM_UP = 50
"""Calls; TorchScript optimises in the second and third."""
QUICK = {"hidden": ["100"], "components": [3], "atoms": [100], "seconds": 0.01, "repeats": 3}
"""What --quick sets."""


def main() -> None:
    """Parse, check, measure, print, write."""
    parser = parser_of(__doc__)
    hidden = ["20", "100", "300", "40-40", "100-100", "100-100-100"]
    parser.add_argument(
        "--hidden", type=widths, nargs="*", default=hidden, help="sizes of hidden layers, 40-40 for two"
    )
    parser.add_argument("--components", type=int, choices=(1, 2, 3), nargs="*", default=[1, 3])
    parser.add_argument("--atoms", type=natural, nargs="*", default=[20, 50, 100, 300])
    parser.add_argument("--seconds", type=amount, default=0.1, help="of every measurement")
    parser.add_argument("--repeats", type=natural, default=9)
    parser.add_argument("--quick", action="store_true", help="few sizes, rough figures")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parsed(parser, QUICK)
    with TemporaryDirectory() as folder, one_thread():
        sizes = list(make_sizes(options.hidden, options.components, options.atoms, Path(folder)))
        differences = [check_forces(size) for size in sizes]
        rows = measure(sizes, options.seconds, options.repeats)
    rows = [row | {"difference": found} for row, found in zip(rows, differences, strict=True)]
    print(f"forces of kernel and torch module agree to {max(differences):.0e}")
    header = ("varied", "layers", "atoms", "us/call", "fit", "network", "lambda", "flops", "GFlop/s")
    print_table((*header, "autograd", "ratio"), map(_line, rows), n_left=2)
    write_rows(
        options.json, {"rows": rows, "seconds": options.seconds, "repeats": options.repeats} | machine()
    )


def _line(row: Row) -> tuple[str, ...]:
    return (
        row["varied"],
        row["layers"],
        str(row["n_atoms"]),
        f"{row['call_us']:.2f}",
        *(text(100 * row[f"{part}_us"] / row["call_us"], ".0f") for part in ("fit", "network", "lambda")),
        text(row["flops"], ".0f"),
        text(row["gflop_per_s"], ".1f"),
        f"{row['autograd_us']:.0f}",
        f"{row['ratio']:.0f}",
    )


def check_forces(size: Size, *, n_frames: int = 5) -> float:
    """Largest relative difference of the kernel's forces from those of the torch module.

    Raises:
        CVError: when it is not below TOLERANCE: the time of a wrong kernel says nothing.
    """
    dynamics = LambdaDynamics(size.cv, size.extended, size.memory)
    worst = 0.0
    for frame in size.frames[:n_frames]:
        values, gradients = evaluate_with_gradient(size.module, frame[None])
        begin(size, frame)
        size.kernel(0, size.memory.floats, size.memory.table, np.zeros((1, size.cv.n_components)))
        _, expected = dynamics.pulled(values[0], gradients[0])
        difference = np.abs(size.memory.forces - expected).max() / np.abs(expected).max()
        worst = max(worst, float(np.nan_to_num(difference, nan=np.inf)))
    if not worst < TOLERANCE:
        raise CVError(
            f"kernel cost: forces of {size.layers} along {size.cv.n_atoms} atoms need to be the torch "
            f"module's to {TOLERANCE:.0e} (relative), got {worst:.1e}; mend the kernel before timing it"
        )
    return worst


def begin(size: Size, frame: FloatArray) -> None:
    """A memory without samples before step 0, lambda one sigma away from xi."""
    memory, extended = size.memory, size.extended
    memory.positions[...] = frame
    memory.samples[...] = 0.0
    sigma = np.sqrt(extended.kt / np.array(extended.kappa))
    memory.lam[kernels.LAM] = memory.lam[kernels.NEXT_LAM] = size.cv(frame)[0] + sigma
    memory.lam[kernels.VELOCITY] = 0.0
    memory.counters[kernels.LAST_STEP] = -1


def measure(sizes: Sequence[Size], seconds: float, repeats: int) -> list[Row]:
    """One row per size, medians over repeats; all sizes and parts in turns."""
    measures = [measures_of(size) for size in sizes]
    counts = [{name: enough(run, seconds) for name, run in own.items()} for own in measures]
    times: list[dict[str, list[float]]] = [{name: [] for name in own} for own in measures]
    for _ in range(repeats):
        for own, count, found in zip(measures, counts, times, strict=True):
            for name, run in own.items():
                found[name].append(1e6 * run(count[name]) / count[name])
    return [_row(size, found) for size, found in zip(sizes, times, strict=True)]


def enough(run: Measure, seconds: float) -> int:
    """Calls that take about so long; finding out compiles them."""
    run(WARM_UP)
    return max(10, round(seconds * WARM_UP / run(WARM_UP)))


def measures_of(size: Size) -> dict[str, Measure]:
    """The call, its parts and autograd; superposition and network are parts of encoders alone."""
    measures: dict[str, Measure] = {
        "call": partial(_call, size),
        "lambda": partial(_lambda, size),
        "autograd": partial(_autograd, size),
    }
    if size.cv.encoder is not None:
        measures |= {
            "fit": partial(fit_seconds, size.memory),
            "network": partial(network_seconds, size.memory, size.cv.encoder.layers),
        }
    return measures


def _call(size: Size, n: int) -> float:
    begin(size, size.frames[0])
    kernel, floats, table = size.kernel, size.memory.floats, size.memory.table
    noise = np.random.default_rng(0).standard_normal((n, size.cv.n_components))
    began = time.process_time()
    for step in range(n):
        kernel(step, floats, table, noise)
    return time.process_time() - began


def _lambda(size: Size, n: int) -> float:
    begin(size, size.frames[0])
    noise = np.random.default_rng(0).standard_normal((n, size.cv.n_components))
    return lambda_seconds(size.memory, size.cv(size.frames[0])[0], np.array(size.extended.grid.n_bins), noise)


def _autograd(size: Size, n: int) -> float:
    began = time.process_time()
    for _ in range(n):
        evaluate_with_gradient(size.module, size.frames[:1])
    return time.process_time() - began


def _row(size: Size, times: dict[str, list[float]]) -> Row:
    medians: dict[str, Any] = {name: statistics.median(values) for name, values in times.items()}
    encoder = size.cv.encoder
    flops = NOT_A_NUMBER if encoder is None else float(network_flops(encoder))
    network_us = medians.get("network", NOT_A_NUMBER)
    return {
        "varied": size.varied,
        "layers": size.layers,
        "n_atoms": size.cv.n_atoms,
        "n_components": size.cv.n_components,
        "n_bins": size.extended.grid.size,
        "fit_us": medians.get("fit", NOT_A_NUMBER),
        "network_us": network_us,
        "lambda_us": medians["lambda"],
        "call_us": medians["call"],
        "flops": flops,
        "gflop_per_s": 1e-3 * flops / network_us,
        "autograd_us": medians["autograd"],
        "ratio": statistics.median(np.divide(times["autograd"], times["call"]).tolist()),
    }


def network_flops(encoder: Encoder) -> int:
    """A product and a sum per weight forward, and the same backward."""
    return 4 * sum(weights.size for weights in encoder.weights)


if __name__ == "__main__":
    guarded(main)
