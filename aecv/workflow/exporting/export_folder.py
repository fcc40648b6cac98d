"""Writing a CV and the bias along it as an input for PLUMED or Colvars: a folder that runs as it is."""

import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from aecv.ground.files import new_folder, write_text
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import write_cv
from aecv.results.exports.subject import (
    BIASES,
    UNNAMED,
    AtomName,
    BiasKind,
    ExportedBias,
    ExportedCV,
    ExportOptions,
    Form,
    LengthUnit,
    check_word,
)
from aecv.results.exports.targets import TARGETS, exporter
from aecv.workflow.exporting.export_source import Source, find_source

logger = logging.getLogger(__name__)


def export(
    run_or_cv: Path | str | CV,
    out: Path | str,
    *,
    target: str = "plumed",
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
    check_word("target", target, tuple(TARGETS))
    check_word("bias", bias, BIASES)
    writer, options = exporter(target), ExportOptions(form=form, length=length)
    writer.check_offered(bias, options)
    source = find_source(run_or_cv, system=system)
    options = replace(options, timestep_ps=source.settings.dynamics.timestep_ps)
    cv = _subject(source)
    texts = writer.input_texts(cv, _bias(source, bias), options)
    out = Path(out)
    with new_folder(out) as folder:
        if options.has_module(cv):
            _write_module(source.cv, folder / "cv.pt")
        for name, text in texts.items():
            write_text(folder / name, text)
    logger.info("%s for %s in %s: %s", cv.title, target, out, ", ".join(options.listed(cv, texts)))
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
