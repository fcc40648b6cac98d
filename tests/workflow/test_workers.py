"""Walkers in processes of their own: the same run as in one, whoever dies on the way."""

import gc
import os
import pickle
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread, Timer
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from aecv.ground.errors import MolecularSystemError, SettingsError, SimulationError, TrainingError
from aecv.ground.versions import versions
from aecv.molecules.spec import load_system
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.processes import dask_tasks, dask_workers, opening
from aecv.sampling.processes.dask_workers import DaskWorkers
from aecv.sampling.processes.opening import open_workers
from aecv.sampling.processes.recipe import EngineRecipe
from aecv.sampling.processes.workers import ThisProcess
from aecv.sampling.starting.minimising import MinimiserRecipe
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.platforms import PlatformChoice, choose_platform
from aecv.workflow.loop import iterate
from tests.workflow.conftest import SMALL
from tests.workflow.test_resume import assert_same_run, run_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def no_client_is_left() -> Iterator[None]:
    """A client that failed to connect closes itself when it is collected. In the middle of the start of the
    next cluster it waits for ever for a lock that the start holds (distributed 2026.8): here, at once."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def two() -> Iterator[DaskWorkers]:
    with DaskWorkers(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def recipe() -> EngineRecipe:
    system = build(load_system("ala2"))
    return EngineRecipe(system=system, platform=choose_platform(system.system))


def users_cluster(n: int, n_threads: int = 1) -> Any:
    """A cluster that somebody else has started."""
    import distributed

    return distributed.LocalCluster(
        n_workers=n, threads_per_worker=n_threads, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    )


def jobs(recipe: EngineRecipe, n: int, n_steps: int = 200) -> list[SegmentJob]:
    positions, none = recipe.system.positions.copy(), np.empty(0)
    state = WalkerState(
        positions=positions, velocities=0.0 * positions, box=np.zeros((3, 3)), lam=none, lam_velocity=none
    )
    seeds = [SegmentSeed(root=1, stage="test", walker=walker, segment=0) for walker in range(n)]
    return [SegmentJob(state=state, n_steps=n_steps, frame_steps=100, seed=seed) for seed in seeds]


def test_a_recipe_travels_as_the_spec_of_its_system(recipe: EngineRecipe) -> None:
    sent = pickle.dumps(recipe)
    assert len(sent) < 20_000  # no force field, no arrays of atoms
    copy = pickle.loads(sent)
    assert copy.key == recipe.key
    assert copy.platform.platform.getName() == recipe.platform.platform.getName() == "Reference"
    (job,) = jobs(recipe, 1)
    np.testing.assert_array_equal(copy.make().run(job).frames, recipe.make().run(job).frames)


def test_results_come_in_the_order_of_the_jobs(recipe: EngineRecipe, two: DaskWorkers) -> None:
    asked = jobs(recipe, 5)
    here, there = (list(place.executor(recipe)(asked)) for place in (ThisProcess(), two))
    assert len(here) == len(there) == 5
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
    assert not np.array_equal(here[0].frames, here[1].frames)


def answer(port: int, *, encrypted: bool) -> bytes:
    """What comes back of a request for a page, from somebody without a certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        with plain, context.wrap_socket(plain) if encrypted else plain as connection:
            connection.sendall(b"GET /info/main/workers.html HTTP/1.0\r\n\r\n")
            return connection.recv(1000)
    except ConnectionError as error:
        return str(error).encode()
    except ssl.SSLError as error:
        return str(error.reason).encode()


def listening() -> list[Any]:
    """Where this process and its children, the workers, listen."""
    me = psutil.Process()
    connections = [c for p in (me, *me.children(recursive=True)) for c in p.net_connections(kind="inet")]
    return [connection.laddr for connection in connections if connection.status == psutil.CONN_LISTEN]


def test_nobody_without_the_certificate_is_answered(recipe: EngineRecipe) -> None:
    """A dashboard and a page of each worker answered every user of the machine, in plain text."""
    before = listening()
    with DaskWorkers(2) as pool:
        assert len(list(pool.executor(recipe)(jobs(recipe, 2)))) == 2
        ports = [address for address in listening() if address not in before]
        assert len(ports) == 5  # the scheduler, two workers and their nannies
        assert {address.ip for address in ports} == {"127.0.0.1"}
        for address in ports:
            assert b"HTTP" not in answer(address.port, encrypted=False)
            assert answer(address.port, encrypted=True) in (
                b"TLSV13_ALERT_CERTIFICATE_REQUIRED", b"UNEXPECTED_EOF_WHILE_READING", b"", b"None",
            )  # fmt: skip


