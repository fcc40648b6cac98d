"""Extended ABF along a CV that is given rather than learned: observables, a function, a file.

    starts -> equilibrated walkers -> bias that adapts, then frozen stages -> MBAR over the stages
      -> free energies with error bars

The stages are those of the production at the end of the loop; the folder holds

    run.json, run.log            settings, system, versions
    starts/                      where the walkers began
    along/                       frames.dcd, samples.npz, bias.npz, weights.npz, colvar.dat, abf.*, fes_*,
                                 convergence.dat, coverage.json, sampled.json; cv.pt and cv.json unless the CV
                                 is a Python function
    pictures/, report.html
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from aecv.ground.errors import SettingsError
from aecv.ground.files import read_arrays, write_json
from aecv.ground.progress import Progress, silent, told
from aecv.ground.settings import Settings
from aecv.models.cvs.biasing import behaviour, with_range
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import write_cv
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import SystemSpec, as_system, with_settings
from aecv.sampling.dynamics.walkers import Plan
from aecv.sampling.engines.choice import check_cv, require_engine
from aecv.sampling.processes.recipe import BiasRecipe, EngineRecipe
from aecv.sampling.processes.workers import ThisProcess, Workers
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.sampling.system.platforms import choose_platform
from aecv.workflow.dynamics import sampling_stage
from aecv.workflow.dynamics.coupling import extended_variable, probe_of
from aecv.workflow.dynamics.reach import check_behaviour, check_starts
from aecv.workflow.dynamics.sampling_stage import Sampling
from aecv.workflow.dynamics.starting import prepare_walkers
from aecv.workflow.free_energies.analysis import written
from aecv.workflow.free_energies.basins import KnownStarts
from aecv.workflow.free_energies.production import weigh
from aecv.workflow.given_cv.given import GivenCV
from aecv.workflow.given_cv.same_system import check_same_system
from aecv.workflow.planning.cost import log_times
from aecv.workflow.planning.foresight import foresee_range, foresee_sample
from aecv.workflow.planning.lengths import given_plan
from aecv.workflow.planning.space import check_space
from aecv.workflow.run_folder.early_log import early_records
from aecv.workflow.run_folder.sampled import STARTS, Sampled
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.store import ALONG, RunDirectory, check_folder
from aecv.workflow.run_folder.timing import Timing
from aecv.workflow.story.pictures import tell
from aecv.workflow.story.report import told_when_stopped
from aecv.workflow.weights.pool import BiasedIteration

logger = logging.getLogger(__name__)

OUTPUTS = ("sampled.json", "coverage.json", "weights.npz")
"""Beside what `analysis.written` finds."""
NO_FILE = (
    "no cv.pt is written of '{cv}': TorchScript made from a Python function by tracing may be another CV; "
    "keep the function's source with the run"
)


def sample_along(
    spec: SystemSpec | str | Path,
    cv: CV | str | Path | Sequence[str] | Callable[[MolecularSystem], CV],
    out: Path | str,
    *,
    ns: float | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    resume: bool = False,
    workers: Workers | None = None,
    progress: Progress = silent,
) -> Sampled:
    """Free energies along a given CV, and what they rest on, from extended ABF along it.

    Args:
        spec: the system with all settings, or its name or folder; [eabf], [sampling], [starts], [pool] and
            [production] count.
        cv: names of observables of the system (compiled; dihedrals are periodic), in a list or with commas
            between them; the file or folder of a CV; or any `CV`, such as that of `CV.from_function(...)`. A
            component without a range gets that of the hot run's frames, and eabf.margin. Or what makes the CV
            when it is called with the system, such as `aecv.workflow.given_cv.given.GivenCV`.
        out: the run's folder.
        ns: simulated time over all walkers; sampling.ns when left out.
        ranges: lower and upper end of observables that are no dihedrals, per name [nm or rad].
        resume: continue the run that the folder holds; it has to be the same CV and the same ns.
        workers: processes that run the dynamics; None for this one. They change no result.
        progress: opens progress bars.

    Raises:
        AecvError: any of its kinds, for reasons that the message tells.

    Example:
        >>> import aecv
        >>> found = aecv.sample_along("ala2", "phi,psi", "runs/phi_psi", ns=10)  # doctest: +SKIP
        >>> found.delta_f_kj_mol  # doctest: +SKIP
        -8.7
    """
    # in the settings, so that --ns of the command line and this go on with each other's runs
    spec = as_system(spec) if ns is None else with_settings(as_system(spec), {"sampling.ns": ns})
    cv = GivenCV(what=str(cv)) if isinstance(cv, str | Path) else cv
    settings, workers = spec.settings, workers or ThisProcess()
    foresee_sample(settings)
    engine_versions = require_engine(settings.sampling.engine)
    check_folder(Path(out), resume=resume)
    with early_records() as early:
        system = build(spec)
        platform = choose_platform(system.system, settings.dynamics.platform, devices=workers.devices)
        cv = _cv_for(system, cv, ranges)
        warnings = _foresee(system, cv, Path(out))
    plan = given_plan(settings, cv.n_components)
    open_run = RunDirectory.resume if resume else RunDirectory.create
    with (
        open_run(
            Path(out), spec, platform=platform.platform.getName(), engine_versions=engine_versions
        ) as run,
        told_when_stopped(run.path),
    ):
        run.note(early)
        for warning in warnings:
            logger.warning("%s", warning)
        logger.info("platform %s; random seed %d", platform.reason, settings.run.seed)
        if not resume:
            log_times(system, platform, workers, learns=False)
        recipe = EngineRecipe(system=system, platform=platform)
        cv = _sample(run, recipe, cv, plan, workers, told(progress))
        inputs = {
            "samples.npz": run.output_hash(ALONG, "sampling", "samples.npz"),
            "production.replicates": settings.production.replicates,
        }
        if not run.is_done(ALONG, "analysis", inputs, derived=("*",)):
            result = _conclude(run, cv, system)
            outputs = (*OUTPUTS, *written(run.iteration_dir(ALONG)), *result.cv_files)
            run.mark_done(ALONG, "analysis", inputs, outputs)
        tell(run, "finished")
        return Sampled.load(run.iteration_dir(ALONG))


def _cv_for(
    system: MolecularSystem,
    cv: CV | Sequence[str] | Callable[[MolecularSystem], CV],
    ranges: Mapping[str, tuple[float, float]] | None,
) -> CV:
    """The CV that was given, where it fits the system, its settings and the engine."""
    if callable(cv) and not isinstance(cv, CV):
        cv = cv(system)
    if not isinstance(cv, CV):
        names = (cv,) if isinstance(cv, str) else tuple(cv)
        cv = observable_cv(system.observables, names, ranges=ranges)
    elif ranges:
        raise SettingsError("sample_along: ranges belong to names of observables; give the CV its own range")
    system.check_atoms(cv.atom_indices, place=f"engine: {cv.source}")
    check_same_system(cv, system)
    check_cv(system.spec.settings.sampling.engine, cv)
    return cv


def _foresee(system: MolecularSystem, cv: CV, out: Path) -> tuple[str, ...]:
    """What arithmetic warns of, of the CV; what is sure to fail, disk and memory too, is refused."""
    settings, d = system.spec.settings, cv.n_components
    warnings = foresee_sample(settings, n_components=d)
    open_ends = np.flatnonzero(~np.isfinite(cv.cv_range).all(axis=1))
    if len(open_ends):
        foresee_range(settings, f"CV {cv.source}: component {open_ends[0] + 1}")

    def samplings(tried: Settings) -> dict[str, int]:
        plan = given_plan(tried, d)
        return {ALONG: plan.frames_per_walker * plan.n_walkers}

    check_space(system, out, samplings, partial(foresee_sample, n_components=d))
    return warnings


def _sample(
    run: RunDirectory,
    recipe: EngineRecipe,
    cv: CV,
    plan: Plan,
    workers: Workers,
    progress: Progress,
) -> CV:
    """Run what is left of the dynamics; returns the CV with its range.

    Args:
        recipe: of the same dynamics without bias.
    """
    system = recipe.system
    settings, folder = system.spec.settings, run.iteration_dir(ALONG)
    states = prepare_walkers(run, STARTS, system, recipe.platform, progress, workers, cv)
    stored = read_arrays(run.iteration_dir(STARTS) / "starts.npz")
    hot, minimised = stored["hot_cv_positions"].astype(float), stored["minimised"]
    probe = np.concatenate([minimised[:, cv.atom_indices], probe_of(hot)])
    begun = np.stack([state.positions for state in states])
    # with starts.mode = "one" there is no hot run, and a minimum alone may be where a gradient vanishes
    check_behaviour(cv, np.concatenate([probe, begun[:, cv.atom_indices]]))
    inputs = {
        "cv": cv.fingerprint,
        "ns": settings.sampling.ns,
        "production.frozen_stages": settings.production.frozen_stages,
        "starts.npz": run.output_hash(STARTS, "starts", "starts.npz"),
    }
    if cv.map.in_python:  # one that has changed keeps its name
        inputs[f"values and gradients of {cv.source}"] = behaviour(cv, probe)
    cv = with_range(cv, hot, margin=settings.eabf.margin)
    if not run.is_done(
        ALONG,
        "sampling",
        inputs,
        derived=(sampling_stage.TOPOLOGY,),
        remake=lambda: sampling_stage.write_topology(folder, system),
    ):
        check_starts(cv, begun)
        run.begin(ALONG, "sampling", inputs)
        extended = extended_variable(cv, probe, system.masses[cv.atom_indices], settings)
        bias = BiasRecipe(engine=settings.sampling.engine, cv=cv, extended=extended, probe=probe)
        sampling_stage.sample_biased(
            Sampling(
                folder=folder,
                plan=plan,
                system=system,
                starts=minimised,
                progress=progress,
                workers=workers,
            ),
            replace(recipe, bias=bias),
            states,
            ceiling_kj_mol=settings.eabf.ceiling_kj_mol,
            projected=settings.eabf.projected,
        )
        run.mark_done(ALONG, "sampling", inputs, sampling_stage.BIASED_OUTPUTS)
    sampling_stage.remove_segments(folder)
    return cv


def _conclude(run: RunDirectory, cv: CV, system: MolecularSystem) -> Sampled:
    """Weigh the frames, and write the free energies and what they are worth, and the CV."""
    folder, settings = run.iteration_dir(ALONG), system.spec.settings
    samples, bias = Samples.load(folder / "samples.npz"), Bias.load(folder / "bias.npz")
    item = BiasedIteration(index=1, samples=samples, bias=bias, cv=cv)
    starts = KnownStarts.load(run, system, STARTS)
    weighed = weigh(run, ALONG, [item], starts, system)
    ns = samples.n_frames * settings.sampling.frame_ps / 1000.0
    cv_files = write_cv(cv, folder, system=system.spec.name, system_hash=system.spec.hash)
    result = Sampled(
        cv=str(cv.source),
        folder=str(folder),
        ns=ns,
        steps_per_s=Timing.load(folder).steps_per_s(ns, settings.dynamics.timestep_ps),
        n_frames=weighed.n_frames,
        n_effective=weighed.n_effective,
        delta_f_kj_mol=weighed.analysis.delta_f_kj_mol,
        delta_f_interval=weighed.analysis.delta_f_interval,
        passages=weighed.analysis.passages,
        problems=weighed.coverage.problems,
        cv_files=cv_files,
        cv_note="" if cv_files else NO_FILE.format(cv=cv.source),
    )
    write_json(folder / "sampled.json", result.as_dict())
    for problem in result.problems:
        logger.warning("%s: %s", ALONG, problem)
    if result.cv_note:
        logger.info("%s: %s", ALONG, result.cv_note)
    return result
