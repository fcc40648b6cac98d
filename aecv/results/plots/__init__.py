"""Pictures of a run: pure functions that take values of a story, or arrays, and return a matplotlib Figure.

Nothing here touches pyplot or any other global state; `save` writes a figure to a file in one piece.
Quantities named phi, psi, omega, theta or chi1 .. chi4 are shown as Greek letters; names of
quantities that are no angles should carry their unit: "distance [nm]".
"""

from aecv.results.plots.coverage import passages
from aecv.results.plots.free_energy import frames_in_plane, free_energy_in_xi
from aecv.results.plots.history import coverage_history, delta_f_history, score_history, training_curves
from aecv.results.plots.in_time import delta_f_in_time
from aecv.results.plots.latent import differ, latent_map
from aecv.results.plots.maps import cv_coloured_by_observables, observables_coloured_by_cv
from aecv.results.plots.pictures import (
    Pictures,
    pictures_of_iteration,
    pictures_of_production,
    pictures_of_run,
)
from aecv.results.plots.planes import plane_with_error
from aecv.results.plots.profiles import profile_with_error
from aecv.results.plots.style import save

__all__ = [
    "Pictures",
    "coverage_history",
    "cv_coloured_by_observables",
    "delta_f_history",
    "delta_f_in_time",
    "differ",
    "frames_in_plane",
    "free_energy_in_xi",
    "latent_map",
    "observables_coloured_by_cv",
    "passages",
    "pictures_of_iteration",
    "pictures_of_production",
    "pictures_of_run",
    "plane_with_error",
    "profile_with_error",
    "save",
    "score_history",
    "training_curves",
]
