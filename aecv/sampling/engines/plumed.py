"""Extended ABF by PLUMED: openmm-plumed's PlumedForce with DRR, one PLUMED per segment.

PLUMED computes the CV, DRR moves lambda and takes the samples. DRR begins a segment from a state file that
holds lambda and what all walkers have gathered, and leaves one at its end; the difference is what the segment
brought. Segments are as pure as those of the native engine: walkers share one bias, the same seed gives the
same series, and a run that was stopped goes on as if it had not been.

What differs from the native engine: a CV of another program is computed in single precision (PYTORCH_MODEL);
lambda's Langevin step is DRR's (half kick, thermostat, half kick, drift) and not LangevinMiddle; in 2-D and
3-D a frozen bias has the slopes of cells (`plumed_segment.REFINEMENT`).
"""

import logging
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError, ExplosionError, SettingsError, SimulationError
from aecv.models.cvs.cv import CV, shortest
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.results.exports.subject import Form
from aecv.results.formats.colvar import read_colvar
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentResult, WalkerState
from aecv.sampling.engines import plumed_segment as files
from aecv.sampling.engines.availability import Availability
from aecv.sampling.engines.checks import check_fit, check_images, free_force_group, not_finite, verify_cv
from aecv.sampling.engines.drr_state import DRRArchive, DRRState, read_state, starting_samples
from aecv.sampling.engines.plumed_cv import choose_form, write_cv
from aecv.sampling.engines.plumed_force import (
    in_words,
    log_to,
    plumed_force,
    refuse_barostat,
    refused,
    state_template,
)
from aecv.sampling.engines.plumed_kernel import probe_kernel
from aecv.sampling.engines.plumed_segment import SegmentInput
from aecv.sampling.system.molecular_system import MolecularSystem, make_context
from aecv.sampling.system.platforms import PlatformChoice

logger = logging.getLogger(__name__)

LIVE_TOLERANCE = {"pytorch": 1e-3, "ann": 1e-4, "plain": 1e-4}
"""Relative difference of applied and expected forces, per form: PYTORCH_MODEL computes in single precision,
and a reference structure has the decimals of a PDB file."""


_NOT_PLAIN = re.compile(r"[\s#{},=]")


def availability() -> Availability:
    """Ask the PLUMED of this Python for its actions, in a process of its own.

    Nothing in PLUMED's input quotes a file's name, so that the folder for its files has to be a plain one.
    """
    place = tempfile.gettempdir()
    if _NOT_PLAIN.search(place):
        return Availability(
            name="plumed",
            works=False,
            reason=f"PLUMED cannot read files under '{place}', whose name has a space or one of # {{ }} , =",
            remedy="set TMPDIR to a folder without them",
        )
    return probe_kernel().availability


def check_cv(cv: CV) -> None:
    """Refuse a CV that the PLUMED of this Python cannot compute; see `plumed_cv.choose_form`."""
    choose_form(cv, probe_kernel())


def check_periods(extended: ExtendedVariable) -> None:
    """Refuse a period that PLUMED would shift: its own is from -pi to pi, and bins are counted from there.

    Raises:
        CVError: then.
    """
    grid = extended.grid
    for c, (low, high) in enumerate(zip(grid.lower, grid.upper, strict=True)):
        if grid.periodic[c] and not np.allclose([low, high], [-np.pi, np.pi], atol=1e-6):
            raise CVError(
                f"engine plumed: component {c + 1} needs a period from -pi to pi, got {low:g} to {high:g}; "
                "shift it, or use --engine native"
            )


