"""F(phi, psi) and Delta F of runs of alanine dipeptide against an independent reference.

    python benchmarks/reference_phi_psi.py --out reference.npz        # once, an hour or less
    python benchmarks/compare_phi_psi.py reference.npz runs/ala2 [runs/other ...] [--json FILE]

Prints, for every biased iteration (pool, and the iteration alone) and the production: Delta F with its 95 %
Prints for every biased iteration (pool, and the iteration alone) and the production Delta F with its 95 %
bins where the reference is below 25 kJ/mol, both free energies at the same zero (that of the populated bins).
Bins of 36 x 36: a reference of 4e5 frames has some hundred frames in each of them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.files import read_arrays, read_json
from aecv.ground.grid import FloatArray
from aecv.ground.units import thermal_energy
from aecv.models.spec import load_system
from aecv.numerics.free_energy import delta_f
from aecv.numerics.intervals import aligned
from aecv.workflow.samples import Samples

N_BINS, BELOW_KJ_MOL, BLOCKS = 36, 25.0, 10
EDGES = np.linspace(-np.pi, np.pi, N_BINS + 1)


def main() -> None:
    """Parse, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings = load_system("ala2").settings
    kt = thermal_energy(settings.dynamics.temperature_k)
    reference = read_arrays(options.reference)
    weights = np.exp(reference["log_weight"] - reference["log_weight"].max())
    truth = free_energy(reference["phi"], reference["psi"], weights, kt)
    inside = (reference["phi"] > 0.0) & (reference["phi"] < 2.2)
    value = delta_f(inside, weights, kt=kt)
    parts = np.array_split(np.arange(len(weights)), BLOCKS)
    error = np.std([delta_f(inside[p], weights[p], kt=kt) for p in parts], ddof=1) / np.sqrt(BLOCKS)
    halves = [free_energy(reference["phi"][p], reference["psi"][p], weights[p], kt) for p in halved(weights)]
    print(
        f"reference: Delta F {value:.2f} +- {error:.2f} kJ/mol; its halves differ by {rmsd(*halves, kt):.2f}"
    )
    rows = [row for run in options.runs for row in rows_of(run, truth, value, kt)]
    print(f"{'run':<10}{'what':<22}{'Delta F':>8}{'95 % interval':>18}{'holds':>7}{'off by':>8}{'rmsd':>7}")
    for row in rows:
        low, high = row["interval"]
        holds = "yes" if row["holds"] else "no"
        print(
            f"{row['run']:<10}{row['what']:<22}{row['delta_f']:>8.2f}{f'[{low:.2f}, {high:.2f}]':>18}"
            f"{holds:>7}{row['delta_f'] - value:>+8.2f}{row['rmsd']:>7.2f}"
        )
    if options.json is not None:
        result = {"reference": {"delta_f": value, "standard_error": float(error)}, "rows": rows}
        options.json.write_text(json.dumps(result, indent=1))


def rows_of(run: Path, truth: FloatArray, value: float, kt: float) -> list[dict[str, Any]]:
    """One row per estimate of a run."""
    summary, rows = read_json(run / "summary.json"), []
    for record in summary["iterations"][1:]:
        folder = run / f"iteration_{record['index']:02d}"
        stored = read_arrays(folder / "weights.npz")
        pool, alone = pool_observables(run, stored), Samples.load(folder / "samples.npz").observables
        for what, key, observables, weights in (
            ("pool", "delta_f", pool, stored["weights"]),
            ("alone", "delta_f_iteration", alone, stored["last_weights"]),
        ):
            found = free_energy(observables["phi"], observables["psi"], weights, kt)
            interval = [float(end) for end in record[f"{key}_interval"]]
            rows.append(
                row(run, f"{record['index']} {what}", record[f"{key}_kj_mol"], interval, found, truth, kt)
            )
    made = summary["production"]
    if made is not None:
        folder = run / made["folder"]
        stored = read_arrays(folder / "weights.npz")
        own = Samples.load(folder / "samples.npz").observables
        pool = pool_observables(run, stored, {made["cv_iteration"] + 1: own})
        for what, key, observables, weights in (
            ("production and pool", "delta_f", pool, stored["weights"]),
            ("production alone", "delta_f_alone", own, stored["last_weights"]),
        ):
            found = free_energy(observables["phi"], observables["psi"], weights, kt)
            interval = [float(end) for end in made[f"{key}_interval"]]
            rows.append(row(run, what, made[f"{key}_kj_mol"], interval, found, truth, kt))
    for item in rows:
        item["holds"] = item["interval"][0] <= value <= item["interval"][1]
    return rows


def row(
    run: Path,
    what: str,
    estimate: Any,
    interval: list[float],
    found: FloatArray,
    truth: FloatArray,
    kt: float,
) -> dict[str, Any]:
    """A line of the table."""
    return {
        "run": run.name,
        "what": what,
        "delta_f": float(estimate),
        "interval": interval,
        "rmsd": rmsd(found, truth, kt),
    }


def pool_observables(
    run: Path, stored: dict[str, Any], known: dict[int, dict[str, FloatArray]] | None = None
) -> dict[str, FloatArray]:
    """phi and psi of a pool's frames; of numbers that are no iteration of the run, from `known`."""
    found = {name: np.empty(len(stored["frame"])) for name in ("phi", "psi")}
    for index in np.unique(stored["iteration"]):
        mine = stored["iteration"] == index
        source = (known or {}).get(int(index))
        if source is None:
            source = Samples.load(run / f"iteration_{index:02d}" / "samples.npz").observables
        for name, values in found.items():
            values[mine] = source[name][stored["frame"][mine]]
    return found


def free_energy(phi: FloatArray, psi: FloatArray, weights: FloatArray, kt: float) -> FloatArray:
    """-kT ln(weight per bin), NaN in empty bins [kJ/mol], shape (N_BINS, N_BINS)."""
    mass, _, _ = np.histogram2d(phi, psi, bins=(EDGES, EDGES), weights=weights)
    result = np.full(mass.shape, np.nan)
    np.log(mass, out=result, where=mass > 0)
    return -kt * (result - np.nanmax(result))


def rmsd(found: FloatArray, truth: FloatArray, kt: float) -> float:
    """Root-mean-square difference over bins with reference < BELOW_KJ_MOL; NaN where nothing is known."""
    if not np.isfinite(found).any():
        return float("nan")
    low = truth < BELOW_KJ_MOL
    difference = (aligned(found, truth, kt=kt) - truth)[low]
    known = np.isfinite(difference)
    return float(np.sqrt(np.mean(difference[known] ** 2)))


def halved(weights: FloatArray) -> list[Any]:
    """First and second half of the frames."""
    middle = len(weights) // 2
    return [slice(None, middle), slice(middle, None)]


if __name__ == "__main__":
    main()
