"""Writing a CV and the bias along it as an input for PLUMED or Colvars: a folder that runs as it is."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

from aecv.ground.errors import CVError
from aecv.ground.files import new_folder, write_text
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import write_cv
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.results.exports.colvars_input import LengthUnit, check_offered, colvars_input, weight_files
from aecv.results.exports.plumed_input import plumed_input
from aecv.results.exports.readme import colvars_readme, plumed_readme
from aecv.results.exports.reference_pdb import reference_pdb
from aecv.results.exports.subject import (
    BIASES,
    UNNAMED,
    AtomName,
    BiasKind,
    ExportedBias,
    ExportedCV,
    Form,
    check_word,
)
from aecv.workflow.exporting.export_source import Source, find_source

logger = logging.getLogger(__name__)

Target = Literal["plumed", "colvars"]
TARGETS: tuple[Target, ...] = get_args(Target)


def export(
    run_or_cv: Path | str | CV,
    out: Path | str,
    *,
    target: Target = "plumed",
    form: Form = "pytorch",
    bias: BiasKind = "drr",
    system: str | Path | None = None,
    length: LengthUnit = "nm",
) -> Path:
    """A folder with an input for PLUMED or Colvars, the files that it reads, and a README; it is written.

    The grid, kappa, tau and friction of extended ABF are those of the run along this CV, if there is one in
    the run; else they are made from the CV's range as the loop makes them.

    Args:
        run_or_cv: a run's folder (its production's CV, or that of the last finished iteration), the folder of
            an iteration, a production or a run along a given CV, a cv.pt, cv.npz or cv.json, or a CV.
        out: the folder, which must not exist or be empty.
        target: plumed (plumed.dat) or colvars (colvars.in).
        form: of a learned CV. For PLUMED: pytorch, ann or plain; for Colvars: pytorch (torchANN) or ann
            (neuralNetwork). Observables of the system are the program's own actions in every form.
        bias: drr (extended ABF), metad (well tempered), opes, or none; for Colvars: drr or none.
        system: name or folder of the system; needed where no run says it and it is not a shipped one.
        length: unit of length of the engine, for Colvars alone: nm (GROMACS) or angstrom (NAMD, LAMMPS).

    Returns:
        the folder.

    Raises:
        CVError: when there is no CV, it is a function or a model of another program, or it has not what the
            form needs.
        GridError: when the grid of the bias is not that of the CV.
        StoreError: when the folder is in use or cannot be written.
        MolecularSystemError: when the system is not known.

    Example:
        >>> import aecv
        >>> folder = aecv.export("runs/ala2", "plumed_files", form="plain")
        >>> (folder / "plumed.dat").is_file()
        True
    """
    check_word("target", target, TARGETS)
    check_word("bias", bias, BIASES)
    if target == "colvars":
        check_offered(form, bias)
    if target != "colvars" and length != "nm":
        raise CVError(
            f"export: length '{length}' is for Colvars; leave --length out for {target}, whose input is in nm"
        )
    source = find_source(run_or_cv, system=system)
    cv, plan = _subject(source), _bias(source, bias)
    texts: dict[str, str] = {}
    if target == "plumed":
        texts["plumed.dat"] = plumed_input(cv, plan, form)
        if len(cv.reference):
            texts["reference.pdb"] = reference_pdb(cv.reference, cv.serials, cv.atom_names)
    else:
        texts["colvars.in"] = colvars_input(cv, plan, form, length=length)
        if form == "ann":
            texts |= weight_files(cv.network(form))
    has_module = form == "pytorch" and not isinstance(cv.kernel, InternalCoordinates)
    files = [*texts, *(["cv.pt"] if has_module else [])]
    if target == "plumed":
        timestep = source.settings.dynamics.timestep_ps
        texts["README.md"] = plumed_readme(cv, plan, form, files, timestep)
    else:
        texts["README.md"] = colvars_readme(cv, plan, form, files)
    out = Path(out)
    with new_folder(out) as folder:
        if has_module:
            _write_module(source.cv, folder / "cv.pt")
        for name, text in texts.items():
            write_text(folder / name, text)
    logger.info("%s for %s in %s: %s", cv.title, target, out, ", ".join([*files, "README.md"]))
    return out


def _subject(source: Source) -> ExportedCV:
    """The CV as the writers of texts take it."""
    cv = source.cv
    names = [UNNAMED] * cv.n_atoms
    if source.topology is not None:
        atoms = [source.topology.atom(int(index)) for index in cv.atom_indices]
        names = [AtomName(atom.name, atom.residue.name, atom.residue.resSeq, _symbol(atom)) for atom in atoms]
    return ExportedCV(
        title=source.title,
        kernel=cv.map.kernel,
        n_components=cv.n_components,
        atom_indices=cv.atom_indices,
        atom_names=tuple(names),
        periodic=cv.periodic,
        in_box=source.paths is not None,
        paths=source.paths or (),
    )


def _symbol(atom: object) -> str:
    """Element of an atom; none for the sites that stand for a particle."""
    element = getattr(atom, "element", None)
    symbol = "" if element is None else str(element.symbol)
    return "" if symbol == "VS" else symbol


def _bias(source: Source, kind: BiasKind) -> ExportedBias:
    settings = source.settings
    timestep = settings.dynamics.timestep_ps
    return ExportedBias(
        kind=kind,
        extended=None if kind == "none" else source.extended(),
        temperature_k=settings.dynamics.temperature_k,
        barrier_kj_mol=settings.eabf.ceiling_kj_mol,
        print_steps=max(1, round(settings.sampling.frame_ps / timestep)),
        output_steps=max(1, round(settings.sampling.segment_ps / timestep)),
    )


def _write_module(cv: CV, path: Path) -> None:
    """cv.pt: the file itself, or the network as one where only its plain files are there."""
    if cv.map.path is not None:
        path.write_bytes(cv.map.path.read_bytes())
        return
    with TemporaryDirectory() as folder:
        write_cv(cv, Path(folder), system=cv.system, system_hash=cv.system_hash)
        path.write_bytes((Path(folder) / path.name).read_bytes())
