"""F(phi, psi) and Delta F of runs of alanine dipeptide against an independent reference.

    python benchmarks/reference_phi_psi.py --out reference.npz        # once, an hour or less
    python benchmarks/compare_phi_psi.py reference.npz runs/ala2 [runs/other ...] [--json FILE]

Prints for every biased iteration (pool, and the iteration alone) and the production Delta F with its 95 %
interval, whether that holds the reference, and the root-mean-square difference of F(phi, psi) over the bins
where the reference is below 25 kJ/mol, both free energies at the same zero (that of the populated bins). Bins
of 36 x 36: a reference of 4e5 frames has some hundred frames in each of them.

Beside the pool of an iteration stand its score and s_min, and R^2 between its CV and the (sin, cos) of phi
and psi, linear and nonlinear: xi>obs is the worse observable on xi, obs>xi the worse component of xi on them.
Below stand mean and standard deviation over the runs, of every iteration and of the production.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from runs import (
    Row,
    biased_iterations,
    grouped,
    interval_of,
    interval_text,
    print_table,
    production_of,
    spread_text,
    text,
    value_of,
    write_rows,
    yes_no,
)

from aecv.ground.arrays import FloatArray
from aecv.ground.files import read_arrays
from aecv.ground.units import thermal_energy
from aecv.molecules.spec import load_system
from aecv.numerics.free_energy.integration import delta_f
from aecv.numerics.statistics.intervals import aligned
from aecv.workflow.run_folder.samples import Samples

N_BINS, BELOW_KJ_MOL, BLOCKS = 36, 25.0, 10
EDGES = np.linspace(-np.pi, np.pi, N_BINS + 1)
QUALITY = {
    "score": "score",
    "s_min": "s_min",
    "r2_observables": "xi>obs",
    "r2_observables_nonlinear": "nonlin",
    "r2_xi": "obs>xi",
    "r2_xi_nonlinear": "nonlin",
}
"""Columns that belong to an iteration's CV, and what they are called."""


