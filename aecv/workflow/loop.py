"""The loop: unbiased iteration, then bias, weigh, retrain and score until the CV repeats itself.

    0  diverse starts -> unbiased MD -> autoencoder -> xi_0
    k  extended ABF along xi_(k-1) -> weights (pool) -> autoencoder -> xi_k -> score(xi_k | xi_(k-1))
    end  production: a longer run along the last CV, for the free energies

Source: Belkacemi, Gkeka, Lelievre, Stoltz, J. Chem. Theory Comput. 18, 59 (2022),
doi:10.1021/acs.jctc.1c00415 (FEBILAE).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from aecv.ground.errors import StoreError
from aecv.ground.files import read_arrays
from aecv.ground.progress import Progress, silent, told
from aecv.ground.settings import ConvergenceSettings
from aecv.ground.shown import Shown
from aecv.models.cvs.cv import CV
from aecv.models.training.device import device_of
from aecv.molecules.spec import SystemSpec, as_system
from aecv.results.story.content import State
from aecv.sampling.dynamics.jobs import WalkerState
from aecv.sampling.dynamics.walkers import Plan
from aecv.sampling.engines.choice import require_engine
from aecv.sampling.processes.recipe import BiasRecipe, EngineRecipe
from aecv.sampling.processes.workers import ThisProcess, Workers
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.sampling.system.platforms import PlatformChoice, choose_platform
from aecv.workflow.dynamics import sampling_stage
from aecv.workflow.dynamics.coupling import extended_variable, probe_of
from aecv.workflow.dynamics.prior import prior_of_pool
from aecv.workflow.dynamics.sampling_stage import Sampling
from aecv.workflow.dynamics.starting import prepare_walkers
from aecv.workflow.frames.frame_counts import count_frames
from aecv.workflow.frames.input_frames import FrameFiles, Frames, check_frames, frame_files
from aecv.workflow.free_energies import production
from aecv.workflow.free_energies.analysis import written
from aecv.workflow.free_energies.production import Production
from aecv.workflow.learning import learning_stage
from aecv.workflow.learning.next_cv import check_model
from aecv.workflow.learning.verdict import Verdict, judge
from aecv.workflow.planning.cost import log_times
from aecv.workflow.planning.foresight import foresee_loop
from aecv.workflow.planning.lengths import plan_of, production_plan
from aecv.workflow.planning.space import check_space, samplings_of_loop
from aecv.workflow.run_folder.cv_of_run import load_cv
from aecv.workflow.run_folder.records import IterationRecord, converged_at, records_dataframe
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.store import Place, RunDirectory, check_folder, write_summary
from aecv.workflow.story.history import history_of
from aecv.workflow.story.pictures import remove_production_pictures, tell
from aecv.workflow.story.report import told_when_stopped

logger = logging.getLogger(__name__)

NO_POOL = (
    "pool none: weights are exp(-F/kT) with F of the extended variable as it was estimated; intervals and "
    "standard errors of the iterations resample frames with these weights and omit the error of F itself; "
    "those of a production with frozen stages do not"
)
"""Said in the log of every run without a pool."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Outcome(Shown):
    """What a run has come to.

    Attributes:
        records: one per iteration.
        verdict: whether the CV converged, and what that rests on.
        production: the run along the final CV; None where none was asked for.
        convergence: the settings that the verdict goes by.
    """

    records: tuple[IterationRecord, ...]
    verdict: Verdict
    production: Production | None
    convergence: ConvergenceSettings = field(default_factory=ConvergenceSettings)

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame, a row per iteration: the fields of `IterationRecord`.

        Raises:
            MissingPackageError: without pandas.
        """
        return records_dataframe(self.records)

    def plot(self) -> Any:
        """A matplotlib Figure: the scores of the iterations, and what they have to reach."""
        from aecv.results.plots import score_history

        return score_history(history_of(self.records, self.convergence))

    def __repr__(self) -> str:
        said = "; ".join(self.verdict.sentences)
        return f"Outcome of {len(self.records)} iterations: {said}"


def iterate(
    spec: SystemSpec | str | Path,
    out: Path | str,
    *,
    resume: bool = False,
    frames: Frames | None = None,
    workers: Workers | None = None,
    progress: Progress = silent,
    on_record: Callable[[IterationRecord], object] = lambda _: None,
) -> Outcome:
    """Records, verdict and production of the whole loop for a system, which is run or continued.

    Args:
        spec: the system with all settings; or its name or folder, with its own.
        out: the run's folder.
        resume: continue the run that the folder holds.
        frames: a user's frames in place of the unbiased dynamics of iteration 0 (`FrameFiles`, a path, an
            mdtraj.Trajectory, or a list of these); a resumed run whose iteration 0 is finished needs them no
            more.
        workers: processes that run the dynamics; None for this one. They change no result.
        progress: opens progress bars.
        on_record: called with each iteration's record when it is known, also for reused iterations.

    Returns:
        The records of all iterations, the verdict on them, and the production.

    Raises:
        AecvError: any of its kinds, for reasons that the message tells.

    Example:
        >>> import aecv
        >>> ala2 = aecv.load_system("ala2", overrides={"sampling.ns": 1})
        >>> outcome = aecv.iterate(ala2, "runs/short")  # doctest: +SKIP
        >>> outcome.verdict.converged  # doctest: +SKIP
        True
    """
    spec = as_system(spec)
    # what arithmetic tells is an error before anything is written
    is_simulated = frames is None and not resume
    foresees = partial(foresee_loop, with_dynamics=is_simulated)
    warnings = foresees(spec.settings)
    device_of(spec.settings.training.device)
    engine_versions = require_engine(spec.settings.sampling.engine)
    check_folder(Path(out), resume=resume)
    system = build(spec)
    check_model(system)
    files = None if frames is None else frame_files(frames)
    if files is not None:
        check_frames(files, system)
        foresees = partial(foresees, given_frames=count_frames(files))
        warnings = foresees(spec.settings)
    samplings = partial(samplings_of_loop, with_dynamics=files is None)
    check_space(system, Path(out), samplings, foresees)
    workers = workers or ThisProcess()
    platform = choose_platform(system.system, spec.settings.dynamics.platform, devices=workers.devices)
    open_run = RunDirectory.resume if resume else RunDirectory.create
    with (
        open_run(
            Path(out), spec, platform=platform.platform.getName(), engine_versions=engine_versions
        ) as run,
        told_when_stopped(run.path),
    ):
        for warning in warnings:
            logger.warning("%s", warning)
        if is_simulated:
            log_times(system, platform, workers)
        return _Loop(run, system, platform, workers, progress, files).run(on_record)


class _Loop:
    """One invocation: the run directory, and what every stage needs."""

    def __init__(
        self,
        run: RunDirectory,
        system: MolecularSystem,
        platform: PlatformChoice,
        workers: Workers,
        progress: Progress,
        frames: FrameFiles | None,
    ) -> None:
        self._frames = frames
        self._run = run
        self._system = system
        self._settings = system.spec.settings
        self._platform = platform
        self._workers = workers
        self._progress = told(progress)

    def run(self, on_record: Callable[[IterationRecord], object]) -> Outcome:
        """All iterations that are not there yet, in order, then the production."""
        logger.info("platform %s; random seed %d", self._platform.reason, self._settings.run.seed)
        if self._settings.pool.mode == "none":
            logger.warning("%s", NO_POOL)
        records: list[IterationRecord] = []
        self._check_length()
        states = self._walkers()
        for iteration in range(self._settings.run.iterations):
            is_known = self._run.has_finished(iteration, "learning")
            self._sample(iteration, states)
            record = self._learn(iteration)
            records.append(record)
            on_record(record)
            if not (is_known and self._is_followed(iteration)):
                self._summarise(records, None, "running")
            if (
                self._settings.convergence.stop
                and not self._run.has_finished(iteration + 1, "learning")
                and converged_at(records, self._settings.convergence) is not None
            ):
                logger.info("converged at iteration %d; stopping as asked", iteration)
                break
        produced = self._produce(records[-1].index, states)
        self._run.accept(self._settings)
        return self._summarise(records, produced, "finished")

    def _is_followed(self, iteration: int) -> bool:
        """Whether the next iteration, or the production along this one's CV, is finished."""
        name = production.folder_name(iteration)
        return self._run.has_finished(iteration + 1, "learning") or self._run.has_finished(name, "analysis")

    def _summarise(
        self, records: Sequence[IterationRecord], produced: Production | None, state: State
    ) -> Outcome:
        """Write summary.json, the pictures and the report of what there is."""
        convergence = self._settings.convergence
        outcome = Outcome(
            records=tuple(records),
            verdict=judge(records, convergence, trial=self._settings.run.trial),
            production=produced,
            convergence=convergence,
        )
        write_summary(
            self._run,
            records,
            self._settings,
            verdict=outcome.verdict.as_dict(),
            production=None if produced is None else produced.as_dict(),
        )
        if produced is None:
            remove_production_pictures(self._run)
        tell(self._run, state)
        return outcome

    def _check_length(self) -> None:
        """A resumed run keeps what it has: fewer iterations than are finished would hide results."""
        asked = self._settings.run.iterations
        if self._run.has_finished(asked, "learning"):
            raise StoreError(
                f"{self._run.path}: has more than {asked} finished iterations; ask for at least as many "
                "(--iters), or begin a new run in another --out"
            )

    def _walkers(self) -> tuple[WalkerState, ...]:
        """Equilibrated walkers on diverse starts: where every iteration begins."""
        return prepare_walkers(self._run, 0, self._system, self._platform, self._progress, self._workers)

    def _sample(self, iteration: int, states: tuple[WalkerState, ...]) -> None:
        inputs: dict[str, Any] = {"starts.npz": self._run.output_hash(0, "starts", "starts.npz")}
        if iteration > 0:
            inputs |= self._hashes_of(iteration - 1)
        elif self._frames is not None:
            inputs |= self._frames.hashes()
        elif self._run.has_finished(0, "sampling"):
            inputs = self._run.inputs_of(0, "sampling") | inputs
        plan = plan_of(self._settings, iteration)
        self._run_sampling(iteration, plan, inputs, iteration, states)

    def _hashes_of(self, iteration: int) -> dict[str, str]:
        """What a run along an iteration's CV depends on."""
        return {
            name: self._run.output_hash(iteration, "learning", name) for name in ("cv.npz", "weights.npz")
        }

    def _run_sampling(
        self,
        place: Place,
        plan: Plan,
        inputs: Mapping[str, Any],
        iteration: int,
        states: tuple[WalkerState, ...],
    ) -> None:
        """Run what is left of the dynamics of a place, along the CV of iteration - 1; unbiased for 0."""
        folder = self._run.iteration_dir(place)
        outputs: tuple[str, ...] = sampling_stage.BIASED_OUTPUTS
        if iteration == 0:
            outputs = sampling_stage.OUTPUTS if self._frames is None else sampling_stage.GIVEN_OUTPUTS
        if not self._run.is_done(
            place,
            "sampling",
            inputs,
            derived=(sampling_stage.TOPOLOGY,),
            remake=lambda: sampling_stage.write_topology(folder, self._system),
        ):
            self._run.begin(place, "sampling", inputs)
            self._run.accept(self._settings)
            starts = read_arrays(self._run.iteration_dir(0) / "starts.npz")["minimised"]
            task = Sampling(
                folder=folder,
                plan=plan,
                system=self._system,
                starts=starts,
                progress=self._progress,
                workers=self._workers,
            )
            if iteration == 0 and self._frames is not None:
                sampling_stage.take_frames(task, self._frames)
            elif iteration == 0:
                sampling_stage.sample_unbiased(task, self._recipe(), states)
            else:
                self._sample_biased(task, iteration, states)
            self._run.mark_done(place, "sampling", inputs, outputs)
        sampling_stage.remove_segments(folder)

    def _produce(self, last: int, states: tuple[WalkerState, ...]) -> Production | None:
        """The longer run along the last CV; None where none is asked for."""
        ns = self._settings.production_ns
        if ns == 0.0:
            return None
        place = production.folder_name(last)
        section = self._settings.production
        inputs = {
            "starts.npz": self._run.output_hash(0, "starts", "starts.npz"),
            "production.ns": ns,
            "production.frozen_stages": section.frozen_stages,
            **self._hashes_of(last),
        }
        self._run_sampling(place, production_plan(self._settings, last), inputs, last + 1, states)
        inputs = {
            "samples.npz": self._run.output_hash(place, "sampling", "samples.npz"),
            "production.replicates": section.replicates,
        }
        if not self._run.is_done(place, "analysis", inputs, derived=("*",)):
            production.conclude(self._run, last, self._cvs(last + 1), self._system)
            outputs = (*production.OUTPUTS, *written(self._run.iteration_dir(place)))
            self._run.mark_done(place, "analysis", inputs, outputs)
        return Production.load(self._run.iteration_dir(place))

    def _sample_biased(self, task: Sampling, iteration: int, states: tuple[WalkerState, ...]) -> None:
        cv, prior = self._cv(iteration - 1), None
        positions = Samples.load(self._run.iteration_dir(iteration - 1) / "samples.npz").cv_positions
        probe = probe_of(positions)
        masses = self._system.masses[self._system.cv_atom_indices]
        extended = extended_variable(cv, probe, masses, self._settings)
        if self._has_prior(iteration):
            prior = prior_of_pool(self._run, iteration - 1, cv, extended)
        sampling_stage.sample_biased(
            task,
            self._recipe(
                BiasRecipe(engine=self._settings.sampling.engine, cv=cv, extended=extended, probe=probe)
            ),
            states,
            ceiling_kj_mol=self._settings.eabf.ceiling_kj_mol,
            projected=self._settings.eabf.projected,
            prior=prior,
        )

    def _has_prior(self, iteration: int) -> bool:
        """Whether the bias begins with what the pool knows: from the second biased iteration on."""
        settings = self._settings
        return iteration > 1 and settings.eabf.warm_start and settings.pool.mode == "mbar"

    def _learn(self, iteration: int) -> IterationRecord:
        folder = self._run.iteration_dir(iteration)
        first = 0 if iteration == 0 else 1
        inputs = {
            f"samples.npz of iteration {k}": self._run.output_hash(k, "sampling", "samples.npz")
            for k in range(first, iteration + 1)
        }
        inputs["starts.npz"] = self._run.output_hash(0, "starts", "starts.npz")
        if not self._run.is_done(
            iteration,
            "learning",
            inputs,
            derived=learning_stage.DERIVED,
            remake=lambda: learning_stage.weigh_again(
                self._run, iteration, self._cvs(iteration), self._system
            ),
        ):
            learning_stage.learn(
                self._run,
                iteration,
                self._cvs(iteration),
                self._system,
                self._progress,
                workers=self._workers,
            )
            self._run.mark_done(iteration, "learning", inputs, learning_stage.outputs(self._settings, folder))
        return IterationRecord.load(folder)

    def _recipe(self, bias: BiasRecipe | None = None) -> EngineRecipe:
        return EngineRecipe(system=self._system, platform=self._platform, bias=bias)

    def _cvs(self, n: int) -> list[CV]:
        """Those of the first n iterations."""
        return [self._cv(k) for k in range(n)]

    def _cv(self, iteration: int) -> CV:
        return load_cv(self._run.iteration_dir(iteration))
