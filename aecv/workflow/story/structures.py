"""Basins of F along the CV, the path between the two deepest, and frames that stand for its points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.files import StoredArrays
from aecv.ground.grid import Grid
from aecv.ground.settings import Settings
from aecv.ground.units import thermal_energy
from aecv.numerics.free_energy.landscape import Basin, find_basins, lowest_path
from aecv.results.formats.fes import FesFile, read_fes
from aecv.results.formats.trajectory import pick_frames
from aecv.results.story.content import Quantity, Stop, Structures
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.stage_records import checked
from aecv.workflow.story.energies import Source, grid_of, quantity

MIN_DEPTH_KT = 2.0
"""Shallower minima of an estimate are noise more often than not."""
MOST_BASINS, MOST_STOPS, MOST_CANDIDATES = 6, 40, 40
MOST_ATOMS = 300
"""Heavy atoms that a page can turn smoothly; of larger molecules the CV's atoms alone are shown."""


@dataclass(frozen=True)
class _Frames:
    """Frames of a place, by the bin of the CV that they are in."""

    samples: Samples
    bins: IntArray
    order: IntArray
    starts: IntArray

    @classmethod
    def read(cls, folder: Path, grid: Grid) -> "_Frames":
        samples = Samples.stored(folder / "samples.npz")
        bins = grid.index(grid.wrap(samples.xi))
        weights = np.asarray(StoredArrays(checked(folder / "weights.npz"))["last_weights"])
        bins = np.where(weights > 0.0, bins, -1)
        order = np.argsort(bins, kind="stable")
        return cls(samples, bins, order, np.searchsorted(bins[order], np.arange(grid.size + 1)))

    def of_bin(self, bin_: int) -> IntArray:
        """Numbers of frames in a bin, at most MOST_CANDIDATES of them, evenly."""
        found = self.order[self.starts[bin_] : self.starts[bin_ + 1]]
        return found[:: max(1, -(-len(found) // MOST_CANDIDATES))]


def read_structures(source: Source, settings: Settings) -> Structures | None:
    """The basins and the path of a place; None where F along the CV is not known anywhere.

    Raises:
        StoreError: for a file that is missing or damaged.
    """
    found = read_fes(checked(source.folder / "fes_xi.dat"))
    kt = thermal_energy(settings.dynamics.temperature_k)
    if not np.isfinite(found.values).any():
        return None
    frames = _Frames.read(source.folder, grid_of(found))
    seen = np.diff(frames.starts) > 0
    # the frames that are pooled may know a bin that this place's own frames, which are shown, never saw
    values = np.where(seen.reshape(found.values.shape), found.values, np.nan)
    basins = find_basins(values, found.periodic, min_depth=MIN_DEPTH_KT * kt)[:MOST_BASINS]
    path = _path(found, basins, seen, kt)
    top, shown, left_out = _atoms_shown(source.folder, settings)
    chosen, positions = _choose(source.folder, path, basins, frames, shown)
    stops = tuple(
        replace(_stop(step, bin_, found, basins), observables=seen)
        for step, (bin_, _), seen in zip(
            _steps(path, basins), chosen, _observables(frames.samples, chosen, settings), strict=True
        )
    )
    number = {atom: k for k, atom in enumerate(shown)}
    atoms = [top.atom(k) for k in shown]
    bonds = [(a.index, b.index) for a, b in top.bonds if a.index in number and b.index in number]
    return Structures(
        place=source.name,
        stops=stops,
        elements=tuple(atom.element.symbol if atom.element else "?" for atom in atoms),
        atoms=tuple(str(atom) for atom in atoms),
        bonds=tuple((number[a], number[b]) for a, b in bonds),
        positions=10.0 * positions,
        left_out=left_out,
    )


def _path(found: FesFile, basins: Sequence[Basin], seen: NDArray[np.bool_], kt: float) -> list[int]:
    """Bins of the path between the two deepest basins that frames of the place lie in, thinned."""
    if not basins:
        return []
    if len(basins) == 1:
        return [basins[0].bin]
    path = lowest_path(found.values, found.periodic, basins[0].bin, basins[1].bin, kt=kt)
    path = path[seen[path]]
    if not len(path):  # islands: no way is known
        return [basins[0].bin]
    kept = sorted({round(k) for k in np.linspace(0, len(path) - 1, min(len(path), MOST_STOPS))})
    return [int(path[k]) for k in kept]


def _steps(path: Sequence[int], basins: Sequence[Basin]) -> list[tuple[int, int]]:
    """Per stop its number on the path from 1, 0 beside it, and how many there are on it."""
    beside = [basin.bin for basin in basins if basin.bin not in path]
    return [(k + 1, len(path)) for k in range(len(path))] + [(0, len(path))] * len(beside)


def _choose(
    folder: Path, path: Sequence[int], basins: Sequence[Basin], frames: _Frames, shown: Sequence[int]
) -> tuple[list[tuple[int, int]], FloatArray]:
    """Per stop its bin and the frame that stands for it, and the superposed positions [nm].

    The first frame is that of the bin's middle; every further one is, of its bin's, the one most like the
    frame before, so that a film of them does not jump.
    """
    bins = [*path, *(basin.bin for basin in basins if basin.bin not in path)]
    trajectory = checked(folder / "frames.dcd") if shown else folder
    chosen: list[tuple[int, int]] = []
    positions = np.empty((len(bins), len(shown), 3))
    for k, bin_ in enumerate(bins):
        candidates = frames.of_bin(bin_)
        if not shown:
            chosen.append((bin_, int(candidates[len(candidates) // 2])))
            continue
        xyz = pick_frames(trajectory, candidates.tolist(), shown).astype(float)
        if k == 0:
            best = len(candidates) // 2
            positions[0] = xyz[best] - xyz[best].mean(axis=0)
        else:
            best, positions[k] = _most_like(positions[k - 1], xyz)
        chosen.append((bin_, int(candidates[best])))
    return chosen, positions if shown else np.empty((len(bins), 0, 3))


def _most_like(before: FloatArray, candidates: FloatArray) -> tuple[int, FloatArray]:
    """The candidate nearest to a structure when superposed on it, and its positions then.

    By SciPy: the compiled superposition of the CV takes seconds to load, which a few frames are not worth.
    """
    centred = candidates - candidates.mean(axis=1, keepdims=True)
    fits = [Rotation.align_vectors(before, frame) for frame in centred]
    best = int(np.argmin([distance for _, distance in fits]))
    return best, fits[best][0].apply(centred[best])


def _stop(step: tuple[int, int], bin_: int, found: FesFile, basins: Sequence[Basin]) -> Stop:
    """A stop without its observables."""
    number = next((k + 1 for k, basin in enumerate(basins) if basin.bin == bin_), 0)
    number_on_path, n_steps = step
    where = np.unravel_index(bin_, found.values.shape)
    return Stop(
        label=f"basin {number}" if number else f"path {number_on_path} of {n_steps}",
        xi=np.array([axis[k] for axis, k in zip(found.axes, where, strict=True)]),
        free_energy=float(found.values[where]),
        error=float("nan") if found.error is None else float(found.error[where]),
        observables=(),
        basin=number,
        on_path=number_on_path > 0,
    )


def _observables(
    samples: Samples, chosen: Sequence[tuple[int, int]], settings: Settings
) -> list[tuple[tuple[Quantity, float], ...]]:
    """Per chosen frame its observables."""
    frames = [frame for _, frame in chosen]
    columns = [(quantity(name, settings), values[frames]) for name, values in samples.observables.items()]
    return [tuple((item, float(values[k])) for item, values in columns) for k in range(len(frames))]


def _atoms_shown(folder: Path, settings: Settings) -> tuple[mdtraj.Topology, list[int], str]:
    """The topology, the atoms that structures are drawn of (none for a particle), and what is left out."""
    path = folder / "topology.pdb"
    if settings.particle is not None:
        return mdtraj.Topology(), [], ""
    top = mdtraj.load_topology(str(checked(path)))
    heavy = [
        atom.index
        for atom in top.atoms
        if not atom.residue.is_water and atom.element is not None and atom.element.atomic_number > 1
    ]
    if len(heavy) <= MOST_ATOMS:
        left_out = (
            "hydrogens"
            if top.n_residues == sum(not r.is_water for r in top.residues)
            else "hydrogens and water"
        )
        return top, heavy, left_out if len(heavy) < top.n_atoms else ""
    atoms = sorted(int(k) for k in top.select(settings.cv.atoms))[:MOST_ATOMS]
    return top, atoms, "all but atoms of the CV"
