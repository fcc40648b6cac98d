"""A whole PLUMED input: what it is, the CV, the bias."""

from aecv.ground.errors import CVError
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.results.exports.plumed_bias import bias_blocks
from aecv.results.exports.plumed_cv import cv_blocks
from aecv.results.exports.readme import plumed_readme
from aecv.results.exports.reference_pdb import reference_pdb
from aecv.results.exports.subject import (
    BIASES,
    FORMS,
    BiasKind,
    ExportedBias,
    ExportedCV,
    ExportOptions,
    Form,
    check_word,
)

NEEDS = {
    "pytorch": "PLUMED 2.9 or newer with the module pytorch (libtorch)",
    "ann": "PLUMED with the module annfunc",
    "plain": "any PLUMED from 2.5 on; no optional module",
    "drr": "module drr of 2.7 or newer, built with Boost's serialization",
    "opes": "module opes",
}
"""What a form or a bias asks of PLUMED."""


def check_offered(bias: BiasKind, options: ExportOptions) -> None:
    """See `targets.Exporter`."""
    if options.length != "nm":
        raise CVError(
            f"export: length '{options.length}' is for Colvars; leave --length out for plumed, whose input "
            "is in nm"
        )


def input_texts(cv: ExportedCV, bias: ExportedBias, options: ExportOptions) -> dict[str, str]:
    """See `targets.Exporter`."""
    texts = {"plumed.dat": plumed_input(cv, bias, options.form)}
    if len(cv.reference):
        texts["reference.pdb"] = reference_pdb(cv.reference, cv.serials, cv.atom_names)
    files = options.listed(cv, texts)
    return texts | {"README.md": plumed_readme(cv, bias, options, files, needs(cv, bias, options.form))}


def plumed_input(cv: ExportedCV, bias: ExportedBias, form: Form) -> str:
    """The text of plumed.dat.

    Raises:
        CVError: for an unknown form or bias, or a form that the CV cannot have.
        GridError: when the grid of the bias is not that of the CV.
    """
    check_word("form", form, FORMS)
    check_word("bias", bias.kind, BIASES)
    blocks, below = cv_blocks(cv, form), bias_blocks(cv, bias)
    head = [
        f"{cv.title}: {cv.size}. Written by aecv.",
        *(f"Needs {what}." for what in needs(cv, bias, form)),
        "Units: nm, ps, kJ/mol; the CV itself has none where it was learned. Leave UNITS as they are.",
        "Files are looked for in the folder where the simulation runs.",
    ]
    lines = [f"# {line}" for line in head]
    return "\n".join([*lines, "", "UNITS LENGTH=nm TIME=ps ENERGY=kj/mol", "", ""]) + blocks + "\n" + below


def needs(cv: ExportedCV, bias: ExportedBias, form: Form) -> list[str]:
    """What PLUMED has to have, in words."""
    words = [NEEDS["plain" if is_internal(cv) else form]]
    if bias.kind in NEEDS:
        words.append(NEEDS[bias.kind])
    return words


def is_internal(cv: ExportedCV) -> bool:
    """Whether no network is needed: internal coordinates."""
    return isinstance(cv.kernel, InternalCoordinates)
