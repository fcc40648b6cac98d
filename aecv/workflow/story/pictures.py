"""Pictures of a run, drawn from its files after every iteration."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from aecv.ground.errors import StoreError
from aecv.ground.files import read_arrays
from aecv.ground.regions import ends_of_region
from aecv.ground.settings import ConvergenceSettings
from aecv.ground.units import thermal_energy
from aecv.numerics.free_energy.support import supported
from aecv.results import plots
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies.exact import read_exact_delta_f, read_exact_profile
from aecv.workflow.run_folder.cv_of_run import load_cv
from aecv.workflow.run_folder.records import IterationRecord, required_score
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.store import RunDirectory
from aecv.workflow.story.history import read_training


def scores(records: Sequence[IterationRecord], settings: ConvergenceSettings) -> Figure:
    """Scores of the iterations, and what they have to reach."""
    shown = {
        "weighted": [record.score for record in records],
        "unweighted": [record.score_unweighted for record in records],
        "nonlinear": [record.score_nonlinear for record in records],
    }
    needed = [required_score(record, settings) for record in records]
    return plots.score_history([record.index for record in records], shown, s_min=needed)


def draw_run(run: RunDirectory, records: Sequence[IterationRecord], system: MolecularSystem) -> None:
    """Draw the pictures of the run (in pictures/), and of each iteration whose own are not there as drawn."""
    folder = run.path / "pictures"
    folder.mkdir(exist_ok=True)
    iterations = [record.index for record in records]
    settings = system.spec.settings
    if len(records) > 1:
        plots.save(scores(records, settings.convergence), folder / "scores.png", name=system.spec.name)
        _draw_biases(run, records, system)
    if settings.delta_f is not None and len(records) > 1:
        region = settings.delta_f
        values = {
            "pool": [record.delta_f_kj_mol for record in records],
            "iteration alone": [record.delta_f_iteration_kj_mol for record in records],
        }
        bars = {
            "pool": [record.delta_f_interval for record in records],
            "iteration alone": [record.delta_f_iteration_interval for record in records],
        }
        label = f"{region.lower:g} < {region.observable} < {region.upper:g} against the rest"
        plots.save(
            plots.delta_f_history(
                iterations,
                values,
                label=label,
                error_bars=bars,
                reference=read_exact_delta_f(run.iteration_dir(iterations[-1])),
            ),
            folder / "delta_f.png",
            name=system.spec.name,
        )
    for iteration in iterations:
        inputs = {"record.json": run.output_hash(iteration, "learning", "record.json")}
        if iteration == iterations[-1] or not _are_drawn(run, iteration, inputs):
            names = draw_iteration(run, iteration, system)
            run.mark_done(iteration, "pictures", inputs, names)


def _are_drawn(run: RunDirectory, iteration: int, inputs: Mapping[str, str]) -> bool:
    """Whether an iteration has its pictures as they were drawn."""
    try:
        return run.is_done(iteration, "pictures", inputs, derived=("*",))
    except StoreError:  # of another training, or what was written down of them is damaged
        return False


def _draw_biases(run: RunDirectory, records: Sequence[IterationRecord], system: MolecularSystem) -> None:
    """Free energy in xi and visited bins against time, of every biased iteration."""
    panels, seen, curves, n_bins = [], [], [], 0
    least = system.spec.settings.free_energy.least_samples
    for record in records[1:]:
        bias = Bias.load(run.iteration_dir(record.index) / "bias.npz")
        panels.append(
            (
                f"iteration {record.index}",
                bias.grid,
                supported(bias.total.free_energy(), bias.total.n_lam, least),
            )
        )
        seen.append(bias.total.n_lam > 0)
        visited = (bias.history.samples[:, :, 0] - bias.prior.n_lam > 0.5).sum(axis=1)
        time_ns = record.ns * bias.history.shares
        curves.append((f"iteration {record.index}", np.append(0.0, time_ns), np.append(0, visited)))
        n_bins = bias.grid.size
    kt = thermal_energy(system.spec.settings.dynamics.temperature_k)
    folder = run.path / "pictures"
    exact = [read_exact_profile(run.iteration_dir(record.index)) for record in records[1:]]
    plots.save(
        plots.free_energy_in_xi(panels, kt=kt, exact=exact, visited=seen),
        folder / "free_energy_xi.png",
        name=system.spec.name,
    )
    plots.save(plots.coverage_history(curves, n_bins=n_bins), folder / "coverage.png", name=system.spec.name)


def draw_iteration(run: RunDirectory, iteration: int, system: MolecularSystem) -> list[str]:
    """Draw the pictures of an iteration into its folder; returns their names."""
    folder, name = run.iteration_dir(iteration), f"{system.spec.name}, iteration {iteration}"
    samples = Samples.load(folder / "samples.npz")
    training = read_training(run.path, iteration)
    figure = plots.training_curves(training.train, training.validation, best=training.chosen)
    plots.save(figure, folder / "training.png", name=name)
    names = ["training.png"]
    periodic_names = system.observables.periodic_names
    xi = load_cv(folder)(samples.cv_positions)
    label = system.observables.label
    if samples.observables:
        shown = {label(key): values for key, values in samples.observables.items()}
        plots.save(
            plots.cv_coloured_by_observables(
                xi, shown, periodic={label(key): True for key in periodic_names}
            ),
            folder / "cv_by_observables.png",
            name=name,
        )
        names.append("cv_by_observables.png")
    if len(samples.observables) < 2:
        return names
    first, second, *_ = samples.observables
    axes = (label(first), label(second))
    x, y = samples.observables[first], samples.observables[second]
    periodic = (first in periodic_names, second in periodic_names)
    settings = system.spec.settings
    region = settings.delta_f
    plots.save(
        plots.frames_in_plane(
            x,
            y,
            read_arrays(folder / "weights.npz")["last_weights"],
            names=axes,
            periodic=periodic,
            kt=thermal_energy(system.spec.settings.dynamics.temperature_k),
            region=ends_of_region(settings) if region and region.observable == first else None,
            walker=samples.walker,
            least_visits=system.spec.settings.free_energy.least_visits,
        ),
        folder / f"frames_{first}_{second}.png",
        name=name,
    )
    plots.save(
        plots.observables_coloured_by_cv(x, y, xi, names=axes, periodic=periodic),
        folder / "observables_by_cv.png",
        name=name,
    )
    return [*names, f"frames_{first}_{second}.png", "observables_by_cv.png"]
