"""Time and loss of a training beside one that is ten times longer, on frames of a finished run.

    python benchmarks/training.py runs/ala2 [--restarts 4] [--frames 100000] [--epochs 20] [--longer 10]
    python benchmarks/training.py --sizes 621-100-5 --frames 20000 --restarts 5 --epochs 100
    python benchmarks/training.py --stacks [--json FILE]

The first line takes frames of the last iterations, with the weights that train, and today's settings. The
longer training has as many more epochs; the same held-out frames judge both. Wide networks take all cores.
The second needs no run: time and peak memory at any size, on a bent motion with noise. The third: processor
time of a gradient that is written out, and by autograd, of 500 frames.
"""

import resource
import time
from pathlib import Path

import numpy as np
import torch
from machine import machine
from options import guarded, natural, parser_of
from runs import Row, biased_iterations, print_table, settings_of, write_rows

from aecv.ground.arrays import FloatArray
from aecv.ground.cores import usable_cores
from aecv.ground.errors import StoreError
from aecv.ground.files import read_arrays
from aecv.ground.settings import AutoencoderSettings, TrainingSettings
from aecv.models.family import model_of, stack_of
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.networks.model import Batch
from aecv.models.networks.vmap_stack import VmapStack
from aecv.models.training.train import train_autoencoder
from aecv.molecules.spec import load_system
from aecv.numerics.kernels.encoder import NO_REFERENCE
from aecv.sampling.system.molecular_system import build
from aecv.workflow.learning.next_cv import training_power
from aecv.workflow.run_folder.samples import Samples


def main() -> None:
    """Parse, train, print, write."""
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--sizes", help="of an encoder that learns a made-up motion, as 621-100-5")
    parser.add_argument("--stacks", action="store_true", help="compare the stacks of networks")
    parser.add_argument("--restarts", type=natural, default=4)
    parser.add_argument("--frames", type=natural, default=100_000)
    parser.add_argument("--epochs", type=natural, help="default: as the settings say")
    parser.add_argument("--longer", type=natural, default=10, help="times as many epochs")
    options = parser.parse_args()
    if options.stacks:
        stacks(options.json)
        return
    if options.sizes:
        row = made_up(options.sizes, options.frames, options.restarts, options.epochs or 100)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{options.frames} frames, {options.restarts} restarts: {row}, peak {peak:.2f} GiB")
        return
    if options.run is None:
        parser.error("needs a run, or --sizes")
    settings = load_system(settings_of(options.run).system.name).settings
    epochs = options.epochs or settings.training.max_epochs
    positions, weights = frames_of(options.run, options.frames, training_power(settings))
    reference = build(load_system(settings.system.name)).cv_reference
    kinds = settings.autoencoder, settings.training
    rows = [
        trained(positions, weights, reference, *kinds, options.restarts, factor * epochs)
        for factor in (1, options.longer)
    ]
    sizes = "-".join(map(str, (positions[0].size, *settings.autoencoder.hidden, settings.autoencoder.latent)))
    print(f"{len(weights)} frames, encoder {sizes}, {options.restarts} restarts, one thread")
    lines = [
        (
            f"{row['max_epochs']} epochs",
            f"{row['seconds']:.1f}",
            f"{1e4 * row['best_loss']:.4f}",
            f"{100 * (row['best_loss'] / rows[-1]['best_loss'] - 1):+.2f} %",
            f"{100 * (row['worst_loss'] / rows[-1]['best_loss'] - 1):+.2f} %",
        )
        for row in rows
    ]
    header = ("at most", "seconds", "best loss [1e-4 nm^2]", "above the longer one's", "worst restart")
    print_table(header, lines)
    write_rows(options.json, {"frames": len(weights), "encoder": sizes, "rows": rows} | machine())


