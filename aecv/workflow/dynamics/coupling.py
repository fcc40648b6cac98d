"""Grid, coupling and mass of lambda for a CV, chosen from the data that trained it."""

import logging

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.grid import Grid
from aecv.ground.settings import Settings
from aecv.ground.units import thermal_energy
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.abf import ExtendedVariable, couple, fastest_frequency

logger = logging.getLogger(__name__)

SAFE_PHASE = 0.5
"""Largest omega dt of the spring: the frequency is then off by (omega dt)^2/24 = 1 %; at 2 it is unstable."""

_N_PROBE = 200
"""Frames on which kernels are compared with their modules and the spring's frequency is measured."""


def probe_of(positions: NDArray[np.floating]) -> FloatArray:
    """Some frames of many, evenly over them, shape (n, n_cv_atoms, 3) [nm]."""
    return positions[:: max(1, len(positions) // _N_PROBE)].astype(float)


def extended_variable(cv: CV, probe: FloatArray, masses: FloatArray, settings: Settings) -> ExtendedVariable:
    """The extended variable for a CV: its range in bins, sigma in bin widths, tau and friction as set.

    sigma is widened until the spring's fastest frequency on real frames leaves room for the time step.

    Args:
        cv: with the range that its training data gave it.
        probe: frames of the CV's atoms, shape (n, n_cv_atoms, 3) [nm].
        masses: of these atoms [Da], shape (n_cv_atoms,).
    """
    eabf, dynamics = settings.eabf, settings.dynamics
    grid = Grid(
        lower=tuple(cv.cv_range[:, 0].tolist()),
        upper=tuple(cv.cv_range[:, 1].tolist()),
        n_bins=(eabf.bins,) * cv.n_components,
        periodic=cv.periodic,
    )
    sigma = eabf.sigma_bins * grid.widths

    def with_sigma(width: FloatArray) -> ExtendedVariable:
        return couple(
            grid,
            kt=thermal_energy(dynamics.temperature_k),
            sigma=width,
            tau_ps=eabf.tau_ps,
            friction_per_ps=eabf.friction_per_ps,
            timestep_ps=dynamics.timestep_ps,
            full_samples=eabf.full_samples,
        )

    extended = with_sigma(sigma)
    gradient = cv.gradient(probe)
    phase = _phase(gradient, masses, extended)
    if phase > SAFE_PHASE:
        # omega^2 = kappa |grad xi|^2/m + (2 pi/tau)^2, and only the first term falls with sigma
        free = 2.0 * np.pi * dynamics.timestep_ps / eabf.tau_ps
        factor = np.sqrt((phase**2 - free**2) / (SAFE_PHASE**2 - free**2))
        logger.warning(
            "extended ABF: the CV is too steep for the time step; sigma widened %.2f times", factor
        )
        logger.debug("extended ABF: %.2f rad per step of the spring, allowed %.2f", phase, SAFE_PHASE)
        sigma = sigma * factor
        extended = with_sigma(sigma)
        phase = _phase(gradient, masses, extended)
    ranges = " x ".join(f"[{low:.2f}, {high:.2f}]" for low, high in cv.cv_range)
    logger.info(
        "extended ABF: grid %s in %s bins, sigma %s, ceiling %g kJ/mol",
        ranges,
        "x".join(map(str, grid.n_bins)),
        np.round(sigma, 3).tolist(),
        eabf.ceiling_kj_mol,
    )
    logger.debug(
        "extended ABF: kappa %s kJ/mol, tau %g ps, friction %g/ps, spring %.3f rad/step",
        np.round(extended.kappa, 1).tolist(),
        eabf.tau_ps,
        eabf.friction_per_ps,
        phase,
    )
    return extended


def _phase(gradient: FloatArray, masses: FloatArray, extended: ExtendedVariable) -> float:
    """omega dt of the spring that all but one frame in a thousand stay below."""
    return float(np.quantile(fastest_frequency(gradient, masses, extended), 0.999)) * extended.timestep_ps
