"""What a setting of the bias does on a molecule: the same CV, the same start, one setting changed.

    python benchmarks/bias_variants.py reference.npz runs/ala2 --iteration 4 [--ns 10] [--json FILE]

The run is copied up to --iteration, and a production along that iteration's CV is made with each variant of
the settings. Printed: passages between the basins per ns, Delta F of the frames alone with its 95 % interval,
its error, root-mean-square difference of F(phi, psi) below 25 kJ/mol from the reference, the largest split
R-hat, the effective number of frames, and the steps per second (trust the ratio).
"""

import argparse
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from compare_phi_psi import free_energy, reference_values, rmsd
from runs import write_rows

from aecv.ground.files import read_arrays, read_json, write_json
from aecv.ground.grid import FloatArray
from aecv.ground.layers import merge, validate
from aecv.ground.units import thermal_energy
from aecv.molecules.spec import load_system
from aecv.workflow.loop import iterate
from aecv.workflow.run_folder.samples import Samples

VARIANTS: dict[str, dict[str, Any]] = {
    "adapts throughout": {},
    "frozen after 0.3, 4 stages": {"production": {"frozen_stages": 4}},
    "frozen after 0.3, 14 stages": {"production": {"frozen_stages": 14}},
    "frozen after 0.6, 4 stages": {"production": {"frozen_stages": 4}, "eabf": {"adaptive_share": 0.6}},
    "ceiling 40 kJ/mol": {"eabf": {"ceiling_kj_mol": 40.0}},
    "ceiling 80 kJ/mol": {"eabf": {"ceiling_kj_mol": 80.0}},
    "no warm start": {"eabf": {"warm_start": False}},
    "30 bins": {"eabf": {"bins": 30}},
    "80 bins": {"eabf": {"bins": 80}},
    "sigma of 2 bins": {"eabf": {"sigma_bins": 2.0}},
    "tau 0.05 ps": {"eabf": {"tau_ps": 0.05}},
    "tau 1 ps": {"eabf": {"tau_ps": 1.0}},
    "friction 1/ps": {"eabf": {"friction_per_ps": 1.0}},
    "friction 50/ps": {"eabf": {"friction_per_ps": 50.0}},
    "full at 100 samples": {"eabf": {"full_samples": 100}},
    "full at 5000 samples": {"eabf": {"full_samples": 5000}},
}


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--iteration", type=int, default=4, help="whose CV is biased")
    parser.add_argument("--ns", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", default=[], help="parts of the variants' names; all if left out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kt = thermal_energy(load_system("ala2").settings.dynamics.temperature_k)
    truth, value = reference_values(options.reference, kt)
    print(
        f"reference {value:.2f} kJ/mol; CV of {options.run}, iteration {options.iteration}; {options.ns:g} ns"
    )
    print(
        f"{'variant':<28}{'passages/ns':>12}{'Delta F':>9}{'95 % interval':>18}{'error':>7}{'rmsd F':>8}"
        f"{'R-hat':>7}{'n_eff':>8}{'steps/s':>9}",
        flush=True,
    )
    rows = []
    for name, changes in VARIANTS.items():
        if options.only and not any(part in name for part in options.only):
            continue
        row = measured(name, changes, options, truth, value, kt)
        rows.append(row)
        low, high = row["interval"]
        interval, error = f"[{low:.2f}, {high:.2f}]", row["delta_f"] - value
        print(
            f"{name:<28}{row['passages_per_ns']:>12.1f}{row['delta_f']:>9.2f}{interval:>18}{error:>+7.2f}"
            f"{row['rmsd']:>8.2f}{row['r_hat']:>7.2f}{row['n_effective']:>8.0f}"
            f"{row['steps_per_s']:>9.0f}",
            flush=True,
        )
        write_rows(options.json, {"reference": value, "rows": rows})


def measured(
    name: str,
    changes: dict[str, Any],
    options: argparse.Namespace,
    truth: FloatArray,
    value: float,
    kt: float,
) -> dict[str, Any]:
    """One variant, run in a copy of the run."""
    # beside the run, since links do not cross file systems
    with tempfile.TemporaryDirectory(dir=options.run.parent) as scratch:
        run = Path(scratch) / "run"
        begun = {"production": {"ns": options.ns, "frozen_stages": 0}}
        spec = copied(options.run, run, options.iteration, merge(begun, changes))
        made = iterate(spec, run, resume=True).production
        assert made is not None
        folder = run / made.folder
        own = Samples.load(folder / "samples.npz").observables
        alone = read_arrays(folder / "weights.npz")["last_weights"]
        found = free_energy(own["phi"], own["psi"], alone, kt)
        r_hat = read_json(folder / "coverage.json")["r_hat"]
    return {
        "variant": name,
        "passages_per_ns": (made.passages or 0) / made.ns,
        "delta_f": made.delta_f_alone_kj_mol,
        "interval": made.delta_f_alone_interval,
        "rmsd": rmsd(found, truth, kt),
        "r_hat": max((float(value) for value in r_hat.values() if value is not None), default=np.nan),
        "n_effective": made.n_effective,
        "steps_per_s": made.steps_per_s,
    }


def copied(source: Path, run: Path, last: int, changes: dict[str, Any]) -> Any:
    """Copy a run up to an iteration and give it other settings; returns its specification."""
    run.mkdir()
    for index in range(last + 1):
        name = f"iteration_{index:02d}"
        shutil.copytree(source / name, run / name, copy_function=os.link)
    manifest = read_json(source / "run.json")
    counted = {"run": {"iterations": last + 1}, "convergence": {"stop": False}}
    settings = validate(merge(manifest["settings"], counted, changes), source=str(source))
    manifest["settings"] = settings.model_dump(mode="json")
    write_json(run / "run.json", manifest)
    return replace(load_system(settings.system.name), settings=settings)


if __name__ == "__main__":
    main()
