"""Alanine dipeptide for a benchmark on any platform: in vacuum or in water, with a CV, ready to start."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from eabf_speed import equilibrated, made_up_cv
from openmm import app, unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SettingsError
from aecv.ground.grid import Grid
from aecv.models.cvs.cv import CV
from aecv.molecules.spec import SystemSpec, load_system
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable, fastest_frequency
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.engines.context_engine import ContextEngine
from aecv.sampling.system.molecular_system import MolecularSystem, build, make_context
from aecv.sampling.system.platforms import PlatformChoice
from aecv.sampling.system.structure import read_structure

FRAME_STEPS = 100
Kind = Callable[..., ContextEngine]
Look = Callable[[ContextEngine, FloatArray], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A system with a CV, its coupling, the platform, and where runs start.

    Attributes:
        probe: frames of the CV's atoms, shape (n, n_cv_atoms, 3) [nm].
    """

    system: MolecularSystem
    platform: PlatformChoice
    cv: CV
    extended: ExtendedVariable
    state: WalkerState
    probe: FloatArray

    @property
    def phase(self) -> float:
        """omega dt of the spring in the stiffest of the probe's frames; 2 is the limit of n dt."""
        masses = self.system.masses[self.cv.atom_indices]
        fastest = fastest_frequency(self.cv.gradient(self.probe), masses, self.extended)
        return float(np.max(fastest)) * self.extended.timestep_ps

    def with_phase(self, phase: float) -> "Setting":
        """The same with a stiffer or softer spring, and the mass of lambda that keeps its own period.

        Raises:
            SettingsError: when the free lambda alone turns faster.
        """
        extended = self.extended
        free = math.sqrt(max(np.array(extended.kappa) / np.array(extended.mass))) * extended.timestep_ps
        if not phase > free:
            raise SettingsError(f"--phase: needs more than the {free:.3f} of a free lambda, got {phase}")
        factor = (phase**2 - free**2) / (self.phase**2 - free**2)
        kappa = tuple(factor * k for k in extended.kappa)
        mass = tuple(factor * m for m in extended.mass)
        return replace(self, extended=replace(extended, kappa=kappa, mass=mass))

    def without_walls(self) -> "Setting":
        """The same with walls ten ranges away, where lambda never comes."""
        grid = self.extended.grid
        if any(grid.periodic):
            return self
        low, high = np.array(grid.lower), np.array(grid.upper)
        far = Grid(
            lower=tuple((low - 10 * (high - low)).tolist()),
            upper=tuple((high + 10 * (high - low)).tolist()),
            n_bins=grid.n_bins,
        )
        return replace(self, extended=replace(self.extended, grid=far))

    def engine(self, kind: Kind, look: Look | None = None, **options: Any) -> ContextEngine:
        """An engine of a kind for all this; `look` sees it, and the positions, after the steps of a frame."""
        kind = kind if look is None else _watched(kind, look)
        return kind(self.system, self.cv, self.extended, platform=self.platform, probe=self.probe, **options)

    def job(self, n_steps: int, frame_steps: int, *, seed: int = 1, is_flat: bool = False) -> SegmentJob:
        """A segment from the start, lambda at xi; `is_flat`: without bias on lambda for good."""
        lam = self.cv(self.state.positions[self.cv.atom_indices])[0]
        grid = self.extended.grid
        return SegmentJob(
            state=replace(self.state, lam=lam, lam_velocity=np.zeros_like(lam)),
            n_steps=n_steps,
            frame_steps=frame_steps,
            seed=SegmentSeed(root=seed, stage="benchmark", walker=0, segment=0),
            accumulators=Accumulators.zeros(grid),
            potential=np.zeros(grid.size) if is_flat else None,
        )


def _watched(kind: Kind, look: Look) -> Kind:
    class Watched(kind):  # type: ignore[misc, valid-type]
        def advance(self, n_steps: int, positions: FloatArray) -> FloatArray:
            positions = super().advance(n_steps, positions)
            look(self, positions)
            return positions

    return Watched


def water_box(folder: Path, padding_nm: float, *more: str) -> SystemSpec:
    """Alanine dipeptide in TIP3P: the shipped system with another structure and other settings.

    Args:
        folder: where its files go, into a folder `water`.
        padding_nm: least distance between the molecule and its images; a small one makes the cutoff short.
        more: SECTION.KEY=VALUE texts laid over its settings.
    """
    vacuum = load_system("ala2")
    topology, positions = read_structure(vacuum.structure_path)
    fields = ["amber99sbildn.xml", "tip3p.xml"]
    modeller = app.Modeller(topology, positions * unit.nanometer)
    modeller.addSolvent(app.ForceField(*fields), model="tip3p", padding=padding_nm * unit.nanometer)
    inside = folder / "water"
    inside.mkdir()
    (inside / "system.toml").write_bytes((vacuum.directory / "system.toml").read_bytes())
    _write(inside / vacuum.structure_path.name, modeller.topology, modeller.positions)
    # the cutoff has to fit twice into the smallest box that is asked for
    lengths = modeller.topology.getUnitCellDimensions().value_in_unit(unit.nanometer)
    overrides = [
        f"system.forcefield={fields}",
        'system.nonbonded="PME"',
        f"system.cutoff_nm={min(0.9, 0.45 * min(lengths)):.3f}",
        'system.constraints="HBonds"',
        "dynamics.timestep_ps=0.002",
        *more,
    ]
    return load_system(inside, overrides=overrides)


def minimised(spec: SystemSpec, platform: PlatformChoice) -> SystemSpec:
    """The same system, its structure file with the molecules at rest."""
    system = build(spec)
    context, _ = make_context(system, platform=platform, seed=1)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 500)
    _write(spec.structure_path, system.topology, context.getState(positions=True).getPositions())
    return spec


def _write(path: Path, topology: app.Topology, positions: Any) -> None:
    with path.open("w") as file:
        app.PDBFile.writeFile(topology, positions, file, keepIds=True)


def prepared(spec: SystemSpec, platform: PlatformChoice, folder: Path, *, n_frames: int = 100) -> Setting:
    """A system after its sampling.equilibration_ps, with a network of the default size for its frames.

    Args:
        folder: for the files of the CV.
        n_frames: 100 steps apart; the grid covers what they visit.
    """
    system = build(spec)
    state, frames = equilibrated(system, platform, system.positions, n_frames * FRAME_STEPS)
    probe = frames[:, system.cv_atom_indices]
    files = folder / f"cv_{system.n_atoms}"
    files.mkdir()
    cv, extended = made_up_cv(system, probe, files)
    return Setting(system=system, platform=platform, cv=cv, extended=extended, state=state, probe=probe)
