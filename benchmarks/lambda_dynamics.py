"""Mass, friction and width of lambda, ramp and ceiling: what they do to F(xi) at a fixed number of steps.

    python -m aecv.iterate --system mueller_brown --iters 3 --out runs/mb
    python benchmarks/lambda_dynamics.py runs/mb [--steps 400000] [--repeats 4] [--json FILE]

Adaptive extended ABF without a warm start, along the last CV of a run on a potential with a known answer,
by the engine and walkers of the loop; one setting is changed at a time. Printed: root-mean-square and largest
error of F(xi) by CZAR within 8 kT of the exact one [kT], over the repeats, and how much of the grid was
visited.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.files import read_arrays, read_json
from aecv.ground.layers import validate
from aecv.ground.settings import ExtendedABFSettings
from aecv.models.cvs.cv_files import load_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.numerics.free_energy.integration import czar_gradient, integrate_gradient
from aecv.results.formats.fes import read_fes
from aecv.sampling.dynamics.walkers import BiasRule, Ensemble, make_plan, run_rounds
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.platforms import choose_platform
from aecv.workflow.dynamics.coupling import extended_variable
from aecv.workflow.dynamics.sampling_stage import with_lambda
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.segments import unpack_states

VARIANTS: dict[str, dict[str, Any]] = {
    "default: sigma 1 bin, tau 0.2 ps, friction 8/ps": {},
    "sigma 0.5 bins": {"sigma_bins": 0.5},
    "sigma 2 bins": {"sigma_bins": 2.0},
    "sigma 4 bins": {"sigma_bins": 4.0},
    "tau 1 ps (heavy)": {"tau_ps": 1.0},
    "tau 5 ps (very heavy)": {"tau_ps": 5.0},
    "friction 1/ps": {"friction_per_ps": 1.0},
    "friction 50/ps": {"friction_per_ps": 50.0},
    "ramp over 50 samples": {"full_samples": 50},
    "ramp over 5000 samples": {"full_samples": 5000},
    "ceiling 25 kJ/mol": {"ceiling_kj_mol": 25.0},
    "ceiling 15 kJ/mol (below the barrier)": {"ceiling_kj_mol": 15.0},
}
WITHIN_KT = 8.0


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=400_000, help="per walker")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{'setting':<50}{'rms [kT]':>9}{'largest':>9}{'visited':>9}")
    rows = []
    for name, changes in VARIANTS.items():
        found = [errors(options.run, changes, options.steps, seed) for seed in range(options.repeats)]
        rms, largest, visited = np.mean(found, axis=0)
        spread = float(np.std([f[0] for f in found], ddof=1)) if options.repeats > 1 else float("nan")
        print(f"{name:<50}{rms:>9.2f}{largest:>9.2f}{visited:>9.0%}   +- {spread:.2f}", flush=True)
        rows.append({"setting": name, **changes, "rms_kt": rms, "largest_kt": largest, "visited": visited})
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1))


def errors(run: Path, changes: dict[str, Any], n_steps: int, seed: int) -> tuple[float, float, float]:
    """Root-mean-square and largest error of F(xi) by CZAR [kT], and the visited share of the grid."""
    manifest, summary = read_json(run / "run.json"), read_json(run / "summary.json")
    last = len(summary["iterations"]) - 1
    spec = load_system(manifest["system"])
    settings = validate(manifest["settings"], source=str(run))
    eabf = ExtendedABFSettings(**(settings.eabf.model_dump() | changes))
    spec = replace(spec, settings=settings.model_copy(update={"eabf": eabf}))
    system = build(spec)
    # the exact profile of an iteration belongs to the CV that it was biased along
    folder = run / f"iteration_{last:02d}"
    cv = load_cv(run / f"iteration_{last - 1:02d}")
    exact = read_fes(folder / "fes_xi.exact.dat").values.ravel()
    probe = Samples.load(folder / "samples.npz").cv_positions[::200].astype(float)
    extended = extended_variable(cv, probe, system.masses[system.cv_atom_indices], spec.settings)
    engine = NativeEngine(system, cv, extended, platform=choose_platform(system.system), probe=probe)
    states = unpack_states(read_arrays(run / "iteration_00" / "starts.npz"))
    timestep = spec.settings.dynamics.timestep_ps
    plan = make_plan(
        root=seed, stage="lambda", n_walkers=len(states), total_ps=len(states) * n_steps * timestep,
        segment_ps=n_steps * timestep / 20, frame_ps=100 * timestep, timestep_ps=timestep,
    )  # fmt: skip
    start = Ensemble(
        rounds_done=0,
        states=tuple(with_lambda(state, cv, extended) for state in states),
        increments=tuple(Accumulators.zeros(extended.grid) for _ in states),
    )
    rule = BiasRule(ceiling_kj_mol=eabf.ceiling_kj_mol, full_samples=eabf.full_samples)
    *_, end = run_rounds(start, plan, lambda jobs: map(engine.run, jobs), rule=rule)
    total = end.ensemble.total
    assert total is not None
    gradient = czar_gradient(total.n_xi, total.sum_xi, extended.grid, kt=extended.kt)
    found = integrate_gradient(gradient, total.n_xi, extended.grid).on_main()
    wanted = exact < WITHIN_KT * extended.kt
    known = wanted & np.isfinite(found)
    difference = (found - exact)[known] / extended.kt
    difference -= difference.mean()
    visited = float(known.sum() / wanted.sum())
    return float(np.sqrt(np.mean(difference**2))), float(np.abs(difference).max()), visited


if __name__ == "__main__":
    main()
