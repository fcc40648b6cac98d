"""Diverse starting structures: a short hot run, minimised, checked and thinned to distinct conformers."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import ExplosionError, MolecularSystemError
from aecv.ground.progress import Progress, silent
from aecv.ground.settings import StartSettings
from aecv.numerics.geometry.lattice import reduced
from aecv.sampling.processes.workers import ThisProcess, Workers
from aecv.sampling.starting.conformers import Chosen, choose_starts
from aecv.sampling.starting.hot_run import HotRun
from aecv.sampling.starting.minimising import MinimiserRecipe
from aecv.sampling.starting.pieces import MINIMUM, NotKept, Pieces, piece
from aecv.sampling.system.images import system_box
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.sampling.system.platforms import PlatformChoice
from aecv.sampling.system.structure import Coordinates, read_coordinates

logger = logging.getLogger(__name__)

_SAME_BOX_NM = 2e-3
"""What box vectors of two files may differ by: a PDB file keeps 0.0001 nm and 0.01 degrees."""


@dataclass(frozen=True, kw_only=True)
class StartReport:
    """What came of looking for starts; plain numbers for logs and JSON.

    Attributes:
        mode: "auto", "one" or "given".
        n_candidates: structures that were minimised.
        n_inverted: of these, dropped for another chirality than the input structure.
        n_cis_trans: of these, dropped for a peptide bond that turned over.
        n_conformers: distinct minima that were left.
        energies: potential energies of the starts [kJ/mol], in their order.
        observables: the system's observables at every start.
    """

    mode: str
    n_candidates: int
    n_inverted: int
    n_cis_trans: int
    n_conformers: int
    energies: tuple[float, ...]
    observables: dict[str, tuple[float, ...]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.__dict__, "energies": list(self.energies), "n_starts": len(self.energies)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Starts:
    """What simulations begin with.

    Attributes:
        positions: minimised structures, the one of lowest energy first, shape (n_starts, N, 3) [nm].
        hot_frames: frames of the hot run with the structure's stereochemistry, every sampling.frame_ps, shape
            (n, n_frame_atoms, 3) [nm], float32; n = 0 without a hot run.
        report: what came of looking for starts.
    """

    positions: FloatArray
    hot_frames: NDArray[np.float32]
    report: StartReport


@dataclass(frozen=True, kw_only=True, eq=False)
class Means:
    """What a search works with; nothing of it changes what is found.

    Attributes:
        platform: as in `make_context`.
        pieces: keeps what is done, so that a search that was stopped goes on.
        workers: where structures are minimised, side by side.
        progress: opens bars: ps of the hot run, structures.
    """

    platform: PlatformChoice | str | None = None
    pieces: Pieces = field(default_factory=NotKept)
    workers: Workers = field(default_factory=ThisProcess)
    progress: Progress = silent


def find_starts(
    molecular_system: MolecularSystem,
    settings: StartSettings,
    seed: int,
    means: Means = Means(),
) -> Starts:
    """Minimised structures to start simulations from, the one of lowest energy first.

    Mode "auto": snapshots of a hot run from the minimised structure are minimised; those with another
    chirality or cis-trans state are dropped; the others are clustered, lowest energy first, by the RMSD of
    the heavy atoms; of the clusters the lowest and then always the one farthest from those taken are kept.
    Mode "one": the minimised structure alone. Mode "given": the files of system.starts, minimised.
    A particle has its starts_nm in place of structure and files; the hot run's time is shared among them.

    Args:
        molecular_system: what is simulated.
        settings: the [starts] section.
        seed: root seed >= 0; the same seed gives the same arrays on the Reference platform, also where the
            search was stopped and went on.
        means: platform, workers, and where pieces are kept.

    Raises:
        ExplosionError: when the hot run explodes, with half the time step too. SimulationError: when a
            minimisation does, or no minimum keeps its stereochemistry.
        MolecularSystemError: when a given start does not fit the structure.
    """
    recipe = MinimiserRecipe(system=molecular_system, platform=means.platform)
    candidates = molecular_system.start_positions
    if settings.mode == "given" and molecular_system.spec.settings.particle is None:
        candidates = given_starts(molecular_system)
    elif settings.mode != "given":
        firsts = candidates if settings.mode == "auto" else candidates[:1]
        candidates = _minimised(recipe, firsts, "first", means)[0]
    hot_frames = np.empty((0, molecular_system.n_frame_atoms, 3), dtype=np.float32)
    if settings.mode == "auto":
        snapshots, hot_frames = _hot_run(molecular_system, settings, seed, candidates, means)
        candidates = np.concatenate([candidates, snapshots])
    positions, energies = _minimised(recipe, candidates, MINIMUM, means)
    if settings.mode == "auto":
        chosen = choose_starts(molecular_system, positions, energies, settings)
    else:
        n = len(positions)
        chosen = Chosen(indices=np.arange(n), n_inverted=0, n_cis_trans=0, n_conformers=n)
    starts, found = positions[chosen.indices], energies[chosen.indices]
    observables = molecular_system.observables.compute(starts)
    report = StartReport(
        mode=settings.mode,
        n_candidates=len(positions),
        n_inverted=chosen.n_inverted,
        n_cis_trans=chosen.n_cis_trans,
        n_conformers=chosen.n_conformers,
        energies=tuple(float(energy) for energy in found),
        observables={name: tuple(float(v) for v in values) for name, values in observables.items()},
    )
    return Starts(positions=starts, hot_frames=hot_frames, report=report)


def _hot_run(
    molecular_system: MolecularSystem, settings: StartSettings, seed: int, firsts: FloatArray, means: Means
) -> tuple[FloatArray, NDArray[np.float32]]:
    """As `HotRun.run`; with half the time step where it explodes at first."""
    try:
        run = HotRun(molecular_system, settings, seed, firsts, platform=means.platform, half=False)
        return run.run(means.pieces, means.progress)
    except ExplosionError as error:
        logger.warning("starts: %s; repeated with half the time step", error)
    run = HotRun(molecular_system, settings, seed, firsts, platform=means.platform, half=True)
    return run.run(means.pieces, means.progress)


def _minimised(
    recipe: MinimiserRecipe, structures: Sequence[FloatArray] | FloatArray, kind: str, means: Means
) -> tuple[FloatArray, FloatArray]:
    """Minima next to some structures [nm], shape (n, N, 3), and their energies [kJ/mol], shape (n,); each is
    kept as it is found."""
    fields = ("positions", "energy")
    kept = [means.pieces.load(piece(kind, index), fields) for index in range(len(structures))]
    missing = [index for index, item in enumerate(kept) if item is None]
    if missing:
        with means.progress("starts: minimising", len(structures), "structures") as advance:
            advance(len(structures) - len(missing))
            found = means.workers.spread(recipe, [structures[index] for index in missing])
            for index, (positions, energy) in zip(missing, found, strict=True):
                kept[index] = minimum = {"positions": positions, "energy": np.array(energy)}
                means.pieces.save(piece(kind, index), minimum)
                advance(1)
    whole = [item for item in kept if item is not None]
    return np.array([item["positions"] for item in whole]), np.array([item["energy"] for item in whole])


def given_starts(molecular_system: MolecularSystem) -> FloatArray:
    """Positions [nm], shape (n, N, 3), of the files in system.starts, with atoms as in the structure."""
    atoms = [(a.residue.name, a.name) for a in molecular_system.topology.atoms()]
    frames = []
    for path in molecular_system.spec.start_paths:
        coordinates = read_coordinates(path)
        # formats without names of atoms can only be counted
        came = [("", "")] * len(coordinates.positions) if coordinates.names is None else coordinates.names
        pairs = list(zip(atoms, came, strict=False))
        compared = coordinates.names is not None
        row = next((k for k, (need, has) in enumerate(pairs) if compared and need != has), len(pairs))
        if row < len(atoms) or len(came) != len(atoms):
            raise MolecularSystemError(
                f"{path}: needs the {len(atoms)} atoms of {molecular_system.spec.structure_path.name} in the "
                f"same order, got {len(came)} atoms and the first difference at atom {row + 1}"
            )
        frames.append(_whole(path, molecular_system, coordinates))
    return np.array(frames)


def _whole(path: Path, molecular_system: MolecularSystem, coordinates: Coordinates) -> FloatArray:
    """Positions whose molecules the box does not cut; the structure's where the file has none."""
    images = molecular_system.box_images
    if images is None:
        return coordinates.positions
    box = system_box(molecular_system.system)
    if coordinates.box is not None and not np.allclose(
        reduced(coordinates.box), reduced(box), atol=_SAME_BOX_NM
    ):
        need, came = (np.round(vectors, 3).tolist() for vectors in (reduced(box), reduced(coordinates.box)))
        raise MolecularSystemError(
            f"{path}: needs the box of {molecular_system.spec.structure_path.name}, {need} nm, got {came} "
            "nm; all walkers sample one ensemble: put the starts into the same box with as many waters"
        )
    return np.asarray(images.whole(coordinates.positions, box), dtype=float)
