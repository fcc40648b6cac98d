"""A CV as PLUMED actions: which form PLUMED can compute here, and the files that the actions read."""

import math
from pathlib import Path

from aecv.ground.errors import CVError
from aecv.models.cvs.biasing import require_script
from aecv.models.cvs.cv import CV
from aecv.models.cvs.torchscript import write_flat_module
from aecv.molecules.bonds import Images
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.results.exports.plumed_cv import cv_blocks
from aecv.results.exports.reference_pdb import LARGEST_SERIAL, reference_pdb
from aecv.results.exports.subject import UNNAMED, ExportedCV, Form
from aecv.sampling.engines.plumed_kernel import Kernel

MODEL, REFERENCE = "cv.pt", "reference.pdb"
"""Files that the actions name."""


def choose_form(cv: CV, kernel: Kernel) -> Form:
    """The form of a CV that this PLUMED computes.

    An encoder goes in by its weights: ANN makes eight times as many steps of alanine dipeptide per second as
    PYTORCH_MODEL, COMBINE and CUSTOM four times, and both compute in double precision.

    Raises:
        CVError: when there is none.
    """
    require_script(cv, engine="plumed")
    if isinstance(cv.map.kernel, InternalCoordinates):
        _check_dihedrals(cv)
        return "plain"
    if any(cv.periodic):
        raise CVError(
            f"engine plumed: {cv.source} is periodic and no dihedral, PLUMED's PYTORCH_MODEL has no periodic "
            "components; use another engine (--engine native)"
        )
    fits_pdb = int(cv.atom_indices.max()) < LARGEST_SERIAL
    if cv.map.kernel is not None and (fits_pdb or cv.map.reference is None):
        return "ann" if "ANN" in kernel.actions else "plain"
    if "PYTORCH_MODEL" in kernel.actions:
        return "pytorch"
    raise CVError(
        f"engine plumed: {cv.source} needs PLUMED's action PYTORCH_MODEL ({kernel.why('PYTORCH_MODEL')}), "
        f"PLUMED {kernel.version} does not have it; {kernel.remedy}, or use another engine (--engine native)"
    )


def write_cv(
    cv: CV, form: Form, folder: Path, *, images: Images | None = None
) -> tuple[str, tuple[str, ...]]:
    """Write the files of a CV.

    Args:
        form: without effect on internal coordinates.
        folder: where to, without spaces.
        images: how the CV's atoms are made whole in a periodic box; None without one.

    Returns:
        the text of the actions, and their labels.
    """
    exported = ExportedCV(
        title=str(cv.source),
        kernel=cv.map.kernel,
        n_components=cv.n_components,
        atom_indices=cv.atom_indices,
        atom_names=(UNNAMED,) * cv.n_atoms,
        periodic=cv.periodic,
        in_box=images is not None,
        paths=() if images is None else tuple(map(tuple, images.cv_tree.paths)),
    )
    if form == "pytorch":
        write_flat_module(cv.map.to_script(), cv.n_atoms, folder / MODEL)
    elif cv.map.reference is not None:
        text = reference_pdb(cv.map.reference, exported.serials, exported.atom_names)
        (folder / REFERENCE).write_text(text, encoding="utf-8")
    block = cv_blocks(exported, form)
    for name in (MODEL, REFERENCE):
        block = block.replace(f"={name}", f"={folder / name}")
    return block, tuple(exported.labels)


def _check_dihedrals(cv: CV) -> None:
    """PLUMED's dihedrals go from -pi to pi, and so must lambda."""
    for c in range(cv.n_components):
        low, high = cv.cv_range[c]
        if cv.periodic[c] and not (math.isclose(low, -math.pi) and math.isclose(high, math.pi)):
            raise CVError(
                f"engine plumed: component {c} of {cv.source} goes round from {low:g} to {high:g}, PLUMED's "
                "dihedrals from -pi to pi; give it that range, or use another engine (--engine native)"
            )
