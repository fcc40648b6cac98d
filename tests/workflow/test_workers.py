"""Walkers in processes of their own: the same run as in one, whoever dies on the way."""

import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest

from aecv.ground.errors import SettingsError, SimulationError
from aecv.ground.versions import versions
from aecv.models.spec import load_system
from aecv.sampling import workers as module
from aecv.sampling.dynamics import SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.recipe import EngineRecipe
from aecv.sampling.system import build, choose_platform
from aecv.sampling.workers import DaskWorkers, ThisProcess, open_workers
from aecv.workflow.loop import iterate
from tests.workflow.conftest import SMALL
from tests.workflow.test_resume import assert_same_run, run_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def two() -> Iterator[DaskWorkers]:
    with DaskWorkers(2) as workers:
        yield workers


@pytest.fixture(scope="module")
def recipe() -> EngineRecipe:
    system = build(load_system("ala2"))
    return EngineRecipe(system=system, platform=choose_platform(system.n_atoms))


def jobs(recipe: EngineRecipe, n: int, n_steps: int = 200) -> list[SegmentJob]:
    positions, none = recipe.system.positions.copy(), np.empty(0)
    state = WalkerState(
        positions=positions, velocities=0.0 * positions, box=np.zeros((3, 3)), lam=none, lam_velocity=none
    )
    seeds = [SegmentSeed(root=1, stage="test", walker=walker, segment=0) for walker in range(n)]
    return [SegmentJob(state=state, n_steps=n_steps, frame_steps=100, seed=seed) for seed in seeds]


def test_a_recipe_travels_as_the_spec_of_its_system(recipe: EngineRecipe) -> None:
    sent = pickle.dumps(recipe)
    assert len(sent) < 20_000  # no force field in it
    copy = pickle.loads(sent)
    assert copy.key == recipe.key
    assert copy.platform.platform.getName() == recipe.platform.platform.getName() == "Reference"
    (job,) = jobs(recipe, 1)
    np.testing.assert_array_equal(copy.make().run(job).frames, recipe.make().run(job).frames)


def test_results_come_in_the_order_of_the_jobs(recipe: EngineRecipe, two: DaskWorkers) -> None:
    asked = jobs(recipe, 5)
    here, there = (list(workers.executor(recipe)(asked)) for workers in (ThisProcess(), two))
    assert len(here) == len(there) == 5
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
    assert not np.array_equal(here[0].frames, here[1].frames)


def test_the_run_of_two_processes_is_that_of_one(small_run: Path, tmp_path: Path, two: DaskWorkers) -> None:
    iterate(load_system("ala2", overrides=SMALL), tmp_path / "run", workers=two)
    assert_same_run(small_run, tmp_path / "run")


