"""Pictures of a run: pure functions that take arrays and return a matplotlib Figure.

Nothing here touches pyplot or any other global state; `save` writes a figure to a file in one piece.
Quantities named phi, psi, omega, theta or chi1 .. chi4 are shown as Greek letters; names of
quantities that are no angles should carry their unit: "distance [nm]".
"""

from aecv.results.plots.along import free_energy_with_error
from aecv.results.plots.convergence import Estimate, convergence_in_time
from aecv.results.plots.coverage import passages
from aecv.results.plots.free_energy import frames_in_plane, free_energy_in_xi
from aecv.results.plots.history import coverage_history, delta_f_history, score_history, training_curves
from aecv.results.plots.latent import differ, latent_map
from aecv.results.plots.maps import cv_coloured_by_observables, observables_coloured_by_cv
from aecv.results.plots.planes import Plane, plane_with_error
from aecv.results.plots.profiles import Curve, Profile, profile_with_error, walker_profiles
from aecv.results.plots.style import save

__all__ = [
    "Curve",
    "Estimate",
    "Plane",
    "Profile",
    "convergence_in_time",
    "coverage_history",
    "cv_coloured_by_observables",
    "delta_f_history",
    "differ",
    "frames_in_plane",
    "free_energy_in_xi",
    "free_energy_with_error",
    "latent_map",
    "observables_coloured_by_cv",
    "passages",
    "plane_with_error",
    "profile_with_error",
    "save",
    "score_history",
    "training_curves",
    "walker_profiles",
]