def test_a_cluster_of_one_s_own_can_do_without_pages_too(tmp_path: Path) -> None:
    """The option of docs/cluster.md; --no-dashboard alone leaves the pages of /info and /json."""
    for options, is_shown in (((), True), (("--preload", "aecv.sampling.processes.no_pages"), False)):
        file = tmp_path / f"scheduler{is_shown}.json"
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(file)]
        command += [
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--dashboard-address",
            "127.0.0.1:0",
            "--no-dashboard",
        ]
        process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
        try:
            while not file.exists():
                assert process.poll() is None
                time.sleep(0.05)
            time.sleep(0.5)
            connections = psutil.Process(process.pid).net_connections(kind="inet")
            ports = [c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN]
            shown = [port for port in ports if b"200 OK" in answer(port, encrypted=False)]
            assert bool(shown) == is_shown
        finally:
            process.terminate()
            process.wait(30)


def test_structures_are_minimised_side_by_side_as_one_after_the_other(
    recipe: EngineRecipe, two: DaskWorkers
) -> None:
    """Five shaken structures; a context that has minimised others finds the same minimum."""
    minimiser = MinimiserRecipe(system=recipe.system, platform=recipe.platform)
    noise = np.random.default_rng(0).normal(0.0, 0.005, (5, recipe.system.n_atoms, 3))
    structures = list(recipe.system.positions + noise)
    here, there, alone = (
        list(place.spread(minimiser, asked))
        for place, asked in ((ThisProcess(), structures), (two, structures), (ThisProcess(), structures[3:4]))
    )
    for one, other in (*zip(here, there, strict=True), (here[3], alone[0])):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1] == other[1]