@pytest.mark.usefixtures("without_pictures")
def test_a_process_that_dies_costs_nothing_but_time(small_run: Path, tmp_path: Path) -> None:
    """One of two is killed in the middle of each sampling but the first."""
    folder, killed = tmp_path / "run", []

    def kill_some(workers: DaskWorkers) -> None:
        for stage in ("iteration_01", "production_02"):
            while not (folder / stage / "segments" / "ensemble.npz").exists():
                time.sleep(0.001)
            pid = next(iter(workers._started().run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with DaskWorkers(2) as workers:
        killer = Thread(target=kill_some, args=(workers,), daemon=True)
        killer.start()
        iterate(load_system("ala2", overrides=SMALL), folder, workers=workers)
    assert len(set(killed)) == 2
    assert_same_run(small_run, folder)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.usefixtures("without_pictures")
def test_stopped_with_its_processes_it_goes_on_as_one(
    small_run: Path, tmp_path: Path, sign: signal.Signals
) -> None:
    """Ctrl-C reaches all of them, kill and kill -9 the first one alone. No process is left behind."""
    folder = tmp_path / "run"
    before = {p.pid for p in psutil.process_iter()}
    result = run_until(folder, "iteration_01/segments/segment_00003_walker_001.npz", sign, workers=2)
    if sign == signal.SIGKILL:
        assert result.returncode == -sign
    else:
        assert result.returncode == 130
        assert "continue with the same command and --resume" in result.stderr
        assert "Traceback" not in result.stderr
    deadline = time.monotonic() + 30
    while left := [p for p in psutil.process_iter(["cmdline"]) if p.pid not in before and is_ours(p)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    iterate(load_system("ala2", overrides=SMALL), folder, resume=True)
    assert_same_run(small_run, folder)


def is_ours(process: psutil.Process) -> bool:
    """A process that multiprocessing started."""
    words = process.info["cmdline"] or []
    return any("multiprocessing" in word for word in words) and process.status() != "zombie"


def test_what_a_worker_raises_is_raised_here(recipe: EngineRecipe, two: DaskWorkers) -> None:
    (first,), (second,) = jobs(recipe, 1), jobs(recipe, 1)
    second.state.positions[1] = second.state.positions[0]
    with pytest.raises(SimulationError, match="exploded near step"):
        list(two.executor(recipe)([first, second]))
    # and the processes go on
    assert len(list(two.executor(recipe)(jobs(recipe, 2)))) == 2


def test_local_processes_listen_on_this_machine_alone(two: DaskWorkers) -> None:
    client = two._started()
    assert set(client.nthreads().values()) == {1}
    pids = [os.getpid(), *client.run(os.getpid).values()]
    connections = [c for pid in pids for c in psutil.Process(pid).net_connections() if c.status == "LISTEN"]
    assert len(connections) >= 3
    assert {connection.laddr.ip for connection in connections} == {"127.0.0.1"}


def test_a_cluster_of_the_user_runs_them_as_well(recipe: EngineRecipe, two: DaskWorkers) -> None:
    address = two._started().scheduler.address
    asked = jobs(recipe, 2)
    with DaskWorkers(address=address) as theirs:
        there = list(theirs.executor(recipe)(asked))
    for one, other in zip(ThisProcess().executor(recipe)(asked), there, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
    assert len(two._started().nthreads()) == 2  # they are the user's: still there


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "no/such/scheduler.json", "nonsense"])
def test_a_scheduler_that_does_not_answer_is_named(
    address: str, recipe: EngineRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 1)
    with (
        pytest.raises(SettingsError, match=f"--dask {address}: needs a scheduler with at least one worker"),
        DaskWorkers(address=address) as workers,
    ):
        workers.executor(recipe)(jobs(recipe, 1))


def test_workers_that_do_not_fit_are_refused() -> None:
    own = versions()
    module._check_workers("tcp://a:1", {"tcp://b:2": 1}, {"tcp://b:2": own})
    with pytest.raises(SettingsError, match=r"worker tcp://b:2 needs one thread, it has 4: .*--nthreads 1"):
        module._check_workers("tcp://a:1", {"tcp://b:2": 4}, {"tcp://b:2": own})
    with pytest.raises(SettingsError, match=r"worker tcp://b:2 needs openmm .* as here, it has 8\.1"):
        module._check_workers("tcp://a:1", {"tcp://b:2": 1}, {"tcp://b:2": own | {"openmm": "8.1"}})


def test_as_many_processes_as_walkers_or_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 8)

    def opened(n_walkers: int, n_local: int | None) -> int:
        with open_workers(n_walkers, n_local=n_local) as workers:
            return workers._n_local if isinstance(workers, DaskWorkers) else 1

    assert [opened(*asked) for asked in ((4, None), (16, None), (1, None), (4, 3), (4, 1))] == [4, 8, 1, 3, 1]
    with pytest.raises(SettingsError, match="--workers: counts processes here, --dask names those of"):
        open_workers(4, n_local=2, address="tcp://a:1")


def test_gpus_go_round(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    assert module._device(()) is None
    for name, device in (("0", "2"), ("1", "5"), ("2", "2"), (3, "5")):
        worker = type("Worker", (), {"name": name})
        monkeypatch.setattr(distributed, "get_worker", lambda worker=worker: worker)
        assert module._device(("2", "5")) == device
