"""Steps per second of all walkers together, by the number of processes that run them.

    python benchmarks/walkers.py [--workers 1 2] [--walkers 4] [--update-ps 10] [--rounds 20] [--json FILE]

Projected extended ABF of alanine dipeptide along a network of the default size, as the loop runs it: every
round the samples of all walkers become a new potential. Time from the end of the first round, which starts
processes and makes engines, to the end of the last, in turns; medians over --repeats.
"""

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from eabf_speed import biased_job, made_up_cv, prepared
from machine import machine
from options import amount, guarded, natural, parser_of
from runs import print_table, write_rows

from aecv.numerics.extended_abf.abf import Accumulators
from aecv.sampling.dynamics.walkers import BiasRule, Ensemble, Executor, make_plan, run_rounds
from aecv.sampling.processes.opening import open_workers
from aecv.sampling.processes.recipe import BiasRecipe, EngineRecipe

RULE = BiasRule(ceiling_kj_mol=60.0, full_samples=500, projected=True)


def main() -> None:
    """Parse, measure, print, write."""
    parser = parser_of(__doc__)
    parser.add_argument("--workers", type=natural, nargs="+", default=[1, 2])
    parser.add_argument("--walkers", type=natural, default=4)
    parser.add_argument("--update-ps", type=amount, default=10.0)
    parser.add_argument("--rounds", type=natural, default=20)
    parser.add_argument("--repeats", type=natural, default=3)
    options = parser.parse_args()
    system, platform, state, frames = prepared()
    probe = frames[:, system.cv_atom_indices]
    stack = ExitStack()
    folder = Path(stack.enter_context(TemporaryDirectory()))
    cv, extended = made_up_cv(system, probe, folder)
    recipe = EngineRecipe(
        system=system,
        platform=platform,
        bias=BiasRecipe(engine="native", cv=cv, extended=extended, probe=probe),
    )
    start = Ensemble(
        rounds_done=0,
        states=(biased_job(cv, extended, state, 100).state,) * options.walkers,
        increments=(Accumulators.zeros(extended.grid),) * options.walkers,
    )
    rates: dict[int, list[float]] = {n: [] for n in options.workers}
    with stack:
        executors = {
            n: stack.enter_context(open_workers(n, n_local=n)).executor(recipe) for n in options.workers
        }
        for repeat in range(options.repeats):
            for n, executor in executors.items():
                rates[n].append(
                    steps_per_second(start, executor, options.update_ps, options.rounds, repeat + 1, RULE)
                )
    first = rates[options.workers[0]]
    rows = [
        {
            "workers": n,
            "steps_per_s": statistics.median(values),
            "ratio": statistics.median(np.divide(values, first).tolist()),
        }
        for n, values in rates.items()
    ]
    print(f"{options.walkers} walkers, rounds of {options.update_ps:g} ps each, projected bias in 2500 bins")
    lines = [(str(row["workers"]), f"{row['steps_per_s']:.0f}", f"{row['ratio']:.2f}") for row in rows]
    print_table(("workers", "steps/s", f"over {options.workers[0]}"), lines)
    write_rows(options.json, {"rows": rows} | machine())


def steps_per_second(
    start: Ensemble,
    executor: Executor,
    update_ps: float,
    n_rounds: int,
    seed: int,
    rule: BiasRule | None = None,
) -> float:
    """Steps per second of all walkers together, after the first round."""
    n_walkers = len(start.states)
    plan = make_plan(
        root=seed,
        stage="benchmark",
        n_walkers=n_walkers,
        total_ps=(n_rounds + 1) * update_ps * n_walkers,
        segment_ps=update_ps,
        frame_ps=0.1,
        timestep_ps=0.001,
    )
    rounds = run_rounds(start, plan, executor, rule=rule)
    next(rounds)
    began = time.perf_counter()
    for _ in rounds:
        pass
    return sum(plan.segment_steps[1:]) * n_walkers / (time.perf_counter() - began)


if __name__ == "__main__":
    guarded(main)
