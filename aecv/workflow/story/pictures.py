"""Pictures and report of a run, from one reading of it after every iteration."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aecv.ground.errors import StoreError
from aecv.ground.files import read_arrays
from aecv.ground.regions import ends_of_region
from aecv.ground.settings import Settings
from aecv.ground.units import thermal_energy
from aecv.numerics.free_energy.support import supported
from aecv.results import plots
from aecv.results.story.content import Biased, Frames, State, Story
from aecv.workflow.free_energies.exact import read_exact_profile
from aecv.workflow.run_folder.cv_of_run import load_cv
from aecv.workflow.run_folder.reader import RunReader
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.store import RunDirectory, name_of
from aecv.workflow.story.energies import quantity
from aecv.workflow.story.history import read_training
from aecv.workflow.story.reading import read_story
from aecv.workflow.story.report import write_page

logger = logging.getLogger(__name__)


def tell(run: RunDirectory, state: State) -> None:
    """Draw the pictures and write the report of a run that this process works on."""
    try:
        story = read_story(run.path, state)
    except Exception as error:  # what can be drawn again must not end hours of dynamics
        logger.warning("pictures and report: %s; what is there stays, `aecv report` writes anew", error)
        return
    draw(run, story, RunReader(run.path).settings)
    write_page(run.path, lambda: story)


def draw(run: RunDirectory, story: Story, settings: Settings) -> None:
    """Draw the pictures of the run (in pictures/), and of each iteration whose own are not there as drawn."""
    folder = run.path / "pictures"
    folder.mkdir(exist_ok=True)
    kt = thermal_energy(settings.dynamics.temperature_k)
    biased = [read_biased(run.path, index, settings) for index in story.iterations[1:]]
    _save(plots.pictures_of_run(story, biased, kt=kt), folder, story.system)
    if story.produced is not None:
        title = f"{story.system}, {story.produced.folder.replace('_', ' ')}"
        _save(plots.pictures_of_production(story), folder, title)
    for index in story.iterations:
        inputs = {"record.json": run.output_hash(index, "learning", "record.json")}
        if index == story.iterations[-1] or not _are_drawn(run, index, inputs):
            pictures = plots.pictures_of_iteration(
                read_frames(run.path, index, settings), read_training(run.path, index)
            )
            names = _save(pictures, run.iteration_dir(index), f"{story.system}, iteration {index}")
            run.mark_done(index, "pictures", inputs, names)


def remove_production_pictures(run: RunDirectory) -> None:
    """Take away pictures of a production that is not the one of the run's last CV."""
    for path in (run.path / "pictures").glob("production_*.png"):
        path.unlink()


def read_biased(run: Path, index: int, settings: Settings) -> Biased:
    """Free energy in xi and visited bins against time, of a biased iteration.

    Raises:
        StoreError: for a file that is missing or damaged.
    """
    folder = run / name_of(index)
    bias, least = Bias.load(folder / "bias.npz"), settings.free_energy.least_samples
    visited = (bias.history.samples[:, :, 0] - bias.prior.n_lam > 0.5).sum(axis=1)
    time_ns = IterationRecord.load(folder, any_format=True).ns * bias.history.shares
    return Biased(
        name=f"iteration {index}",
        grid=bias.grid,
        values=supported(bias.total.free_energy(), bias.total.n_lam, least),
        visited=bias.total.n_lam > 0,
        exact=read_exact_profile(folder),
        time_ns=np.append(0.0, time_ns),
        n_visited=np.append(0, visited),
    )


def read_frames(run: Path, index: int, settings: Settings) -> Frames:
    """Frames of an iteration along its CV and the observables; errors as `read_biased`."""
    folder = run / name_of(index)
    samples, region = Samples.load(folder / "samples.npz"), settings.delta_f
    observed = samples.observables
    is_first = region is not None and region.observable == next(iter(observed), None)
    return Frames(
        xi=load_cv(folder)(samples.cv_positions),
        observables=tuple((quantity(name, settings), values) for name, values in observed.items()),
        weights=read_arrays(folder / "weights.npz")["last_weights"],
        walker=samples.walker,
        region=ends_of_region(settings) if is_first else None,
        kt=thermal_energy(settings.dynamics.temperature_k),
        least_visits=settings.free_energy.least_visits,
    )


def _save(pictures: plots.Pictures, folder: Path, title: str) -> list[str]:
    """Write pictures one by one; returns their names."""
    names = []
    for name, figure in pictures:
        plots.save(figure, folder / name, name=title)
        names.append(name)
    return names


def _are_drawn(run: RunDirectory, iteration: int, inputs: Mapping[str, str]) -> bool:
    """Whether an iteration has its pictures as they were drawn."""
    try:
        return run.is_done(iteration, "pictures", inputs, derived=("*",))
    except StoreError:  # of another training, or what was written down of them is damaged
        return False
