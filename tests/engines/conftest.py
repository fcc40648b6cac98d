"""A CV of alanine dipeptide with made-up weights, and engines along it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aecv.ground import settings as s
from aecv.models.cv import CV, export_cv, load_cv
from aecv.models.spec import load_system
from aecv.numerics.abf import ExtendedVariable
from aecv.numerics.encoder import Encoder, encode
from aecv.sampling.dynamics import SegmentJob, SegmentSeed, UnbiasedEngine, WalkerState
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.equilibration import equilibrate
from aecv.sampling.system import MolecularSystem, PlatformChoice, build, choose_platform, make_context
from aecv.workflow.coupling import extended_variable


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

    def engine(self, cv: CV | None = None) -> NativeEngine:
        return NativeEngine(
            self.system, cv or self.cv, self.extended, platform=self.platform, probe=self.probe
        )


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    spec = load_system("ala2", overrides=["sampling.equilibration_ps=2"])
    system = build(spec)
    platform = choose_platform(system.n_atoms)
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