def frames_of(run: Path, n: int, power: float) -> tuple[FloatArray, FloatArray]:
    """Positions of the CV's atoms and weights of n frames: of the last iterations that have as many.

    Raises:
        StoreError: when the run has fewer.
    """
    positions: list[FloatArray] = []
    weights: list[FloatArray] = []
    for folder, _ in reversed(biased_iterations(run)):
        own = read_arrays(folder / "weights.npz")["last_weights"]
        used = own > 0
        positions.insert(0, Samples.load(folder / "samples.npz").cv_positions[used].astype(float))
        weights.insert(0, own[used] ** power / np.sum(own[used] ** power))
        if sum(map(len, weights)) >= n:
            break
    else:
        raise StoreError(f"{run}: needs {n} weighted frames, has {sum(map(len, weights))}; lower --frames")
    return np.concatenate(positions)[-n:], np.concatenate(weights)[-n:]


def made_up(sizes: str, n_frames: int, restarts: int, epochs: int) -> Row:
    """A training on five bent motions of atoms with noise, without alignment."""
    n_inputs, *hidden, latent = map(int, sizes.split("-"))
    rng, n_atoms = np.random.default_rng(1), -(-n_inputs // 3)
    t = np.sin(np.outer(np.arange(n_frames), rng.uniform(0.001, 0.01, 5)))
    modes = 0.1 * rng.standard_normal((10, n_atoms * 3)).astype(np.float32)
    x = np.hstack([t, t**2]).astype(np.float32) @ modes
    x += 0.05 * rng.standard_normal(x.shape, dtype=np.float32)
    autoencoder = AutoencoderSettings(hidden=tuple(hidden), latent=latent)
    frames = x.reshape(n_frames, n_atoms, 3)
    return trained(frames, np.ones(n_frames), NO_REFERENCE, autoencoder, TrainingSettings(), restarts, epochs)


def stacks(path: Path | None) -> None:
    """Loss and gradient of networks side by side, the best of 40, on one thread."""
    torch.set_num_threads(1)
    rows, header = [], ("encoder", "networks", "TanhStack [ms]", "VmapStack [ms]", "ratio")
    for n_inputs, hidden, latent, n in ((24, 40, 2, 16), (24, 40, 2, 1), (621, 100, 5, 5)):
        model = model_of(AutoencoderSettings(hidden=(hidden,), latent=latent), n_inputs)
        start = Batch(x=torch.randn(2000, n_inputs, dtype=torch.float64))
        networks = model.networks(start, [np.random.default_rng(k) for k in range(n)])
        batch, taken = Batch(x=torch.randn(n, 500, n_inputs)), []
        for stack in (stack_of(model, networks), VmapStack(model, networks)):
            times = [time.process_time() for _ in range(41) if stack.losses_and_gradients(batch)]
            taken.append(1000 * float(np.min(np.diff(times))))
        rows.append((f"{n_inputs}-{hidden}-{latent}", n, *taken, taken[1] / taken[0]))
    print_table(header, [(row[0], str(row[1]), *(f"{x:.2f}" for x in row[2:])) for row in rows])
    write_rows(path, {"rows": [dict(zip(header, row, strict=True)) for row in rows]} | machine())


def trained(
    positions: FloatArray,
    weights: FloatArray,
    reference: FloatArray,
    autoencoder: AutoencoderSettings,
    training: TrainingSettings,
    restarts: int,
    epochs: int,
) -> Row:
    """One training of so many epochs, with the patience of the settings for each part of them."""
    patience = max(1, round(training.patience * epochs / training.max_epochs))
    longer = {"max_epochs": epochs, "patience": patience, "restarts": restarts}
    began = time.perf_counter()
    result = train_autoencoder(
        FrameTable(positions, weights),
        reference,
        autoencoder=autoencoder,
        training=training.model_copy(update=longer),
        seed=1,
        n_threads=usable_cores(),
    )
    return {
        "max_epochs": longer["max_epochs"],
        "seconds": time.perf_counter() - began,
        "best_loss": float(np.min(result.losses)),
        "worst_loss": float(np.max(result.losses)),
    }


if __name__ == "__main__":
    guarded(main)
