"""Speed of native extended ABF on alanine dipeptide beside unbiased MD, and where a step's time goes.

    python benchmarks/eabf_speed.py [--steps 50000] [--repeats 5] [--engine NAME[/FORM]] [--json FILE]

Everything runs in one process on one thread, in turns, so that a busy machine slows all rows alike: trust
the ratios, not the steps per second. Medians over the repeats are printed.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from machine import machine
from options import guarded, natural, parser_of
from runs import print_table, write_rows

from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable
from aecv.numerics.kernels.encoder import Encoder, encode
from aecv.sampling.dynamics.jobs import Engine, SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.dynamics.segments import UnbiasedEngine, start
from aecv.sampling.engines.choice import make_biased_engine, require_engine
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.engines.plumed import PlumedEngine
from aecv.sampling.starting.equilibration import equilibrate
from aecv.sampling.system.molecular_system import MolecularSystem, build, make_context
from aecv.sampling.system.platforms import PlatformChoice, choose_platform
from aecv.workflow.dynamics.coupling import extended_variable


def main() -> None:
    """Parse, measure, print, write."""
    parser = parser_of(__doc__)
    parser.add_argument("--steps", type=natural, default=50_000, help="MD steps per measurement")
    parser.add_argument("--repeats", type=natural, default=5)
    parser.add_argument(
        "--engine",
        action="append",
        default=[],
        metavar="NAME[/FORM]",
        help="another engine (torchforce, plumed/ann) beside, on a tenth of the steps; may be repeated",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(options.steps, options.repeats, Path(folder), options.engine)
    limit = statistics.median(rates["unbiased MD"])
    rows = {
        name: {
            "steps_per_s": statistics.median(values),
            "ratio": statistics.median(v / u for v, u in zip(values, rates["unbiased MD"], strict=True)),
        }
        for name, values in rates.items()
    }
    print("ala2, 22 atoms, Reference platform, one thread, all in turns in one process")
    lines = [
        (
            name,
            f"{row['steps_per_s']:.0f}",
            f"{row['ratio']:.2f}",
            f"{1e6 / row['steps_per_s'] - 1e6 / limit:+.2f}",
        )
        for name, row in rows.items()
    ]
    print_table(("", "steps/s", "ratio", "us/step"), lines)
    write_rows(options.json, {"rows": rows, "steps": options.steps, "repeats": options.repeats} | machine())


def measure(n_steps: int, repeats: int, folder: Path, others: Sequence[str] = ()) -> dict[str, list[float]]:
    """Steps per second of every row, one number per repeat; the CV's files go into a folder."""
    system, platform_choice, state, frames = prepared()
    probe = frames[:, system.cv_atom_indices]
    cv, extended = made_up_cv(system, probe, folder)
    unbiased = UnbiasedEngine(*make_context(system, platform=platform_choice, seed=1))
    biased = NativeEngine(system, cv, extended, platform=platform_choice, probe=probe)
    job = biased_job(cv, extended, state, n_steps)
    torsions = observable_cv(system.observables, ("phi", "psi"))
    seen = frames[:, torsions.atom_indices]
    periodic = extended_variable(torsions, seen, system.masses[torsions.atom_indices], system.spec.settings)
    plain = NativeEngine(system, torsions, periodic, platform=platform_choice, probe=seen)
    plain_job = biased_job(torsions, periodic, state, n_steps)
    forces = np.zeros((cv.n_atoms, 3))
    positions = np.empty((cv.n_atoms, 3))

    def empty(state: openmm.State) -> tuple[float, np.ndarray]:
        return 0.0, forces

    def read(state: openmm.State) -> tuple[float, np.ndarray]:
        state._getVectorAsNumpy(openmm.State.Positions, positions)
        return 0.0, forces

    def read_with_units(state: openmm.State) -> tuple[float, np.ndarray]:
        state.getPositions(asNumpy=True)
        return 0.0, forces

    rows: dict[str, Callable[[], float]] = {
        "unbiased MD": partial(_seconds, unbiased, make_job(state, n_steps)),
        "PythonForce, empty callback": _callback(system, platform_choice, empty, cv, state, n_steps),
        "PythonForce, positions into an array": _callback(system, platform_choice, read, cv, state, n_steps),
        "PythonForce, State.getPositions(asNumpy=True)": _callback(
            system, platform_choice, read_with_units, cv, state, n_steps
        ),
        "native extended ABF, 24-40-2": partial(_seconds, biased, job),
        "native extended ABF, phi and psi": partial(_seconds, plain, plain_job),
    }
    fewer = max(n_steps // 10 // 100, 1) * 100
    for name in others:
        other = _other(name, system, cv, extended, platform_choice, probe)
        rows[f"{name} extended ABF, 24-40-2"] = partial(
            _scaled, other, biased_job(cv, extended, state, fewer), n_steps
        )
    for row in rows.values():
        row()  # compile, and warm up
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, row in rows.items():
            rates[name].append(n_steps / row())
    return rates


def _seconds(engine: Engine, job: SegmentJob) -> float:
    return engine.run(job).wall_s


def _scaled(engine: Engine, job: SegmentJob, n_steps: int) -> float:
    """Seconds for n_steps, from a shorter job."""
    return engine.run(job).wall_s * n_steps / job.n_steps


def _other(
    name: str,
    system: MolecularSystem,
    cv: CV,
    extended: ExtendedVariable,
    choice: PlatformChoice,
    probe: np.ndarray,
) -> Engine:
    """Another engine by its name; of PLUMED's the form of its input may follow after a slash."""
    engine, _, form = name.partition("/")
    require_engine(engine)
    if not form:
        return make_biased_engine(engine, system, cv, extended, platform=choice, probe=probe)
    return PlumedEngine(system, cv, extended, platform=choice, probe=probe, form=form)


def prepared() -> tuple[MolecularSystem, PlatformChoice, WalkerState, np.ndarray]:
    system = build(load_system("ala2", overrides=["sampling.equilibration_ps=5"]))
    choice = choose_platform(system.system)
    return system, choice, *equilibrated(system, choice, system.positions, 20_000)


def equilibrated(
    system: MolecularSystem, choice: PlatformChoice, positions: np.ndarray, n_steps: int
) -> tuple[WalkerState, np.ndarray]:
    """A walker at temperature, and the frames of so many steps without bias from there on."""
    (state,) = equilibrate(system, positions[None], n_walkers=1, platform=choice)
    run = UnbiasedEngine(*make_context(system, platform=choice, seed=1)).run(make_job(state, n_steps))
    return state, run.frames.astype(float)


def made_up_cv(system: MolecularSystem, probe: np.ndarray, folder: Path) -> tuple[CV, ExtendedVariable]:
    """A network with the default hidden layer; its weights do not change what a step costs."""
    rng = np.random.default_rng(0)
    encoder = Encoder(
        reference=probe[0],
        weights=(3 * rng.normal(size=(40, 3 * probe.shape[1])), 0.3 * rng.normal(size=(2, 40))),
        biases=(0.1 * rng.normal(size=40), rng.normal(size=2)),
    )
    xi = encode(encoder, probe)
    cv_range = np.array([xi.min(axis=0) - 0.7, xi.max(axis=0) + 0.7]).T
    atoms = system.cv_atom_indices
    export_cv(encoder, folder, atom_indices=atoms, cv_range=cv_range, system="ala2", system_hash="")
    cv = load_cv(folder)
    return cv, extended_variable(cv, probe, system.masses[atoms], system.spec.settings)


def make_job(state: WalkerState, n_steps: int, accumulators: Accumulators | None = None) -> SegmentJob:
    seed = SegmentSeed(root=1, stage="benchmark", walker=0, segment=0)
    return SegmentJob(state=state, n_steps=n_steps, frame_steps=100, seed=seed, accumulators=accumulators)


def biased_job(cv: CV, extended: ExtendedVariable, state: WalkerState, n_steps: int) -> SegmentJob:
    lam = cv(state.positions[cv.atom_indices])[0]
    biased = replace(state, lam=lam, lam_velocity=np.zeros_like(lam))
    return make_job(biased, n_steps, Accumulators.zeros(extended.grid))


def _callback(
    system: MolecularSystem, choice: PlatformChoice, function: Any, cv: CV, state: WalkerState, n_steps: int
) -> Callable[[], float]:
    """A run with some callback in the place of the kernel."""
    force = openmm.PythonForce(function)
    force.setParticles([int(index) for index in cv.atom_indices])
    context, integrator = make_context(system, platform=choice, extra_forces=(force,), seed=1)

    def run() -> float:
        start(context, integrator, make_job(state, n_steps))
        began = time.perf_counter()
        for _ in range(n_steps // 100):
            integrator.step(100)
            context.getState(positions=True)
        return time.perf_counter() - began

    return run


if __name__ == "__main__":
    guarded(main)
