"""A CV of alanine dipeptide with made-up weights, and engines along it."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from aecv.ground import settings as s
from aecv.ground.errors import SettingsError
from aecv.ground.grid import Grid
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable, couple
from aecv.numerics.kernels.encoder import Encoder, encode
from aecv.sampling.dynamics.jobs import Engine, SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.dynamics.segments import UnbiasedEngine
from aecv.sampling.engines import choice
from aecv.sampling.engines.choice import make_biased_engine
from aecv.sampling.engines.context_engine import ContextEngine
from aecv.sampling.engines.plumed import PlumedEngine
from aecv.sampling.starting.equilibration import equilibrate
from aecv.sampling.system.molecular_system import MolecularSystem, build, make_context
from aecv.sampling.system.platforms import PlatformChoice, choose_platform
from aecv.workflow.dynamics.coupling import extended_variable


@dataclass(frozen=True)
class Bench:
    """Everything an engine test needs."""

    system: MolecularSystem
    platform: PlatformChoice
    cv: CV
    extended: ExtendedVariable
    probe: np.ndarray
    state: WalkerState
    settings: s.Settings
    engine_name: str = "native"

    def engine(self, cv: CV | None = None) -> Engine:
        return make_biased_engine(
            self.engine_name,
            self.system,
            cv or self.cv,
            self.extended,
            platform=self.platform,
            probe=self.probe,
        )


_SEED = SegmentSeed(root=7, stage="test", walker=0, segment=0)


def job(
    bench: Bench, *, n_steps: int = 500, frame_steps: int = 100, segment: int = 0, **other: Any
) -> SegmentJob:
    """A segment from the bench's state with empty accumulators, but for what is said otherwise."""
    fields = {"state": bench.state, "accumulators": Accumulators.zeros(bench.extended.grid)} | other
    seed = replace(_SEED, segment=segment)
    return SegmentJob(n_steps=n_steps, frame_steps=frame_steps, seed=seed, **fields)


def along(bench: Bench, cv: CV, *, probe: np.ndarray | None = None) -> Bench:
    """The bench with another CV, and what belongs to it; lambda begins at xi."""
    positions = bench.state.positions[cv.atom_indices]
    if probe is None:
        probe = positions + 0.005 * np.random.default_rng(0).normal(size=(50, *positions.shape))
    extended = extended_variable(cv, probe, bench.system.masses[cv.atom_indices], bench.settings)
    lam = extended.grid.wrap(cv(positions)[0])
    state = replace(bench.state, lam=lam, lam_velocity=np.zeros(cv.n_components))
    return replace(bench, cv=cv, extended=extended, probe=probe, state=state)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    spec = load_system("ala2", overrides=["sampling.equilibration_ps=2"])
    system = build(spec)
    platform = choose_platform(system.system)
    (start,) = equilibrate(system, system.positions[None], n_walkers=1, platform=platform)
    seed = SegmentSeed(root=1, stage="probe", walker=0, segment=0)
    unbiased = UnbiasedEngine(*make_context(system, platform=platform, seed=1))
    run = unbiased.run(SegmentJob(state=start, n_steps=10_000, frame_steps=100, seed=seed))
    probe = run.frames[:, system.cv_atom_indices].astype(float)
    rng = np.random.default_rng(0)
    encoder = Encoder(
        reference=probe[0],
        weights=(3 * rng.normal(size=(40, 24)), 0.3 * rng.normal(size=(2, 40))),
        biases=(0.1 * rng.normal(size=40), rng.normal(size=2)),
    )
    folder = tmp_path_factory.mktemp("cv")
    values = encode(encoder, probe)
    cv_range = np.array([values.min(axis=0) - 0.7, values.max(axis=0) + 0.7]).T
    export_cv(
        encoder, folder, atom_indices=system.cv_atom_indices, cv_range=cv_range, system="ala2", system_hash=""
    )
    cv = load_cv(folder)
    extended = extended_variable(cv, probe, system.masses[system.cv_atom_indices], spec.settings)
    state = replace(start, lam=cv(start.positions[cv.atom_indices])[0], lam_velocity=np.zeros(2))
    return Bench(system, platform, cv, extended, probe, state, spec.settings)


class _Foreign(torch.nn.Module):
    """A CV of another program: two distances, no alignment, none of aecv's metadata."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        x = positions.reshape(-1, 8, 3)
        first = (x[:, 0] - x[:, 7]).square().sum(dim=-1).sqrt()
        second = (x[:, 4] - x[:, 6]).square().sum(dim=-1).sqrt()
        return torch.stack([first, second], dim=1)


@pytest.fixture(scope="session")
def foreign_cv(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> CV:
    path: Path = tmp_path_factory.mktemp("foreign") / "distances.pt"
    torch.jit.script(_Foreign()).save(str(path))
    return load_cv(path, atom_indices=bench.cv.atom_indices)


@lru_cache
def why_not(name: str) -> str:
    """Why an engine cannot run here; empty where it can."""
    try:
        found = choice.availability(name)
    except SettingsError as error:
        return str(error)
    return "" if found.works else str(found)


def skip_without(name: str) -> str:
    """The engine's name where it can run; elsewhere the test is skipped with the reason."""
    if reason := why_not(name):
        pytest.skip(reason)
    return name


def with_engine(bench: Bench, name: str) -> Bench:
    return replace(bench, engine_name=name)


def couple_like(bench: Bench, grid: Grid) -> ExtendedVariable:
    """Another grid for the bench, with sigma of one bin."""
    return couple(
        grid,
        kt=bench.extended.kt,
        sigma=grid.widths,
        tau_ps=0.2,
        friction_per_ps=8.0,
        timestep_ps=0.001,
        full_samples=bench.extended.full_samples,
    )


def context_with_bias(engine: Engine, state: WalkerState, folder: Path) -> tuple[openmm.Context, int]:
    """A context in which an engine's bias acts, at a step that is not evaluated for the first time, and the
    force group of the bias."""
    if isinstance(engine, PlumedEngine):
        begin = Accumulators.zeros(engine.input.extended.grid)
        asked = SegmentJob(state=state, n_steps=1, frame_steps=1, seed=_SEED, accumulators=begin)
        context, _, group = engine.held(asked, folder)
    else:
        assert isinstance(engine, ContextEngine)
        context, group = engine.context, engine.group
        context.setPositions(state.positions)
    context.getState(energy=True)
    return context, group


@pytest.fixture
def learned(bench: Bench, engine_name: str) -> Bench:
    """Along an encoder of aecv."""
    return with_engine(bench, engine_name)


@pytest.fixture(params=["learned", "foreign", "torsions"])
def setting(request: pytest.FixtureRequest, learned: Bench, foreign_cv: CV) -> Bench:
    """Along an encoder of aecv, along another program's TorchScript, and along phi and psi."""
    if request.param == "learned":
        return learned
    if request.param == "torsions":
        return along(learned, observable_cv(learned.system.observables, ("phi", "psi")))
    xi = foreign_cv(learned.probe)
    grid = Grid(
        lower=tuple((xi.min(axis=0) - 0.1).tolist()),
        upper=tuple((xi.max(axis=0) + 0.1).tolist()),
        n_bins=(20, 20),
    )
    extended = replace(couple_like(learned, grid), full_samples=200)
    lam = foreign_cv(learned.state.positions[foreign_cv.atom_indices])[0]
    return replace(learned, cv=foreign_cv, extended=extended, state=replace(learned.state, lam=lam))
