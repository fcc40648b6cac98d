"""Where an export finds its CV, its extended variable and its settings: in a run, an iteration, or a file."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mdtraj
import numpy as np

from aecv.ground.errors import AecvError, CVError, MolecularSystemError
from aecv.ground.layers import validate
from aecv.ground.settings import Settings
from aecv.models.cvs.archive import metadata_inside
from aecv.models.cvs.cv import CV
from aecv.molecules.spec import load_system, shipped_systems
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.geometry.spanning_tree import tree_of_some
from aecv.workflow.run_folder.cv_of_run import load_cv
from aecv.workflow.run_folder.manifest import read_manifest
from aecv.workflow.run_folder.sampled import cv_name
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.stage_records import checked
from aecv.workflow.run_folder.store import ALONG, name_of

if TYPE_CHECKING:
    from aecv.sampling.system.molecular_system import MolecularSystem


_INSTEAD = "export a learned CV, or observables of the system"
_FUNCTION = f"CV {{cv}}: is a Python function, which cannot be exported; {_INSTEAD}"
_FOREIGN = f"CV {{cv}}: is a model of another program, of which aecv writes no input; {_INSTEAD}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What an export starts from.

    Attributes:
        title: what it is called, without paths, so that the same export gives the same text.
        cv: the collective variable.
        settings: of the run, or of the system.
        topology: names of all atoms; None when unknown.
        extended: makes the extended variable when a bias needs it.
        paths: of a periodic system, how the CV's atoms are made whole, see `ExportedCV.paths`; else None.
    """

    title: str
    cv: CV
    settings: Settings
    topology: mdtraj.Topology | None
    extended: Callable[[], ExtendedVariable]
    paths: tuple[tuple[int, ...], ...] | None


def find_source(place: Path | str | CV, *, system: str | Path | None = None) -> Source:
    """The CV of a run, an iteration or a file.

    Args:
        place: a run's folder (its production's CV, or that of the last finished iteration), the folder of an
            iteration or a production, one of a run along a given CV, a cv.pt, cv.npz or cv.json, or a CV.
        system: name or folder of the system; needed where no run says it.

    Raises:
        CVError: when there is no CV, it is a function or a model of another program, or `system` is another
            one than its own.
    """
    if isinstance(place, CV):
        return _of_cv(place, None, system)
    path = Path(place)
    if not path.exists():
        raise CVError(f"{path}: needs a run, an iteration or a file of a CV to export, there is none")
    path = path.resolve()  # the folder's name tells what it holds, and "." has none
    if path.is_file():
        return _of_cv(_load(path), path.parent, system)
    if (path / "run.json").is_file():
        path = place_in_run(path)
    if path.name.startswith("production_"):
        return _of_cv(_load(path.parent / name_of(_number(path))), path, system)
    return _of_cv(_load(path), path, system)


def place_in_run(run: Path) -> Path:
    """The folder of a run whose CV is meant: the last one; of an iteration and its production the latter."""
    if (run / ALONG / "bias.npz").is_file():
        return run / ALONG
    done = [path.parent for path in run.glob("iteration_*/learning.done")]
    done += [path.parent for path in run.glob("production_*/bias.npz")]
    done = [folder for folder in done if folder.name.rpartition("_")[2].isdecimal()]
    if not done:
        raise CVError(f"{run}: needs a finished iteration to export its CV, there is none; run it first")
    return max(done, key=lambda folder: (_number(folder), folder.name))


def _load(path: Path) -> CV:
    """The CV of a file or folder, where it is one that can be exported."""
    if path.name == ALONG and not checked(path / "cv.pt").is_file():
        if not checked(path / "sampled.json").is_file():
            raise CVError(
                f"{path}: needs a finished run to export its CV; continue it with aecv sample --resume"
            )
        raise CVError(_FUNCTION.format(cv=cv_name(path)))
    file = path / "cv.pt" if path.is_dir() and not (path / "cv.json").is_file() else path
    if file.is_file() and file.suffix == ".pt" and metadata_inside(file) is None:
        raise CVError(_FOREIGN.format(cv=file))
    return load_cv(path)


def _of_cv(cv: CV, folder: Path | None, system: str | Path | None) -> Source:
    if cv.map.in_python:
        raise CVError((_FUNCTION if cv.map.path is None else _FOREIGN).format(cv=cv.source))
    settings = _settings(None if folder is None else folder.parent, system, cv.system)
    if system is not None:
        _check_named(system, cv, settings)
    structure = _structure(folder) if folder is not None else None
    if structure is None:
        built = _built(settings, system, cv)
        structure = mdtraj.Trajectory(built.positions[None], built.mdtraj_topology)
    return Source(
        title=_title(folder, settings),
        cv=cv,
        settings=settings,
        topology=structure.topology,
        extended=lambda: _extended(cv, folder, settings, system),
        paths=_paths(cv, structure) if settings.particle is None and settings.system.is_periodic else None,
    )