def test_local_processes_take_the_walkers_in_turn(
    recipe: EngineRecipe, two: DaskWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask alone gave three of four walkers to one of two processes every second time."""

    def whoever_runs_it(*_: object, **__: object) -> int:
        time.sleep(0.2)
        return os.getpid()

    monkeypatch.setattr(dask_workers, "run_job", whoever_runs_it)
    run = two.executor(recipe)
    for _ in range(3):
        ran = list(run(jobs(recipe, 4)))
        assert ran[0] == ran[2] != ran[1] == ran[3]


def test_other_work_is_done_beside_this_process(two: DaskWorkers) -> None:
    """It has begun when `begin` returns, in another process; beside none it waits until it is asked for."""
    began = time.time()
    with two.begin(lambda: (os.getpid(), time.time())) as beside:
        time.sleep(1.0)
        process, when = beside.result()
    assert process != os.getpid()
    assert when - began < 1.0
    asked: list[int] = []
    with ThisProcess().begin(lambda: asked.append(1)) as here:
        assert asked == []
        here.result()
    assert asked == [1]


def test_other_work_fails_only_when_it_is_asked_for(two: DaskWorkers) -> None:
    def fail() -> None:
        raise TrainingError("training: told so")

    with two.begin(fail):
        pass
    with two.begin(fail) as beside, pytest.raises(TrainingError, match="training: told so"):
        beside.result()


def test_the_run_of_two_processes_is_that_of_one(small_run: Path, tmp_path: Path, two: DaskWorkers) -> None:
    iterate(load_system("ala2", overrides=SMALL), tmp_path / "run", workers=two)
    assert_same_run(small_run, tmp_path / "run")


@pytest.mark.usefixtures("without_pictures")
def test_a_process_that_dies_costs_nothing_but_time(small_run: Path, tmp_path: Path) -> None:
    """One of two is killed in the middle of each sampling but the first."""
    folder, killed = tmp_path / "run", []

    def kill_some(pool: DaskWorkers) -> None:
        for stage in ("iteration_01", "production_02"):
            while not (folder / stage / "segments" / "ensemble.npz").exists():
                time.sleep(0.001)
            pid = next(iter(pool.client().run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with DaskWorkers(2) as pool:
        killer = Thread(target=kill_some, args=(pool,), daemon=True)
        killer.start()
        iterate(load_system("ala2", overrides=SMALL), folder, workers=pool)
    assert len(set(killed)) == 2
    assert_same_run(small_run, folder)


@pytest.mark.parametrize(
    "sign", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL]
)
@pytest.mark.usefixtures("without_pictures")
def test_stopped_with_its_processes_it_goes_on_as_one(
    small_run: Path, tmp_path: Path, sign: signal.Signals
) -> None:
    """Ctrl-C reaches all of them, kill and kill -9 the first one alone. No process is left behind."""
    folder = tmp_path / "run"
    watched: list[psutil.Process] = []
    moment = "iteration_01/segments/segment_00003_walker_001.npz"
    result = run_until(folder, moment, sign, workers=2, on_moment=watched.extend)
    if sign == signal.SIGKILL:
        assert result.returncode == -sign
    else:
        assert result.returncode == 130
        assert "continue with the same command and --resume" in result.stderr
        assert "Traceback" not in result.stderr
    assert len(watched) >= 2
    assert not psutil.wait_procs(watched, timeout=30)[1]
    iterate(load_system("ala2", overrides=SMALL), folder, resume=True)
    assert_same_run(small_run, folder)


def test_what_a_worker_raises_is_raised_here(recipe: EngineRecipe, two: DaskWorkers) -> None:
    (first,), (second,) = jobs(recipe, 1), jobs(recipe, 1)
    second.state.positions[1] = second.state.positions[0]
    with pytest.raises(SimulationError, match="exploded near step"):
        list(two.executor(recipe)([first, second]))
    # and the processes go on
    assert len(list(two.executor(recipe)(jobs(recipe, 2)))) == 2


def test_local_processes_listen_on_this_machine_alone(two: DaskWorkers) -> None:
    client = two.client()
    assert set(client.nthreads().values()) == {1}
    pids = [os.getpid(), *client.run(os.getpid).values()]
    connections = [c for pid in pids for c in psutil.Process(pid).net_connections() if c.status == "LISTEN"]
    assert len(connections) >= 3
    assert {connection.laddr.ip for connection in connections} == {"127.0.0.1"}


def test_nobody_without_the_certificate_gets_in(two: DaskWorkers) -> None:
    """Whoever can talk to a scheduler can run code: other accounts of this machine shall not."""
    address = two.client().scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    assert is_refused(address)
    gc.collect()  # see `no_client_is_left`
    assert is_refused(address.replace("tls", "tcp"))


def is_refused(address: str) -> bool:
    """Whether a client without a certificate fails to connect; nothing of it is kept."""
    import distributed

    try:
        client = distributed.Client(address, timeout=1)
    except (OSError, TypeError, ValueError):
        return True
    client.close()
    return False


def test_a_cluster_of_the_user_runs_them_as_well(recipe: EngineRecipe) -> None:
    import distributed

    asked = jobs(recipe, 3)
    with users_cluster(2) as cluster:
        with DaskWorkers(address=cluster.scheduler_address) as theirs:
            there = theirs.executor(recipe)(asked)
            assert theirs.count() == 2
        with distributed.Client(cluster) as client:  # they are the user's: still there, without our engines
            assert list(client.run(lambda: len(dask_tasks.ENGINES_MADE)).values()) == [0, 0]
    for one, other in zip(ThisProcess().executor(recipe)(asked), there, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)


def test_a_scheduler_that_goes_away_is_named(recipe: EngineRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "PATIENCE_S", 3)
    with (
        users_cluster(1) as cluster,
        DaskWorkers(address=cluster.scheduler_address) as theirs,
    ):
        theirs.executor(recipe)(jobs(recipe, 1))
        stopper = Timer(1.0, cluster.close)
        stopper.start()
        with pytest.raises(SimulationError, match=r"workers: the scheduler is lost .*continue with --resume"):
            theirs.executor(recipe)(jobs(recipe, 1, n_steps=500_000))
        stopper.join()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "no/such/scheduler.json", "nonsense"])
def test_a_scheduler_that_does_not_answer_is_named(
    address: str, recipe: EngineRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_workers, "PATIENCE_S", 1)
    with (
        pytest.raises(SettingsError, match=f"--dask {address}: needs a scheduler with at least one worker"),
        DaskWorkers(address=address) as nowhere,
    ):
        nowhere.executor(recipe)(jobs(recipe, 1))


def test_workers_that_do_not_fit_are_refused() -> None:
    own = versions()
    dask_tasks.check_worker("tcp://b:2", 1, own, own)
    with pytest.raises(SettingsError, match=r"worker tcp://b:2 needs one thread, it has 4: .*--nthreads 1"):
        dask_tasks.check_worker("tcp://b:2", 4, own, own)
    with pytest.raises(SettingsError, match=r"worker tcp://b:2 needs openmm .* first process, it has 8\.1"):
        dask_tasks.check_worker("tcp://b:2", 1, own | {"openmm": "8.1"}, own)


def test_a_worker_with_threads_is_refused_when_it_joins_late(
    recipe: EngineRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look at the workers would have found it; the worker itself looks as well."""
    monkeypatch.setattr(dask_workers, "check_worker", lambda *_: None)
    with (
        users_cluster(1, n_threads=2) as cluster,
        DaskWorkers(address=cluster.scheduler_address) as theirs,
        pytest.raises(SettingsError, match="needs one thread, it has 2"),
    ):
        theirs.executor(recipe)(jobs(recipe, 1))


def test_files_that_have_changed_are_refused_by_a_worker(tmp_path: Path) -> None:
    own = Path(shutil.copytree(load_system("ala2").directory, tmp_path / "own"))
    system = build(load_system(own))
    sent = pickle.dumps(system)
    np.testing.assert_array_equal(pickle.loads(sent).positions, system.positions)
    (own / "ala2.pdb").write_text((own / "ala2.pdb").read_text().replace("HEADER", "REMARK") + "REMARK\n")
    with pytest.raises(MolecularSystemError, match="the files of system 'ala2' have changed"):
        pickle.loads(sent)
    shutil.rmtree(own)
    with pytest.raises(MolecularSystemError, match="at the same path for every process"):
        pickle.loads(sent)


def test_recipes_have_keys_of_their_own(recipe: EngineRecipe) -> None:
    assert replace(recipe, bias=None).key != recipe.key


def test_as_many_processes_as_walkers_or_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "usable_cores", lambda: 8)

    def opened(n_walkers: int, n_local: int | None) -> int:
        with open_workers(n_walkers, n_local=n_local) as pool:
            return pool.count()

    assert [opened(*asked) for asked in ((4, None), (16, None), (1, None), (4, 3), (4, 1))] == [4, 8, 1, 3, 1]
    with pytest.raises(SettingsError, match="--workers: counts processes here, --dask names those of"):
        open_workers(4, n_local=2, address="tcp://a:1")


