"""Where the error of one iteration sits: the same frames, weighted in different ways, against a reference.

    python benchmarks/error_sources.py reference.npz runs/ala2 [runs/other ...] [--first 2] [--json FILE]

Each biased iteration from --first on, and each production, is weighted as a sample of its own bias alone, and
one thing at a time is changed: how much of the start is left out, into how many blocks of time the changing
bias is cut, whether the potential of a block comes from count-weighted or unweighted Poisson integration,
whether weights come from lambda or from the bias marginalised over lambda, how dense frames are. Printed over
the iterations: mean and root-mean-square error of Delta F, root-mean-square difference of F(phi, psi) below
25 kJ/mol from the reference, and the effective number of frames.

What all rows of an iteration share (how often walkers passed between the basins) no weighting can mend: the
last lines give the error that the number of passages alone explains.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from compare_phi_psi import free_energy, reference_values, rmsd

from aecv.ground.grid import FloatArray
from aecv.ground.settings import PoolSettings
from aecv.ground.units import thermal_energy
from aecv.models.cvs.cv_files import load_cv
from aecv.molecules.spec import load_system
from aecv.numerics.free_energy.integration import delta_f
from aecv.numerics.free_energy.weights import effective_sample_size
from aecv.numerics.statistics.diagnostics import basin_visits
from aecv.numerics.statistics.intervals import crossing_error
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.weights.pool import BiasedIteration, mbar_pool, plain_pool

KT = thermal_energy(load_system("ala2").settings.dynamics.temperature_k)
Weigh = Callable[[BiasedIteration], FloatArray]


def mbar(**changes: Any) -> Weigh:
    """Weights of one iteration by MBAR over its blocks (or frozen stages)."""
    settings = PoolSettings(**changes)
    return lambda item: mbar_pool([item], settings).last_weights


def from_lambda(discard: float) -> Weigh:
    """exp(-F_kappa(lambda)/kT) with the final estimate of F_kappa."""
    return lambda item: plain_pool(item, PoolSettings(mode="none", discard=discard)).last_weights


def thinned(stride: int) -> Weigh:
    """The default with every stride-th frame."""

    def weigh(item: BiasedIteration) -> FloatArray:
        weights = mbar()(item)
        weights[np.arange(len(weights)) % stride > 0] = 0.0
        return weights / weights.sum()

    return weigh


def final_bias_only(item: BiasedIteration) -> FloatArray:
    """Every frame as if the bias had been the final one all the time."""
    last = replace(
        item.bias.history, shares=item.bias.history.shares[-1:], samples=item.bias.history.samples[-1:]
    )
    return mbar(blocks=1)(replace(item, bias=replace(item.bias, history=last)))


def unweighted_poisson(item: BiasedIteration) -> FloatArray:
    """Potentials whose edges all count alike, however few samples their bins have."""
    history = item.bias.history
    samples = history.samples.copy()
    counts = samples[:, :, :1]
    n_dims = item.bias.grid.n_dims
    visited = counts >= item.bias.extended.full_samples
    # the same mean forces from the same number of samples in every bin whose bias is applied in full
    scale = np.where(visited, 1e4 / np.maximum(counts, 1.0), 1.0)
    samples[:, :, : 1 + n_dims] *= scale
    return mbar()(replace(item, bias=replace(item.bias, history=replace(history, samples=samples))))


VARIANTS: dict[str, Weigh] = {
    "default: 4 blocks, first 0.2 left out": mbar(),
    "1 block, bias in its middle": mbar(blocks=1),
    "1 block, final bias": final_bias_only,
    "2 blocks": mbar(blocks=2),
    "10 blocks": mbar(blocks=10),
    "20 blocks": mbar(blocks=20),
    "nothing left out": mbar(discard=0.0),
    "first 0.1 left out": mbar(discard=0.1),
    "first 0.4 left out": mbar(discard=0.4),
    "first 0.6 left out": mbar(discard=0.6),
    "potential by unweighted Poisson": unweighted_poisson,
    "every 4th frame": thinned(4),
    "every 16th frame": thinned(16),
    "weights from lambda, first 0.2 left out": from_lambda(0.2),
    "weights from lambda, nothing left out": from_lambda(0.0),
}


def main() -> None:
    """Parse, weigh, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--first", type=int, default=2, help="first iteration that counts")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    truth, value = reference_values(options.reference, KT)
    items = [item for run in options.runs for item in items_of(run, options.first)]
    print(f"reference {value:.2f} kJ/mol; {len(items)} iterations of {len(options.runs)} runs")
    print(f"{'weights':<42}{'mean error':>11}{'rms error':>11}{'rmsd F':>8}{'n_eff':>8}")
    rows = [measured(name, weigh, items, value, truth) for name, weigh in VARIANTS.items()]
    for row in rows:
        print(
            f"{row['weights']:<42}{row['mean_error']:>+11.2f}{row['rms_error']:>11.2f}{row['rmsd']:>8.2f}"
            f"{row['n_effective']:>8.0f}"
        )
    expected = float(np.sqrt(np.mean([passage_error(item) ** 2 for item in items])))
    print(f"the number of passages alone explains an rms error of {expected:.2f} kJ/mol")
    if options.json is not None:
        options.json.write_text(json.dumps({"rows": rows, "explained_by_passages": expected}, indent=1))


def items_of(run: Path, first: int) -> list[BiasedIteration]:
    """The biased iterations of a run."""
    items, index = [], first
    while (run / f"iteration_{index:02d}" / "weights.npz").exists():
        folder = run / f"iteration_{index:02d}"
        items.append(
            BiasedIteration(
                index=index,
                samples=Samples.load(folder / "samples.npz"),
                bias=Bias.load(folder / "bias.npz"),
                cv=load_cv(run / f"iteration_{index - 1:02d}"),
            )
        )
        index += 1
    return items


def measured(
    name: str, weigh: Weigh, items: list[BiasedIteration], value: float, truth: FloatArray
) -> dict[str, Any]:
    """Errors of one way to weigh, over the iterations."""
    errors, distances, effective = [], [], []
    for item in items:
        weights, observables = weigh(item), item.samples.observables
        inside = (observables["phi"] > 0) & (observables["phi"] < 2.2)
        errors.append(delta_f(inside, weights, kt=KT) - value)
        found = free_energy(observables["phi"], observables["psi"], weights, KT)
        distances.append(rmsd(found, truth, KT))
        effective.append(effective_sample_size(weights))
    return {
        "weights": name,
        "mean_error": float(np.mean(errors)),
        "rms_error": float(np.sqrt(np.mean(np.square(errors)))),
        "rmsd": float(np.sqrt(np.mean(np.square(distances)))),
        "n_effective": float(np.mean(effective)),
        "errors": [float(error) for error in errors],
    }


def passage_error(item: BiasedIteration) -> float:
    """Standard error of Delta F that the passages between phi < 0 and phi > 0 allow [kJ/mol]."""
    samples = item.samples
    n_basins = int(samples.basin.max()) + 1
    phi = [np.median(samples.observables["phi"][samples.basin == basin]) for basin in range(n_basins)]
    inside = np.array([0 < value < 2.2 for value in phi])
    counted = samples.progress > item.bias.begin(PoolSettings().discard)
    visits = basin_visits(samples.basin[counted], samples.walker[counted], n_basins)
    return crossing_error(*visits.crossings(inside), kt=KT)


if __name__ == "__main__":
    main()
