"""Which pictures a run has, by the names of their files: all that they show stands in the story."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from aecv.results.plots.coverage import passages
from aecv.results.plots.free_energy import frames_in_plane, free_energy_in_xi
from aecv.results.plots.history import coverage_history, delta_f_history, score_history, training_curves
from aecv.results.plots.in_time import delta_f_in_time
from aecv.results.plots.maps import cv_coloured_by_observables, observables_coloured_by_cv
from aecv.results.plots.planes import plane_with_error
from aecv.results.plots.profiles import profile_with_error
from aecv.results.story.content import Biased, Frames, Story, Training

Pictures = Iterator[tuple[str, Figure]]


def pictures_of_run(story: Story, biased: Sequence[Biased], *, kt: float) -> Pictures:
    """Of several iterations beside each other: scores, Delta F, F along the CV, visited bins.

    Args:
        story: of the run.
        biased: its biased iterations.
        kt: thermal energy [kJ/mol].
    """
    if story.history is not None:
        yield "scores.png", score_history(story.history)
        if story.region:
            yield "delta_f.png", delta_f_history(story.history, region=story.region)
    if biased:
        yield "free_energy_xi.png", free_energy_in_xi(biased, kt=kt)
        yield "coverage.png", coverage_history(biased)


def pictures_of_production(story: Story) -> Pictures:
    """Of the production, or of a run along a given CV: free energies, Delta F in time, and the walkers."""
    found = story.produced
    if found is None:
        return
    # of three components there are three planes, and they are the page's
    along_cv = found.along_cv if len(found.along_cv) == 1 else ()
    lines = [item for item in (*along_cv, *found.profiles) if len(item.axes) == 1]
    if lines:
        yield "production_profiles.png", profile_with_error(lines)
    for item in along_cv:
        if len(item.axes) == 2:
            yield "production_xi.png", plane_with_error(item)
    for item in found.planes:
        yield f"production_{item.key}.png", plane_with_error(item)
    if story.region and found.in_time is not None and found.in_time.with_interval is not None:
        yield "production_delta_f.png", delta_f_in_time(found.in_time, region=story.region)
    if story.walkers is not None:
        yield "production_walkers.png", passages(story.walkers)


def pictures_of_iteration(frames: Frames, training: Training) -> Pictures:
    """Of one iteration: its training, and its frames along its CV and along the first two observables."""
    yield "training.png", training_curves(training)
    if frames.observables:
        yield "cv_by_observables.png", cv_coloured_by_observables(frames)
    if len(frames.observables) < 2:
        return
    (first, x), (second, y), *_ = frames.observables
    yield f"frames_{first.name}_{second.name}.png", frames_in_plane(frames)
    names, periodic = (first.titled, second.titled), (first.periodic, second.periodic)
    figure = observables_coloured_by_cv(x, y, frames.xi, names=names, periodic=periodic)
    yield "observables_by_cv.png", figure