def test_gpus_go_round(recipe: EngineRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    assert dask_tasks.device_of(()) is None
    for name, device in (("0", "2"), ("1", "5"), ("2", "2"), (3, "5")):
        worker = type("Worker", (), {"name": name})
        monkeypatch.setattr(distributed, "get_worker", lambda worker=worker: worker)
        assert dask_tasks.device_of(("2", "5")) == device
    monkeypatch.setattr(distributed, "get_worker", lambda: type("Worker", (), {"name": "tcp://b:2"}))
    with pytest.raises(
        SettingsError, match="needs a number as its name to take one of 2, 5, got 'tcp://b:2'"
    ):
        dask_tasks.device_of(("2", "5"))
    with open_workers(4, n_local=1, devices="3, 4") as pool:
        assert pool.devices == ("3", "4")
    with pytest.raises(SettingsError, match="--devices: needs indices of GPUs like 0,1, got '0,x'"):
        open_workers(4, devices="0,x")
    with pytest.raises(SettingsError, match=r"--devices: needs a platform with devices .* got Reference"):
        recipe.platform.on_device("1")
    gpu = SimpleNamespace(getPropertyNames=lambda: ("DeviceIndex", "Precision"))
    choice = PlatformChoice(platform=gpu, properties={"Precision": "mixed"}, reason="")
    assert choice.on_device("1").properties == {"Precision": "mixed", "DeviceIndex": "1"}