class PlumedEngine:
    """Extended ABF along one CV by openmm-plumed.

    Args:
        system: the molecular system.
        cv: the collective variable; a Python function cannot be used.
        extended: coupling and dynamics of lambda.
        platform: where it runs.
        probe: positions of real frames of the CV's atoms, shape (n, n_cv_atoms, 3) [nm].
        form: of a learned CV's input; None for the best one that this PLUMED has.

    Raises:
        SettingsError: when openmm-plumed is not there or its PLUMED lacks DRR, its files have no plain
            place, or the system has a barostat.
        CVError: when the CV does not fit the system, or PLUMED cannot compute it.
    """

    def __init__(
        self,
        system: MolecularSystem,
        cv: CV,
        extended: ExtendedVariable,
        *,
        platform: PlatformChoice,
        probe: FloatArray,
        form: Form | None = None,
    ) -> None:
        refuse_barostat(system.system, system.spec.settings.barostat)
        found, kernel = availability(), probe_kernel()
        if not found.works:
            raise SettingsError(f"sampling.engine: {found}")
        check_fit(system, cv, extended)
        check_periods(extended)
        check_images(system, cv, probe)
        self._form = form or choose_form(cv, kernel)
        verify_cv(cv, probe)
        self._system, self._cv, self._extended, self._platform = system, cv, extended, platform
        self._home = tempfile.TemporaryDirectory(prefix="aecv-plumed-")
        folder = Path(self._home.name)
        self._images = system.images_along(cv.atom_indices) if system.is_periodic else None
        cv_block, labels = write_cv(cv, self._form, folder, images=self._images)
        self.input = SegmentInput(
            cv_block=cv_block,
            labels=labels,
            temperature_k=system.spec.settings.dynamics.temperature_k,
            extended=extended,
            folder=folder,
            last_step=1,
            frame_steps=1,
        )
        self._archive = DRRArchive(state_template(self.input), extended.grid)
        self._frozen: FloatArray | None = None
        self._is_verified = False
        is_internal = isinstance(cv.map.kernel, InternalCoordinates)
        logger.debug(
            "engine plumed: PLUMED %s computes the CV by %s; lambda's noise comes from the run's seed, since "
            "DRR would begin its own anew in every segment",
            kernel.version,
            "its own coordinates" if is_internal else f"the form '{self._form}'",
        )

    def run(self, job: SegmentJob) -> SegmentResult:
        """Run one segment of extended ABF; see `jobs.Engine`."""
        if job.accumulators is None:
            raise SimulationError("engine: extended ABF needs accumulators to start from, got none")
        if fault := not_finite(job.state.positions[self._cv.atom_indices]):
            raise ExplosionError(f"engine plumed: {fault}")
        began = time.perf_counter()
        if not self._is_verified:
            self._verify_live(job)
        with tempfile.TemporaryDirectory(dir=self._home.name) as name:
            # not 0, see `_integrate`, and a multiple of PRINT's stride
            first = job.frame_steps
            task = replace(
                self.input,
                folder=Path(name),
                last_step=first + job.n_steps,
                frame_steps=job.frame_steps,
                frozen_path=self._frozen_bias(job.potential),
            )
            start = self._start(job)
            self._write_start(task, job, start)
            state, frames = self._integrate(task, job, first)
            end = read_state(self._archive, task.folder / files.END)
            lam = self._lam_of_frames(task, job)
        return SegmentResult(
            state=replace(state, lam=end.lam, lam_velocity=end.velocity),
            frames=frames,
            lam=lam,
            increment=_checked(end.samples - start.samples, job.n_steps),
            wall_s=time.perf_counter() - began,
        )

    def _start(self, job: SegmentJob) -> DRRState:
        """What DRR begins with; under a frozen bias it only counts."""
        assert job.accumulators is not None
        samples = Accumulators.zeros(self._extended.grid)
        if job.potential is None:
            counts, sums = starting_samples(job.accumulators, job.unbiased)
            samples.n_lam[:], samples.sum_lam[:] = counts, sums
        return DRRState(lam=job.state.lam, velocity=job.state.lam_velocity, samples=samples)

    def _write_start(self, task: SegmentInput, job: SegmentJob, start: DRRState) -> None:
        (task.folder / files.START).write_bytes(self._archive.encode(start))
        files.write_noise(task.folder / files.NOISE, job, self._extended)

    def _integrate(
        self, task: SegmentInput, job: SegmentJob, first: int
    ) -> tuple[WalkerState, NDArray[np.float32]]:
        """The dynamics; PLUMED's files are complete when this returns, since its context is gone."""
        kept = self._system.n_frame_atoms
        frames = np.empty((job.n_steps // job.frame_steps, kept, 3), dtype=np.float32)
        with log_to(task.folder / files.LOG):
            context, integrator, _ = self._context(task, seed=job.seed.langevin)
            # openmm-plumed updates PLUMED once per step number and compares with one that nobody has set:
            # what fresh memory holds is 0, and the first step would be skipped
            dynamics.place(context, job.state, step=first)
            positions = job.state.positions
            for frame in range(len(frames)):
                try:
                    positions = dynamics.advance(context, integrator, job.frame_steps, positions)
                except (SimulationError, KeyboardInterrupt) as error:
                    raise in_words(error) from error.__cause__
                frames[frame] = dynamics.whole_frame(context, positions, self._images)[:kept]
            empty = np.empty(0)
            state = dynamics.final_state(context, lam=empty, lam_velocity=empty, images=self._images)
            # the forces of the coming step: DRR writes its state before it takes that step's sample
            context.getState(forces=True)
            del context, integrator
        return state, frames

    def _context(
        self, task: SegmentInput, *, seed: int
    ) -> tuple[openmm.Context, openmm.LangevinMiddleIntegrator, int]:
        """A context with PLUMED in it, its integrator and PLUMED's force group.

        Raises:
            SimulationError: with PLUMED's words when it refuses its input.
        """
        force = plumed_force(task.text, restart=True)
        group = free_force_group(self._system.system)
        force.setForceGroup(group)
        try:
            context, integrator = make_context(
                self._system, platform=self._platform, extra_forces=(force,), seed=seed
            )
        except SettingsError as error:
            raise refused(error.__cause__ or error) from error
        return context, integrator, group

    def _frozen_bias(self, potential: FloatArray | None) -> Path | None:
        """The grid of a frozen bias; the same for all segments of a stage."""
        if potential is None:
            return None
        path = Path(self._home.name) / files.BIAS
        if self._frozen is None or not np.array_equal(potential, self._frozen):
            files.write_frozen_bias(path, potential, self._extended, self.input.labels)
            self._frozen = potential.copy()
        return path

    def _lam_of_frames(self, task: SegmentInput, job: SegmentJob) -> FloatArray:
        """Lambda at the frames, shape (n_frames, d).

        Raises:
            SimulationError: when DRR did not move lambda once in every step.
        """
        columns = read_colvar(task.folder / files.COLVAR)
        rows = np.arange(job.n_steps // job.frame_steps + 1) * job.frame_steps
        came = columns["noise.row"]
        if not np.array_equal(came, rows):
            raise SimulationError(
                f"engine plumed: lambda needs one step per MD step, at the frames it had made "
                f"{came.astype(int).tolist()[:5]} ... of {rows.tolist()[:5]} ...; this openmm-plumed calls "
                "PLUMED in another way than 2.1 does"
            )
        names = files.fictitious(self.input.labels)
        return self._extended.grid.wrap(np.stack([columns[name] for name in names], axis=1)[1:])

    def held(
        self, job: SegmentJob, folder: Path
    ) -> tuple[openmm.Context, openmm.LangevinMiddleIntegrator, int]:
        """A context with the bias at a job's positions and lambda, its integrator and the bias's force group.

        Args:
            folder: an empty one, for PLUMED's files.
        """
        task = replace(self.input, folder=folder, last_step=1_000_000)
        self._write_start(task, job, self._start(job))
        context, integrator, group = self._context(task, seed=1)
        dynamics.place(context, job.state, step=1)
        return context, integrator, group

    def _verify_live(self, job: SegmentJob) -> None:
        """Compare PLUMED's forces, lambda a sigma away from xi, with -kappa (xi - lam) grad xi.

        Raises:
            SimulationError: when the integrator leaves PLUMED out, or the forces differ.
        """
        extended, state, atoms = self._extended, job.state, self._cv.atom_indices
        seen = state.positions[atoms]
        if self._images is not None:
            seen = np.asarray(self._images.whole_cv(seen, state.box), dtype=float)
        xi, gradient = (values[0] for values in self._cv.with_gradient(seen[None]))
        kappa, middle = np.array(extended.kappa), 0.5 * np.add(extended.grid.lower, extended.grid.upper)
        lam = extended.grid.wrap(xi + np.sqrt(extended.kt / kappa) * np.where(xi < middle, 1.0, -1.0))
        pull = kappa * shortest(xi - lam, extended.grid.periods)
        expected = np.zeros_like(state.positions)
        expected[atoms] = -np.einsum("c,cia->ia", pull, gradient)
        with tempfile.TemporaryDirectory(dir=self._home.name) as name, log_to(Path(name) / files.LOG):
            look = replace(job, state=replace(state, lam=lam), n_steps=0)
            context, integrator, group = self.held(look, Path(name))
            applied = context.getState(forces=True, groups={group}).getForces(asNumpy=True)
            is_used = bool(integrator.getIntegrationForceGroups() >> group & 1)
            del context, integrator
        if not is_used:
            raise SimulationError(f"engine: the bias is not live: the integrator leaves out group {group}")
        applied = applied.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        error = np.abs(applied - expected).max() / np.abs(expected).max()
        allowed = LIVE_TOLERANCE[self._form]
        if not error < allowed:
            raise SimulationError(
                "engine: the bias is not live: PLUMED's forces on the atoms are not those of "
                f"{self._cv.source}, -kappa (xi - lam) grad xi (relative difference {error:.1e}, allowed "
                f"{allowed:.0e}); it reads other atoms, in another order, or another file"
            )
        self._is_verified = True
        logger.debug("bias verified: PLUMED's forces on the atoms agree with the CV's to %.1e", error)


def _checked(increment: Accumulators, n_steps: int) -> Accumulators:
    """Refuse samples that come from more evaluations than there were steps."""
    n_samples = int(increment.n_lam.sum())
    if n_samples > n_steps:
        raise SimulationError(
            f"engine plumed: {n_steps} steps need at most as many samples, DRR took {n_samples}: something "
            "asks for the forces between steps; take it out of the system, or use another engine (--engine "
            "native)"
        )
    return increment
