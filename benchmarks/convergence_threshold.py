"""What s_min by bootstrap comes to on the iterations of a finished run, beside their scores.

    python benchmarks/convergence_threshold.py RUN [--iterations 1 2 3] [--replicas 8] [--restarts 4]
                                               [--quantiles 0 0.1 0.5] [--json threshold.json]

Per iteration the replicas are trained once with all restarts; the rows with fewer of them take the first
ones, so that rows differ by nothing else. One process, one thread. Columns: score of the iteration, s_min at
each quantile, scores of restarts among each other on the same frames, and the time that many networks take.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.files import read_arrays, read_json
from aecv.ground.layers import validate
from aecv.ground.settings import Settings
from aecv.models.cv import load_cv
from aecv.models.training import TrainedAutoencoder, train_replicas
from aecv.models.training_data import block_bootstrap
from aecv.numerics.convergence import mutual_scores, score
from aecv.numerics.encoder import encode
from aecv.workflow.pool import stride
from aecv.workflow.threshold import WeightedFrames, consensus_restart, score_quantile


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/ala2"))
    parser.add_argument("--iterations", type=int, nargs="*", help="all biased ones when left out")
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--restarts", type=int, default=4)
    parser.add_argument("--quantiles", type=float, nargs="*", default=[0.0, 0.05, 0.1, 0.25, 0.5])
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    if not (options.run / "run.json").exists():
        print(f"{options.run}: no run there; make one first, for example by make ala2")
        return
    settings = validate(read_json(options.run / "run.json")["settings"], source=str(options.run))
    known = [int(path.parent.name[-2:]) for path in sorted(options.run.glob("iteration_*/learning.done"))]
    columns = "".join(f"{f's_min {q:g}':>11}" for q in options.quantiles)
    print(
        f"{'iter':>4}{'score':>8}{'B':>4}{'r':>4}{columns}{'restarts: median':>18}{'lowest':>8}{'time/s':>8}"
    )
    rows = []
    for iteration in options.iterations or known[1:]:
        for row in measure(options.run, iteration, settings, options):
            rows.append(row)
            values = "".join(f"{value:>11.4f}" for value in row["s_min"])
            among = [row["restart_median"], row["restart_lowest"]]
            text = "".join(f"{'-' if value is None else format(value, '.4f'):>13}" for value in among)
            print(
                f"{iteration:>4}{row['score']:>8.4f}{row['replicas']:>4}{row['restarts']:>4}{values}{text}"
                f"{row['time_s']:>8.1f}",
                flush=True,
            )
    if options.json is not None:
        options.json.write_text(json.dumps({"quantiles": options.quantiles, "rows": rows}, indent=2) + "\n")
        print(f"written to {options.json}")


def frames_of(run: Path, iteration: int, settings: Settings) -> tuple[WeightedFrames, WeightedFrames]:
    """Frames and weights that trained an iteration's CV, and those that its score is measured with."""
    stored = read_arrays(run / f"iteration_{iteration:02d}" / "weights.npz")
    chosen = slice(None, None, stride(len(stored["weights"]), settings.training.max_frames))
    source, frame = stored["iteration"][chosen], stored["frame"][chosen]
    positions: Any = None
    for k in np.unique(source):
        all_frames = read_arrays(run / f"iteration_{k:02d}" / "samples.npz")["cv_positions"]
        if positions is None:
            positions = np.empty((len(source), *all_frames.shape[1:]))
        positions[source == k] = all_frames[frame[source == k]]
    temper = settings.pool.temper if settings.pool.mode == "mbar" else 1.0
    own = read_arrays(run / f"iteration_{iteration:02d}" / "samples.npz")["cv_positions"].astype(float)
    return (
        WeightedFrames(positions=positions, weights=stored["weights"][chosen] ** temper),
        WeightedFrames(positions=own, weights=stored["last_weights"]).thinned(),
    )


def measure(run: Path, iteration: int, settings: Settings, options: argparse.Namespace) -> list[Any]:
    """Rows of one iteration."""
    pool, measured = frames_of(run, iteration, settings)
    new, old = (load_cv(run / f"iteration_{k:02d}") for k in (iteration, iteration - 1))
    reached = score(new(measured.positions), old(measured.positions), measured.weights)
    began = time.process_time()
    trainings = train_replicas(
        pool.positions,
        pool.weights,
        read_arrays(run / f"iteration_{iteration:02d}" / "cv.npz")["reference"],
        replicas=[
            block_bootstrap(len(pool.weights), settings.training.validation_blocks, np.random.default_rng(k))
            for k in range(options.replicas)
        ],
        autoencoder=settings.autoencoder,
        training=settings.training.model_copy(update={"restarts": options.restarts}),
        seeds=range(1, options.replicas + 1),
    )
    each_s = (time.process_time() - began) / (options.replicas * options.restarts)
    rows = []
    for n in (1, 2, 4, 8, 16):
        if n > options.restarts:
            break
        scores, medians, lowest = scores_of(trainings, n, pool, measured, settings)
        for some in sorted({max(2, len(trainings) // 2), len(trainings)}):
            rows.append(
                {
                    "iteration": iteration,
                    "score": reached,
                    "replicas": some,
                    "restarts": n,
                    "s_min": [score_quantile(scores[:some, :some], q) for q in options.quantiles],
                    "restart_median": medians,
                    "restart_lowest": lowest,
                    "time_s": some * n * each_s,
                    "scores": scores[:some, :some].tolist(),
                }
            )
    return rows


def scores_of(
    trainings: list[TrainedAutoencoder],
    n: int,
    pool: WeightedFrames,
    measured: WeightedFrames,
    settings: Settings,
) -> tuple[np.ndarray, float | None, float | None]:
    """Mutual scores of the replicas with n restarts; median and lowest score of restarts of one replica."""
    values, among = [], []
    for trained in trainings:
        losses = trained.losses[:n]
        few = replace(trained, losses=losses, best_restart=int(np.argmin(losses)))
        chosen = consensus_restart(few, pool, settings.training.loss_tolerance).restart
        every = [encode(encoder, measured.positions) for encoder in trained.restart_encoders[:n]]
        values.append(every[chosen])
        among.append(mutual_scores(every, measured.weights)[~np.eye(n, dtype=bool)])
    flat = np.concatenate(among)
    return (
        mutual_scores(values, measured.weights),
        float(np.median(flat)) if len(flat) else None,
        float(flat.min()) if len(flat) else None,
    )


if __name__ == "__main__":
    main()
