"""What an engine checks before it runs: the CV fits the system and its grid, and its gradient is its own."""

import logging

import numpy as np
import openmm

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError, SimulationError
from aecv.models.cvs.cv import CV, compare_with_torchscript, shortest
from aecv.models.cvs.verification import compare_with_differences, difference_tolerance
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.sampling.system.images import system_box
from aecv.sampling.system.molecular_system import MolecularSystem

logger = logging.getLogger(__name__)

_FEW_FRAMES = 20
_IMAGE_TOLERANCE = 1e-3
"""Relative change of a CV of one molecule's images; single precision has 1e-6 to 1e-5."""
_CV_TOLERANCE = 1e-8
"""Relative difference of kernel and TorchScript, in value and gradient, from which a run refuses to start."""


def check_fit(system: MolecularSystem, cv: CV, extended: ExtendedVariable) -> None:
    """Refuse a CV whose atoms, dimension or periods do not fit the system and the grid.

    Raises:
        CVError: with both sides of what does not fit.
    """
    if extended.grid.n_dims != cv.n_components:
        raise CVError(
            f"engine: the CV has {cv.n_components} components, its grid {extended.grid.n_dims} dimensions"
        )
    if cv.periodic != extended.grid.periodic or not _same_periods(cv, extended):
        raise CVError(
            f"engine: {cv.source} has periods {cv.periods.tolist()} (0: none), its grid "
            f"{extended.grid.periods.tolist()}; make the grid from the CV's range"
        )
    system.check_atoms(cv.atom_indices, place=f"engine: {cv.source}")


def check_images(system: MolecularSystem, cv: CV, probe: FloatArray) -> None:
    """Refuse a CV that tells a molecule from its image in a periodic box.

    Args:
        probe: positions of the CV's atoms, shape (n, n_cv_atoms, 3) [nm].

    Raises:
        CVError: then, with how much it changes.
    """
    if not system.is_periodic:
        return
    frames = np.asarray(probe, dtype=float)[:_FEW_FRAMES]
    values = cv(frames)
    moved = [cv(frames + vector) - values for vector in system_box(system.system)]
    change = np.abs(shortest(moved, cv.periods)).max()
    if not change < _IMAGE_TOLERANCE * (1.0 + np.abs(values).max()):
        raise CVError(
            f"engine: {cv.source} changes by {change:.3g} when its atoms move by a box vector; in a periodic "
            "box a CV must not depend on where the molecule is: take distances, angles or aligned positions"
        )


def verify_cv(cv: CV, probe: FloatArray) -> None:
    """Refuse a CV whose kernel and torch module, or gradient and values, differ on real frames.

    Args:
        probe: positions of the CV's atoms, shape (n, n_cv_atoms, 3) [nm].

    Raises:
        CVError: with the difference and what is allowed.
    """
    if not cv.is_compiled:
        difference, allowed = compare_with_differences(cv, probe), difference_tolerance(cv)
        if not difference < allowed:
            raise CVError(
                f"engine: the gradient of {cv.source} differs from finite differences of its values by "
                f"{difference:.1e} (relative, allowed {allowed:.0e}); every step from positions to the CV "
                "needs to be differentiable in torch, without detach() or numpy"
            )
        logger.debug("CV verified: its gradient agrees with finite differences to %.1e", difference)
        return
    difference = compare_with_torchscript(cv, probe)
    if not difference < _CV_TOLERANCE:
        raise CVError(
            f"engine: kernel and TorchScript of {cv.source} differ by {difference:.1e} (relative, values and "
            f"gradients on {len(probe)} frames; allowed {_CV_TOLERANCE:.0e}); export the CV again"
        )
    logger.debug("CV verified: kernel and torch module agree to %.1e on %d frames", difference, len(probe))


def not_finite(positions: FloatArray) -> str:
    """What to say of positions of the CV's atoms, shape (n_cv_atoms, 3); empty where all are finite."""
    finite = np.isfinite(positions).all(axis=1)
    if finite.all():
        return ""
    return f"positions of the CV's atoms are not finite (first: CV atom {int(np.flatnonzero(~finite)[0])})"


def free_force_group(system: openmm.System) -> int:
    """Highest force group that no force of the system uses.

    Raises:
        SimulationError: when all 32 are taken.
    """
    used = {force.getForceGroup() for force in system.getForces()}
    free = [group for group in range(32) if group not in used]
    if not free:
        raise SimulationError("engine: the system's forces use all 32 force groups; free one for the bias")
    return free[-1]


def _same_periods(cv: CV, extended: ExtendedVariable) -> bool:
    return bool(np.allclose(cv.periods, extended.grid.periods, rtol=1e-12))
