"""The plain scheme, pool "none": what its error bars are made of, and that a user is told."""

from pathlib import Path

import numpy as np
import pytest

from aecv.ground.files import read_arrays
from aecv.molecules.spec import load_system
from aecv.workflow.free_energies.uncertainty import Origins, resample
from aecv.workflow.loop import NO_POOL, iterate
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.weights.pool import BiasedSample
from tests.workflow.conftest import SMALL

KT = 2.5


def test_replicates_keep_the_weights_and_so_omit_their_error() -> None:
    """Of one state MBAR has nothing to solve: replicates have multiples of the given weights."""
    n = 400
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=n)
    weights /= weights.sum()
    found = resample(
        BiasedSample.of_weights(weights, KT),
        weights,
        Origins(
            run=np.zeros(n, dtype=int),
            walker=np.repeat(np.arange(4), n // 4),
            progress=np.tile((np.arange(n // 4) + 1) / (n // 4), 4),
            slow=(rng.normal(size=n),),
        ),
        kt=KT,
        inside=None,
        passages=None,
        n_replicates=20,
        seed=0,
    )
    assert len(found.replicates.frames) == n
    for row in found.replicates.replicates:
        multiples = row / weights
        step = multiples[multiples > 0].min()
        np.testing.assert_allclose(multiples / step, np.round(multiples / step), atol=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_a_run_without_a_pool_says_what_its_intervals_omit(tmp_path: Path) -> None:
    """And its production, weighed by MBAR over frozen stages, omits nothing."""
    short = ("run.iterations=2", "sampling.ns=0.01", "starts.mode=one", "training.max_epochs=1")
    plain = ("training.restarts=1", "convergence.s_min=0.9", "pool.mode=none")
    iterate(load_system("ala2", overrides=(*SMALL, *short, *plain)), tmp_path / "run")
    assert (tmp_path / "run" / "run.log").read_text().count(NO_POOL) == 1
    assert "omit the error of F itself" in NO_POOL
    iteration = read_arrays(tmp_path / "run" / "iteration_01" / "weights.npz")
    samples = Samples.load(tmp_path / "run" / "iteration_01" / "samples.npz")
    assert set(iteration["iteration"]) == {1}
    np.testing.assert_array_equal(iteration["frame"], np.flatnonzero(samples.progress > 0.2))
    folder = tmp_path / "run" / "production_01"
    bias, own = Bias.load(folder / "bias.npz"), Samples.load(folder / "samples.npz")
    assert len(bias.potentials) == 2
    weighed = np.flatnonzero(read_arrays(folder / "weights.npz")["last_weights"])
    np.testing.assert_array_equal(weighed, np.flatnonzero(own.progress > bias.stage_edges[0]))
