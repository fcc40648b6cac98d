"""Free energies of the toy systems, from finished runs, against the exact ones.

    python -m aecv.iterate --system mueller_brown --iters 5 --seed 1 --out runs/mb1   # other seeds, systems
    python benchmarks/toys.py runs/mb1 [runs/mb2 ...] [--json FILE]

One line per biased iteration and production: the largest error of F below 8 kT of the exact F, both less
their mean there, of F(xi) reweighted by MBAR (fes_xi.dat), of F(lambda) by ABF (fes_xi_abf.dat) and of F(xi)
by CZAR (fes_xi_czar.dat); the share of those bins whose 95 % error bar on the reweighted F(xi) holds the
exact value; Delta F of the pool with half its 95 % interval, the exact one, and whether the interval holds
it. Bins that an estimate does not know count in no error; their number stands in "unknown".

Then means and standard deviations over the seeds of each system. The exact values come from the exact.json
that a run of a particle leaves in every folder; runs of molecules have none and are refused.
"""

import argparse
from pathlib import Path

import numpy as np
from runs import (
    Row,
    biased_iterations,
    grouped,
    interval_of,
    print_table,
    production_of,
    settings_of,
    spread_text,
    text,
    value_of,
    with_error,
    write_rows,
    yes_no,
)

from aecv.ground.errors import StoreError
from aecv.ground.files import read_json
from aecv.ground.units import thermal_energy

ESTIMATES = {"xi": "MBAR", "xi_abf": "ABF", "xi_czar": "CZAR"}
"""Estimates of exact.json, and what their columns are called."""


def main() -> None:
    """Parse, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    rows = [row for run in options.runs for row in rows_of(run)]
    print("largest errors within 8 kT in kJ/mol (kT)")
    header = ["system", "seed", "what", *ESTIMATES.values(), "unknown", "held", "Delta F", "exact", "holds"]
    print_table(header, [line(row) for row in rows], n_left=3)
    print("\nmean ± standard deviation over seeds, errors in kT")
    groups = grouped(rows, lambda row: (row["system"], row["what"]))
    header = ["system", "what", "seeds", *ESTIMATES.values(), "held", "Delta F - exact", "holds"]
    print_table(header, [summary_line(group) for group in groups.values()], n_left=2)
    write_rows(options.json, {"rows": rows})


def rows_of(run: Path) -> list[Row]:
    """One row per biased iteration and production of a run.

    Raises:
        StoreError: for a run of a molecule, which has no exact answer.
    """
    settings, kt = settings_of(run), thermal_energy(settings_of(run).dynamics.temperature_k)
    places = [(f"iteration {record['index']}", folder, record) for folder, record in biased_iterations(run)]
    made = production_of(run)
    if made is not None:
        places.append(("production", *made))
    rows = []
    for what, folder, record in places:
        if not (folder / "exact.json").is_file():
            raise StoreError(
                f"{folder}: needs exact.json, there is none; give runs of particles on a potential"
            )
        exact = read_json(folder / "exact.json")
        low, high = interval_of(record, "delta_f_interval")
        truth = value_of(exact, "delta_f_kj_mol")
        errors = {name: exact["errors_kj_mol"][name] for name in ESTIMATES}
        rows.append(
            {
                "run": run.name,
                "system": settings.system.name,
                "seed": settings.run.seed,
                "what": what,
                "largest_kj_mol": {name: error["largest"] for name, error in errors.items()},
                **{f"{name}_kt": value_of(error, "largest") / kt for name, error in errors.items()},
                "n_unknown": {name: error["n_unknown"] for name, error in errors.items()},
                "held": value_of(errors["xi"], "share_within_1.96_se"),
                "delta_f": value_of(record, "delta_f_kj_mol"),
                "half_width": 0.5 * (high - low),
                "exact": truth,
                "delta_f_error": value_of(record, "delta_f_kj_mol") - truth,
                "holds": None if np.isnan([low, truth]).any() else low <= truth <= high,
            }
        )
    return rows


def line(row: Row) -> list[str]:
    """A row in words."""
    errors = [f"{text(row['largest_kj_mol'][name])} ({text(row[f'{name}_kt'])})" for name in ESTIMATES]
    return [
        row["system"],
        str(row["seed"]),
        row["what"],
        *errors,
        "/".join(str(row["n_unknown"][name]) for name in ESTIMATES),
        text(row["held"], ".0%"),
        with_error(row["delta_f"], row["half_width"]),
        text(row["exact"]),
        yes_no(row["holds"]),
    ]


def summary_line(group: list[Row]) -> list[str]:
    """One iteration, or the production, over the seeds of a system."""
    return [
        group[0]["system"],
        group[0]["what"],
        str(len(group)),
        *(spread_text(group, f"{name}_kt") for name in ESTIMATES),
        spread_text(group, "held", ".0%"),
        spread_text(group, "delta_f_error"),
        f"{sum(bool(row['holds']) for row in group)} of {len(group)}",
    ]


if __name__ == "__main__":
    main()
