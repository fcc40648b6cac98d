"""What s_min by bootstrap comes to on the iterations of a finished run, beside their scores.

    python benchmarks/convergence_threshold.py RUN [--iterations 1 2 3] [--replicas 8] [--restarts 4]
                                       [--quantiles 0 0.1 0.25 0.5] [--seed 0] [--json threshold.json]

All replicas are trained once, with all restarts. Rows with r restarts per replica cut them into groups of r,
each of which is a bootstrap of its own: s_min is the mean over the groups, +- their standard deviation.
"among" are restarts of one replica against each other: what differs there is the training alone. One
process, one thread; CPU seconds are those of B r networks.
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
from aecv.models.cvs.cv_files import load_cv
from aecv.models.training.train import TrainedAutoencoder, train_replicas
from aecv.models.training.training_data import block_bootstrap
from aecv.numerics.kernels.encoder import encode
from aecv.numerics.statistics.convergence import mutual_scores, score
from aecv.workflow.learning.next_cv import temper
from aecv.workflow.learning.threshold import WeightedFrames, consensus_restart, score_quantile
from aecv.workflow.weights.pool import stride


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/ala2"))
    parser.add_argument("--iterations", type=int, nargs="*", help="all biased ones when left out")
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--restarts", type=int, default=4)
    parser.add_argument("--quantiles", type=float, nargs="*", default=[0.0, 0.1, 0.25, 0.5])
    parser.add_argument("--seed", type=int, default=0, help="of resampling and training")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    if not (options.run / "run.json").exists():
        print(f"{options.run}: no run there; make one first, for example by make ala2")
        return
    settings = validate(read_json(options.run / "run.json")["settings"], source=str(options.run))
    known = [int(path.parent.name[-2:]) for path in sorted(options.run.glob("iteration_*/learning.done"))]
    columns = "".join(f"{f's_min {q:g}':>18}" for q in options.quantiles)
    print(
        f"{'iter':>4}{'score':>8}{'B':>4}{'r':>4}{columns}{'among':>10}{'lowest':>8}{'CPU s':>8}", flush=True
    )
    rows = []
    for iteration in options.iterations or known[1:]:
        for row in measure(options.run, iteration, settings, options):
            rows.append(row)
            print_row(row)
    if options.json is not None:
        options.json.write_text(json.dumps({"quantiles": options.quantiles, "rows": rows}, indent=2) + "\n")
        print(f"written to {options.json}")


def print_row(row: dict[str, Any]) -> None:
    """A line of the table."""
    groups = np.array(row["s_min"])
    spread = groups.std(axis=0, ddof=1) if len(groups) > 1 else np.full(groups.shape[1], np.nan)
    cells = zip(groups.mean(axis=0), spread, strict=True)
    values = "".join(f"{f'{mean:.4f} +- {deviation:.4f}':>18}" for mean, deviation in cells)
    reached = "-" if row["score"] is None else f"{row['score']:.4f}"
    among = f"{row['among_median']:>10.4f}{row['among_lowest']:>8.4f}"
    print(
        f"{row['iteration']:>4}{reached:>8}{row['replicas']:>4}{row['restarts']:>4}{values}{among}"
        f"{row['cpu_s']:>8.1f}",
        flush=True,
    )


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
    own = read_arrays(run / f"iteration_{iteration:02d}" / "samples.npz")["cv_positions"].astype(float)
    return (
        WeightedFrames(positions=positions, weights=stored["weights"][chosen]),
        WeightedFrames(positions=own, weights=stored["last_weights"]).thinned(),
    )


def measure(run: Path, iteration: int, settings: Settings, options: argparse.Namespace) -> list[Any]:
    """Rows of one iteration."""
    pool, measured = frames_of(run, iteration, settings)
    reached = None
    if iteration > 0:
        new, old = (
            load_cv(run / f"iteration_{k:02d}")(measured.positions) for k in (iteration, iteration - 1)
        )
        reached = score(new, old, measured.weights)
    began, n_replicas, n_restarts = time.process_time(), options.replicas, options.restarts
    streams = np.random.default_rng(options.seed).spawn(n_replicas)
    trainings = train_replicas(
        pool.positions,
        pool.weights ** temper(settings),
        read_arrays(run / f"iteration_{iteration:02d}" / "cv.npz")["reference"],
        replicas=[
            block_bootstrap(len(pool.weights), settings.training.validation_blocks, stream)
            for stream in streams
        ],
        autoencoder=settings.autoencoder,
        training=settings.training.model_copy(update={"restarts": n_restarts}),
        seeds=[int(stream.integers(1, 2**31)) for stream in streams],
    )
    each_s = (time.process_time() - began) / (n_replicas * n_restarts)
    encoders = [encoder for trained in trainings for encoder in trained.restart_encoders]
    scores = mutual_scores([encode(encoder, measured.positions) for encoder in encoders], measured.weights)
    replica = np.repeat(np.arange(len(trainings)), n_restarts)
    among = scores[(replica[:, None] == replica) & ~np.eye(len(scores), dtype=bool)]
    rows = []
    for n in (n for n in (1, 2, 4, 8, 16) if n <= n_restarts):
        chosen = [chosen_networks(trainings, first, n, pool, settings) for first in range(0, n_restarts, n)]
        for some in sorted({max(2, len(trainings) // 2), len(trainings)}):
            rows.append(
                {
                    "iteration": iteration,
                    "score": reached,
                    "replicas": some,
                    "restarts": n,
                    "s_min": [
                        [score_quantile(scores[np.ix_(own[:some], own[:some])], q) for q in options.quantiles]
                        for own in chosen
                    ],
                    "among_median": float(np.median(among)) if len(among) else np.nan,
                    "among_lowest": float(among.min()) if len(among) else np.nan,
                    "cpu_s": some * n * each_s,
                }
            )
    return rows


def chosen_networks(
    trainings: list[TrainedAutoencoder], first: int, n: int, pool: WeightedFrames, settings: Settings
) -> list[int]:
    """Index, over the networks of all replicas, of the restart chosen among n of each."""
    result = []
    for k, trained in enumerate(trainings):
        losses = trained.losses[first : first + n]
        few = replace(
            trained,
            losses=losses,
            best_restart=int(np.argmin(losses)),
            restart_encoders=trained.restart_encoders[first : first + n],
        )
        choice = consensus_restart(few, pool, settings.training.loss_tolerance)
        result.append(k * len(trained.losses) + first + choice.restart)
    return result


if __name__ == "__main__":
    main()
