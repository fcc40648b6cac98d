"""The engine on a molecule against an estimate that knows nothing of it: histograms of unbiased MD."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.grid import Grid
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.numerics.extended_abf.abf import Accumulators, couple
from aecv.numerics.free_energy.integration import czar_gradient, integrate_gradient
from aecv.numerics.kernels.encoder import Encoder, align, encode
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentSeed
from aecv.sampling.dynamics.segments import UnbiasedEngine
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.system.molecular_system import make_context
from tests.sampling.engines.conftest import Bench

KT = 2.494338785445972
N_BLOCKS = 8


@pytest.mark.slow
def test_czar_along_a_principal_component_is_that_of_unbiased_md(bench: Bench, tmp_path: Path) -> None:
    """F of the first principal component of C7eq and C5, which unbiased MD crosses hundreds of times."""
    seed = SegmentSeed(root=3, stage="unbiased", walker=0, segment=0)
    unbiased = UnbiasedEngine(*make_context(bench.system, platform=bench.platform, seed=1))
    run = unbiased.run(SegmentJob(state=bench.state, n_steps=2_000_000, frame_steps=100, seed=seed))
    frames = run.frames[:, bench.cv.atom_indices].astype(float)
    aligned = align(frames[0], frames).reshape(len(frames), -1)
    _, _, components = np.linalg.svd(aligned[::10] - aligned[::10].mean(axis=0), full_matrices=False)
    spread = np.std(aligned @ components[0])
    bias = -(aligned.mean(axis=0) @ components[0]) / spread
    encoder = Encoder(reference=frames[0], weights=(components[:1] / spread,), biases=(np.array([bias]),))
    xi = encode(encoder, frames)[:, 0]
    grid = Grid(lower=(xi.min() - 0.2,), upper=(xi.max() + 0.2,), n_bins=(40,))
    export_cv(
        encoder,
        tmp_path,
        atom_indices=bench.cv.atom_indices,
        cv_range=[[grid.lower[0], grid.upper[0]]],
        system="ala2",
        system_hash="",
    )
    cv = load_cv(tmp_path)
    extended = couple(
        grid, kt=KT, sigma=grid.widths, tau_ps=0.2, friction_per_ps=8.0, timestep_ps=0.001, full_samples=500
    )
    engine = NativeEngine(bench.system, cv, extended, platform=bench.platform, probe=frames[::100])
    state = replace(bench.state, lam=np.clip(xi[:1], -1, 1), lam_velocity=np.zeros(1))
    total = Accumulators.zeros(grid)
    for segment in range(4):
        seed = SegmentSeed(root=3, stage="biased", walker=0, segment=segment)
        job = SegmentJob(state=state, n_steps=500_000, frame_steps=1000, seed=seed, accumulators=total)
        result = engine.run(job)
        assert result.increment is not None
        state, total = result.state, total + result.increment
    gradient = czar_gradient(total.n_xi, total.sum_xi, grid, kt=KT)
    czar = integrate_gradient(gradient, total.n_xi, grid).values

    counts = np.array([np.histogram(part, bins=grid.edges(0))[0] for part in np.array_split(xi, N_BLOCKS)])
    seen = counts.min(axis=0) >= 20
    with np.errstate(divide="ignore"):
        blocks = -KT * np.log(counts[:, seen])
        histogram = -KT * np.log(counts.sum(axis=0)[seen])
    error = (blocks - blocks.mean(axis=1, keepdims=True)).std(axis=0, ddof=1) / np.sqrt(N_BLOCKS)
    difference = (czar[seen] - histogram) - (czar[seen] - histogram).mean()
    assert seen.sum() >= 15
    assert np.ptp(histogram) > 2 * KT  # there is something to get right
    assert np.sqrt((error**2).mean()) < 0.3
    # the biased run is as long as the unbiased one: its error is taken as large again
    assert np.sqrt((difference**2).mean()) < 3 * np.sqrt(2 * (error**2).mean())
