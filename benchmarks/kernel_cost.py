"""Time of one step of the compiled extended-ABF kernel, by the size of the CV.

    python benchmarks/kernel_cost.py [--hidden 20 40-40] [--components 1 3] [--atoms 20 300] [--json FILE]

The default encoder, 8 atoms and 24-40-2, with made-up weights; others that differ from it in one thing; and
plain CVs. One thread, one process, all in turns; medians over the repeats.

    us/call   the kernel from Python on its own memory, as OpenMM's callback calls it, positions in place
    fit       superposition and its derivatives, compiled, in % of us/call
    network   forward and backward
    lambda    ABF sample and step of the extended variable; what is left is the call from Python
    GFlop/s   2 flops per weight forward and 2 backward, over the time of the network; tanh does not count
    autograd  xi and its gradients by the exported TorchScript module, one backward pass per component

Before a size is timed, the kernel's forces are held against those of the torch module. Grids have 50 bins per
component, with three components 24; more than three are more than a grid takes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from kernel_parts import fit_seconds, lambda_seconds, network_seconds
from runs import NOT_A_NUMBER, Row, print_table, text, write_rows
from scipy.spatial.transform import Rotation

from aecv.ground.errors import CVError
from aecv.ground.grid import FloatArray
from aecv.models.cv import CV
from aecv.models.cv_files import load_cv
from aecv.models.observables import ObservableSet
from aecv.models.optimisation import one_thread
from aecv.models.plain_cv import observable_cv, with_range, write_cv
from aecv.models.spec import load_system
from aecv.models.torchscript import evaluate_with_gradient, read_module
from aecv.numerics import kernels, step_kernels
from aecv.numerics.abf import ExtendedVariable
from aecv.numerics.encoder import Encoder
from aecv.numerics.kernel_memory import KernelMemory
from aecv.sampling.engines.lambda_dynamics import LambdaDynamics
from aecv.workflow.coupling import extended_variable

Measure = Callable[[int], float]
"""Seconds of so many calls."""

N_ATOMS, HIDDEN, N_COMPONENTS = 8, (40,), 2
TOLERANCE = 1e-6
"""Relative difference of forces from which a kernel is wrong; right ones agree to 1e-12."""
N_FRAMES = 200
WARM_UP = 50
"""Calls; TorchScript optimises in the second and third."""
CARBON_DA = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Size:
    """One row before it is measured: a CV with its kernel, and how both are called.

    Attributes:
        varied: what differs from the default.
        module: the CV as the exported TorchScript module.
        frames: of the CV's atoms, shape (N_FRAMES, n_atoms, 3) [nm].
    """

    varied: str
    cv: CV
    extended: ExtendedVariable
    module: torch.jit.ScriptModule
    frames: FloatArray
    kernel: Callable[..., float]
    memory: KernelMemory

    @property
    def layers(self) -> str:
        """24-40-2, or what a plain CV is called."""
        return str(self.cv.source) if self.cv.encoder is None else "-".join(map(str, self.cv.encoder.layers))


def main() -> None:
    """Parse, check, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    hidden = ["20", "100", "300", "40-40", "100-100", "100-100-100"]
    parser.add_argument("--hidden", nargs="*", default=hidden, help="sizes of hidden layers, 40-40 for two")
    parser.add_argument("--components", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--atoms", type=int, nargs="*", default=[20, 50, 100, 300])
    parser.add_argument("--seconds", type=float, default=0.1, help="of every measurement")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, one_thread():
        sizes = list(make_sizes(options.hidden, options.components, options.atoms, Path(folder)))
        differences = [check_forces(size) for size in sizes]
        rows = measure(sizes, options.seconds, options.repeats)
    rows = [row | {"difference": found} for row, found in zip(rows, differences, strict=True)]
    print(f"forces of kernel and torch module agree to {max(differences):.0e}")
    header = ("varied", "layers", "atoms", "us/call", "fit", "network", "lambda", "flops", "GFlop/s")
    print_table((*header, "autograd", "ratio"), map(_line, rows), n_left=2)
    write_rows(options.json, {"rows": rows, "seconds": options.seconds, "repeats": options.repeats})


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


def make_sizes(
    hidden: Sequence[str], components: Sequence[int], atoms: Sequence[int], folder: Path
) -> Iterator[Size]:
    """The default, those that differ from it in one thing, and plain CVs; their files go into a folder."""
    encoders = [("default", N_ATOMS, HIDDEN, N_COMPONENTS)]
    encoders += [
        ("hidden layers", N_ATOMS, tuple(map(int, name.split("-"))), N_COMPONENTS) for name in hidden
    ]
    encoders += [("components", N_ATOMS, HIDDEN, d) for d in components]
    encoders += [("atoms", n, HIDDEN, N_COMPONENTS) for n in atoms]
    for index, (varied, n_atoms, widths, d) in enumerate(encoders):
        frames = made_up_frames(n_atoms)
        cv = made_up_encoder(frames[0], widths, d)
        yield _make_size(varied, cv, frames, folder / str(index))
    frames = made_up_frames(5)
    plain = ObservableSet(
        kinds={"phi": "dihedral", "psi": "dihedral", "distance": "distance"},
        indices={"phi": np.arange(4), "psi": np.arange(1, 5), "distance": np.arange(2)},
    )
    for names in (("phi", "psi"), ("distance",)):
        cv = observable_cv(plain, names)
        yield _make_size("plain CV", cv, frames[:, cv.atom_indices], folder / names[0])


def made_up_frames(n_atoms: int) -> FloatArray:
    """Atoms that scatter by 0.03 nm about random places, turned at random, shape (N_FRAMES, n_atoms, 3)."""
    rng = np.random.default_rng(n_atoms)
    places = 0.3 * rng.normal(size=(n_atoms, 3))
    frames = places + 0.03 * rng.normal(size=(N_FRAMES, n_atoms, 3))
    turns = Rotation.random(N_FRAMES, rng=rng).as_matrix()
    return np.einsum("fab,fib->fia", turns, frames)


def made_up_encoder(reference: FloatArray, hidden: Sequence[int], n_components: int) -> CV:
    """An encoder whose weights keep every layer's numbers near 1; they do not change what a step costs."""
    rng = np.random.default_rng(0)
    sizes = (reference.size, *hidden, n_components)
    scales = [3.0] + [1.0] * len(hidden)  # positions are a third of a nm
    pairs = zip(sizes[:-1], sizes[1:], scales, strict=True)
    encoder = Encoder(
        reference=reference,
        weights=tuple(scale * rng.normal(size=(n_out, n_in)) / np.sqrt(n_in) for n_in, n_out, scale in pairs),
        biases=tuple(0.1 * rng.normal(size=n_out) for n_out in sizes[1:]),
    )
    return CV(
        source="made up",
        encoder=encoder,
        module_path=None,
        atom_indices=np.arange(len(reference)),
        cv_range=np.full((n_components, 2), np.nan),
        system="",
        system_hash="",
        n_components=n_components,
    )


def _make_size(varied: str, cv: CV, frames: FloatArray, folder: Path) -> Size:
    """A CV written and read again, with its kernel; plain CVs keep the name that says what they are."""
    bins = 24 if cv.n_components == 3 else 50
    settings = load_system("ala2", overrides=[f"eabf.bins={bins}"]).settings
    local = replace(cv, atom_indices=np.arange(cv.n_atoms))
    write_cv(with_range(local, frames, margin=settings.eabf.margin), folder, system="", system_hash="")
    read = replace(load_cv(folder), source=cv.source)
    extended = extended_variable(read, frames, np.full(cv.n_atoms, CARBON_DA), settings)
    kernel, memory = kernel_of(read, extended)
    return Size(
        varied=varied,
        cv=read,
        extended=extended,
        module=read_module(folder / "cv.pt")[0],
        frames=frames,
        kernel=kernel,
        memory=memory,
    )


def kernel_of(cv: CV, extended: ExtendedVariable) -> tuple[Callable[..., float], KernelMemory]:
    """What OpenMM's callback calls for a CV, and the memory on which it works."""
    if cv.encoder is not None:
        return step_kernels.encoder_step, step_kernels.encoder_memory(cv.encoder, extended)
    return step_kernels.internal_step, step_kernels.internal_memory(cv.internal, extended)


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
    began = time.perf_counter()
    for step in range(n):
        kernel(step, floats, table, noise)
    return time.perf_counter() - began


def _lambda(size: Size, n: int) -> float:
    begin(size, size.frames[0])
    noise = np.random.default_rng(0).standard_normal((n, size.cv.n_components))
    return lambda_seconds(size.memory, size.cv(size.frames[0])[0], np.array(size.extended.grid.n_bins), noise)


def _autograd(size: Size, n: int) -> float:
    began = time.perf_counter()
    for _ in range(n):
        evaluate_with_gradient(size.module, size.frames[:1])
    return time.perf_counter() - began


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
    main()