def _check_named(system: str | Path, cv: CV, settings: Settings) -> None:
    """Refuse a system that is named but is not that of the CV, or of the run where the CV does not say."""
    spec = load_system(system)
    if cv.system_hash == spec.hash:
        return
    own = cv.system or settings.system.name
    if own != spec.name:
        raise CVError(
            f"CV {cv.source}: belongs to '{own}', but --system names '{spec.name}'; leave --system out, or "
            f"name the folder of '{own}'"
        )
    if cv.system:
        from aecv.workflow.given_cv.same_system import check_same_system

        check_same_system(cv, _built(settings, system, cv))


def _title(folder: Path | None, settings: Settings) -> str:
    """By the iteration, or the names of the observables that it is made of."""
    title = f"CV of {settings.system.name}"
    if folder is None:
        return title
    if re.fullmatch(r"(iteration|production)_\d+", folder.name):
        return f"{title}, iteration {_number(folder)}"
    if folder.name == ALONG and checked(folder / "sampled.json").is_file():
        names = cv_name(folder).split(", ")
        if set(names) <= settings.observables.keys():
            return f"CV {' and '.join(names)} of {settings.system.name}"
    return title


def _extended(cv: CV, folder: Path | None, settings: Settings, system: str | Path | None) -> ExtendedVariable:
    """That of the iteration or production which was biased along the CV; else made as the loop makes it."""
    for path in _biased(folder):
        if path.is_file():
            return Bias.load(path).extended
    if not np.isfinite(cv.cv_range).all():
        raise CVError(
            f"CV {cv.source}: its range is not known, so there is no grid for a bias; export it without one "
            "(--bias none)"
        )
    from aecv.workflow.dynamics.coupling import extended_variable, probe_of

    built = _built(settings, system, cv)
    probe = built.positions[None, cv.atom_indices]
    if folder is not None and (folder / "samples.npz").is_file():
        probe = probe_of(Samples.load(folder / "samples.npz").cv_positions)
    return extended_variable(cv, probe, built.masses[cv.atom_indices], settings)


def _biased(folder: Path | None) -> list[Path]:
    """Where the bias along the CV of a folder would be."""
    if folder is None:
        return []
    if folder.name == ALONG or folder.name.startswith("production_"):
        return [folder / "bias.npz"]
    if not folder.name.startswith("iteration_"):
        return []
    index, run = _number(folder), folder.parent
    return [run / f"production_{index:02d}" / "bias.npz", run / name_of(index + 1) / "bias.npz"]


def _settings(run: Path | None, system: str | Path | None, name: str) -> Settings:
    """Those of the run, else those of the system."""
    if run is not None and (run / "run.json").is_file():
        return validate(read_manifest(run).settings, source=f"{run}/run.json")
    if system is None and name not in shipped_systems():
        raise MolecularSystemError(
            f"export: needs the system of the CV for its temperature, box and atom names; '{name}' is none "
            f"of the shipped ones ({', '.join(shipped_systems())}); name its folder with --system"
        )
    return load_system(name if system is None else system).settings


def _built(settings: Settings, system: str | Path | None, cv: CV) -> "MolecularSystem":
    """The system itself, which has to be the one that the CV was learned on."""
    # OpenMM takes seconds to load, and an export of an iteration needs none of it
    from aecv.sampling.system.molecular_system import build

    name = settings.system.name if system is None else system
    try:
        spec = load_system(name)
    except AecvError as error:
        raise MolecularSystemError(f"{error}; name the system's folder with --system") from error
    built = build(spec)
    if cv.atom_indices.max() >= built.n_atoms or (cv.system and cv.system != spec.name):
        raise CVError(
            f"CV {cv.source}: belongs to '{cv.system}' and its atom {cv.atom_indices.max() + 1}, the system "
            f"'{spec.name}' has {built.n_atoms} atoms; name the right one with --system"
        )
    return built


def _structure(folder: Path) -> mdtraj.Trajectory | None:
    path = checked(folder / "topology.pdb")
    return mdtraj.load(str(path)) if path.is_file() else None


def _paths(cv: CV, structure: mdtraj.Trajectory) -> tuple[tuple[int, ...], ...]:
    """How the CV's atoms are made whole, found in a structure with whole molecules."""
    bonds = np.array([(a.index, b.index) for a, b in structure.topology.bonds], dtype=np.int64).reshape(-1, 2)
    tree = tree_of_some(cv.atom_indices, bonds, structure.xyz[0].astype(float), np.zeros((3, 3)))
    return tuple(map(tuple, tree.among(cv.atom_indices).paths))


def _number(folder: Path) -> int:
    return int(folder.name.rpartition("_")[2])
