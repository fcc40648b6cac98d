"""Is it better to pool the iterations than to trust the last one? Runs of both kinds against a reference.

    python -m aecv.iterate --system ala2 --iters 6 --seed 1 --final-ns 0 --out runs/mbar1
    python -m aecv.iterate --system ala2 --iters 6 --seed 1 --final-ns 0 --pool none --out runs/none1
    python benchmarks/pooled_or_last.py runs/mbar1 runs/none1 [...] [--reference 9.18] [--json FILE]

One line per biased iteration: Delta F of the pool and of the iteration alone with their errors against the
reference [kJ/mol], the score and the nonlinear score, the effective number of frames that trained the CV and
the passages between the basins. With --pool none the pool is the iteration alone, with weights exp(-F/kT).

Then per run and kind of estimate the root-mean-square error over the iterations from --first on, and the
first iteration from which the error stays below --below; and the means over the runs of a kind.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from runs import (
    Row,
    biased_iterations,
    grouped,
    passages_of,
    print_table,
    settings_of,
    spread_text,
    text,
    value_of,
    write_rows,
)

KINDS = {"pool": "delta_f_kj_mol", "alone": "delta_f_iteration_kj_mol"}
"""What an iteration estimates Delta F from, and the field of its record."""


def main() -> None:
    """Parse, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument(
        "--reference", type=float, default=9.18, help="Delta F [kJ/mol]; ala2's when left out"
    )
    parser.add_argument("--first", type=int, default=2, help="first iteration of the rms error")
    parser.add_argument("--below", type=float, default=1.0, help="error that counts as settled [kJ/mol]")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    rows = [row for run in options.runs for row in rows_of(run, options.reference)]
    header = [
        "run",
        "pool",
        "iter",
        "Delta F",
        "error",
        "alone",
        "error",
        "score",
        "nonlinear",
        "n_eff",
        "passages",
    ]
    print_table(header, [line(row) for row in rows], n_left=2)
    totals = [
        total(list(group), kind, options.first, options.below)
        for group in grouped(rows, lambda row: row["run"]).values()
        for kind in KINDS
    ]
    print(
        f"\nrms error from iteration {options.first} on, and where it settles below {options.below:g} kJ/mol"
    )
    header = ["run", "pool", "estimate", "rms error", "settled from"]
    print_table(header, [total_line(item) for item in totals], n_left=3)
    groups = grouped(totals, lambda item: (item["mode"], item["kind"])).values()
    print("\nover the runs of a kind")
    header = ["pool", "estimate", "runs", "rms error", "settled from", "settled"]
    print_table(header, [kind_line(group) for group in groups], n_left=2)
    write_rows(options.json, {"reference": options.reference, "rows": rows, "totals": totals})


def rows_of(run: Path, reference: float) -> list[Row]:
    """One row per biased iteration."""
    mode, rows = settings_of(run).pool.mode, []
    for _, record in biased_iterations(run):
        row: Row = {"run": str(run), "mode": mode, "iteration": record["index"]}
        for kind, key in KINDS.items():
            row[kind] = value_of(record, key)
            row[f"{kind}_error"] = row[kind] - reference
        row |= {key: value_of(record, key) for key in ("score", "score_nonlinear", "n_effective")}
        rows.append(row | {"passages": passages_of(record)})
    return rows


def total(rows: Sequence[Row], kind: str, first: int, below: float) -> Row:
    """What the iterations of a run come to for one kind of estimate."""
    errors = np.array([row[f"{kind}_error"] for row in rows])
    late = errors[[row["iteration"] >= first for row in rows]]
    return {
        "run": rows[0]["run"],
        "mode": rows[0]["mode"],
        "kind": kind,
        "rms_error": float(np.sqrt(np.mean(late**2))) if len(late) else float("nan"),
        "settled_from": settled_from([row["iteration"] for row in rows], errors.tolist(), below),
    }


def settled_from(iterations: Sequence[int], errors: Sequence[float], below: float) -> int | None:
    """First iteration from which on every error is smaller; None if the last one is not, or not known."""
    found = None
    for iteration, error in zip(reversed(iterations), reversed(errors), strict=True):
        if not abs(error) < below:
            break
        found = iteration
    return found


def line(row: Row) -> list[str]:
    """A row in words."""
    return [
        Path(row["run"]).name,
        row["mode"],
        str(row["iteration"]),
        text(row["pool"]),
        text(row["pool_error"], "+.2f"),
        text(row["alone"]),
        text(row["alone_error"], "+.2f"),
        text(row["score"], ".3f"),
        text(row["score_nonlinear"], ".3f"),
        text(row["n_effective"], ".0f"),
        text(row["passages"], ".0f"),
    ]


def total_line(item: Row) -> list[str]:
    """What a run comes to, in words."""
    settled = item["settled_from"]
    never = "never" if settled is None else str(settled)
    return [Path(item["run"]).name, item["mode"], item["kind"], text(item["rms_error"]), never]


def kind_line(group: list[Row]) -> list[str]:
    """Runs of a kind together; the mean iteration is that of the runs that settled."""
    return [
        group[0]["mode"],
        group[0]["kind"],
        str(len(group)),
        spread_text(group, "rms_error"),
        spread_text(group, "settled_from", ".1f"),
        f"{sum(item['settled_from'] is not None for item in group)} of {len(group)}",
    ]


if __name__ == "__main__":
    main()