def main() -> None:
    """Parse, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    kt = thermal_energy(load_system("ala2").settings.dynamics.temperature_k)
    reference, weights, inside = read_reference(options.reference)
    truth, value = reference_values(options.reference, kt)
    parts = np.array_split(np.arange(len(weights)), BLOCKS)
    error = np.std([delta_f(inside[p], weights[p], kt=kt) for p in parts], ddof=1) / np.sqrt(BLOCKS)
    halves = [free_energy(reference["phi"][p], reference["psi"][p], weights[p], kt) for p in halved(weights)]
    print(
        f"reference: Delta F {value:.2f} +- {error:.2f} kJ/mol; its halves differ by {rmsd(*halves, kt):.2f}"
    )
    rows = [row for run in options.runs for row in rows_of(run, truth, value, kt)]
    header = ["run", "what", "Delta F", "95 % interval", "holds", "off by", "rmsd", *QUALITY.values()]
    print_table(header, [line(row) for row in rows], n_left=2)
    print("\nmean ± standard deviation over runs")
    header = ["what", "runs", "Delta F", "off by", "holds", "rmsd", *QUALITY.values()]
    print_table(header, [summary_line(group) for group in by_estimate(rows)])
    write_rows(options.json, {"reference": {"delta_f": value, "standard_error": float(error)}, "rows": rows})


def read_reference(path: Path) -> tuple[dict[str, Any], FloatArray, Any]:
    """Arrays of a reference, weights of its frames, and which lie inside 0 < phi < 2.2."""
    stored = read_arrays(path)
    weights = np.exp(stored["log_weight"] - stored["log_weight"].max())
    return stored, weights, (stored["phi"] > 0.0) & (stored["phi"] < 2.2)


def reference_values(path: Path, kt: float) -> tuple[FloatArray, float]:
    """F(phi, psi) of a reference, shape (N_BINS, N_BINS), and its Delta F [kJ/mol]."""
    stored, weights, inside = read_reference(path)
    return free_energy(stored["phi"], stored["psi"], weights, kt), delta_f(inside, weights, kt=kt)


def rows_of(run: Path, truth: FloatArray, value: float, kt: float) -> list[Row]:
    """One row per estimate of a run.

    Args:
        truth: F(phi, psi) of the reference [kJ/mol], shape (N_BINS, N_BINS).
        value: its Delta F [kJ/mol].
    """
    rows = []
    for folder, record in biased_iterations(run):
        stored = read_arrays(folder / "weights.npz")
        pool, alone = pool_observables(run, stored), Samples.load(folder / "samples.npz").observables
        for what, key, observables, weights in (
            ("pool", "delta_f", pool, stored["weights"]),
            ("alone", "delta_f_iteration", alone, stored["last_weights"]),
        ):
            found = free_energy(observables["phi"], observables["psi"], weights, kt)
            quality = quality_of(record if what == "pool" else {})
            rows.append(
                {"run": str(run), "what": f"{record['index']} {what}"}
                | compared(record, key, value)
                | {"rmsd": rmsd(found, truth, kt)}
                | quality
            )
    made = production_of(run)
    if made is not None:
        folder, record = made
        stored = read_arrays(folder / "weights.npz")
        own = Samples.load(folder / "samples.npz").observables
        pool = pool_observables(run, stored, {record["cv_iteration"] + 1: own})
        for what, key, observables, weights in (
            ("production and pool", "delta_f", pool, stored["weights"]),
            ("production alone", "delta_f_alone", own, stored["last_weights"]),
        ):
            found = free_energy(observables["phi"], observables["psi"], weights, kt)
            rows.append(
                {"run": str(run), "what": what}
                | compared(record, key, value)
                | {"rmsd": rmsd(found, truth, kt)}
                | quality_of({})
            )
    return rows


def compared(record: Row, key: str, truth: float) -> Row:
    """Delta F of a record against the reference; NaN and None for what the record does not know."""
    low, high = interval_of(record, f"{key}_interval")
    estimate = value_of(record, f"{key}_kj_mol")
    return {
        "delta_f": estimate,
        "interval": [low, high],
        "off_by": estimate - truth,
        "holds": None if np.isnan(low) else low <= truth <= high,
    }


def quality_of(record: Row) -> Row:
    """Score, s_min and R^2 of a record; NaN for what it does not know."""
    found = {key: value_of(record, key) for key in ("score", "s_min")}
    regressions = dict(record.get("observables") or {})
    reverse = regressions.pop("xi", {})
    for kind, suffix in (("linear", ""), ("nonlinear", "_nonlinear")):
        values = [value_of(item, kind) for item in regressions.values()]
        found[f"r2_observables{suffix}"] = min(values, default=float("nan"))
        found[f"r2_xi{suffix}"] = value_of(reverse, kind)
    return found


def by_estimate(rows: Iterable[Row]) -> list[list[Row]]:
    """The same estimate of every run: the pools of the iterations, the iterations alone, the production."""
    groups = grouped(rows, lambda row: row["what"])

    def place(what: Any) -> tuple[int, int]:
        number, _, kind = str(what).partition(" ")
        return (("pool", "alone").index(kind), int(number)) if number.isdecimal() else (2, 0)

    return [groups[what] for what in sorted(groups, key=place)]


def line(row: Row) -> list[str]:
    """A row in words."""
    return [
        Path(row["run"]).name,
        row["what"],
        text(row["delta_f"]),
        interval_text(row["interval"]),
        yes_no(row["holds"]),
        text(row["off_by"], "+.2f"),
        text(row["rmsd"]),
        *(text(row[key], ".3f") for key in QUALITY),
    ]


def summary_line(group: list[Row]) -> list[str]:
    """One estimate over the runs."""
    return [
        group[0]["what"],
        str(len(group)),
        spread_text(group, "delta_f"),
        spread_text(group, "off_by", "+.2f"),
        f"{sum(bool(row['holds']) for row in group)} of {len(group)}",
        spread_text(group, "rmsd"),
        *(spread_text(group, key, ".3f") for key in QUALITY),
    ]


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
