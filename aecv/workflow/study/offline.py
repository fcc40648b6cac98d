"""CVs without dynamics: trained on frames that are there, and compared on them."""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.cores import usable_cores
from aecv.ground.errors import StoreError
from aecv.ground.files import check_new, new_folder, read_arrays, write_json
from aecv.ground.progress import Progress, silent, timed, told
from aecv.ground.seeds import seed_31bit
from aecv.ground.shown import Shown
from aecv.models.cvs.cv import CV
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.training.device import device_of
from aecv.molecules.spec import SystemSpec
from aecv.molecules.subject import Subject
from aecv.numerics.free_energy.weights import effective_sample_size
from aecv.numerics.statistics.regression_scores import nonlinear_r2, weighted_r2
from aecv.workflow.frames.frame_counts import count_frames
from aecv.workflow.frames.input_frames import Frames, InputFrames, check_frames, frame_files, read_frames
from aecv.workflow.given_cv.same_system import check_same_system
from aecv.workflow.learning.next_cv import Trained, train_cv
from aecv.workflow.planning.foresight import foresee_training
from aecv.workflow.run_folder.cv_of_run import as_cv, load_cv
from aecv.workflow.run_folder.reader import RunReader
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.stage_records import checked
from aecv.workflow.study.applied import Applied, Colours, applied_to, draw_applied, read_colours
from aecv.workflow.study.subjects import frames_subject, subject_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, repr=False)
class Score(Shown):
    """How far one CV is a function of another on some frames.

    Attributes:
        score: R^2 of the linear regression of the first CV on the second, worst component, with the frames'
            weights: 1 where every component is an affine function of the second CV.
        components: the same of every component.
        unweighted: the score without weights.
        nonlinear: out of sample by nearest neighbours, worst component: 1 where the first is any function of
            the second.
        reverse: score of the second regressed on the first.
        n_frames: frames with weight; n_effective: (sum w)^2 / sum w^2 of them.
    """

    score: float
    components: tuple[float, ...]
    unweighted: float
    nonlinear: float
    reverse: float
    n_frames: int
    n_effective: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainedCV(Trained):
    """A CV that was trained on frames, those frames in it, and the training.

    Attributes:
        cv: ready to be called, biased, scored or exported.
        frames: xi of every frame, with its time, observables and weight.
        folder: its files.
    """

    cv: CV
    frames: Applied
    folder: Path

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame with a row per frame; see `Applied`.

        Raises:
            MissingPackageError: without pandas.
        """
        return self.frames.to_dataframe()

    def plot(self) -> Any:
        """A matplotlib Figure: the frames in the CV; see `Applied`."""
        return self.frames.plot()

    def __repr__(self) -> str:
        explained = 1.0 - self.loss / self.autoencoder.variance
        return (
            f"TrainedCV in {str(self.folder)!r}: {self.cv.n_components} components, {self.cv.n_atoms} atoms, "
            f"loss {self.loss:.3g} nm^2 ({explained:.1%} of the variance explained), {self.n_frames} frames, "
            f"{self.n_effective:.0f} effective"
        )


def train(
    spec: SystemSpec | Subject | str | Path,
    frames: Frames,
    out: Path | str,
    *,
    power: float = 1.0,
    colours: Colours | None = None,
    progress: Progress = silent,
) -> TrainedCV:
    """A CV learned by an autoencoder on given frames and weights, without dynamics; it is written, too.

    Minimises sum_i w_i^p |y_i - dec(enc(y_i))|^2 / sum_i w_i^p over aligned coordinates y_i [nm] of the
    system's cv.atoms, as every iteration of the loop does.

    Args:
        spec: the system with all settings, or its name or folder; [cv], [autoencoder] and [training] count,
            and run.seed. Or a molecule without forces, of `read_subject`.
        frames: a trajectory's file, several in the order of time, an mdtraj.Trajectory, or `FrameFiles` with
            their topology, weights and stride.
        out: a new folder: cv.pt, cv.npz, cv.json, training.json, xi.dat (xi of every frame), pictures.
        power: p; 1 trains on the ensemble that the weights stand for, less looks closer at rare frames.
        colours: name -> file of a number per frame, or (file, column), to colour the frames by.
        progress: opens progress bars.

    Returns:
        the CV, xi of the frames, and the training with the losses of all restarts.

    Raises:
        SamplingError: for frames that cannot be read, are of other atoms, or are too few.
        TrainingError: when the training fails.
        StoreError: when `out` exists already or cannot be written.

    Example:
        >>> import aecv
        >>> spec = aecv.load_system("ala2", overrides={"training.max_epochs": 2, "training.restarts": 2})
        >>> trained = aecv.train(spec, "runs/ala2/iteration_00/frames.dcd", "cv")
        >>> trained.cv.n_components, trained.frames.xi.shape
        (2, (1000, 2))
        >>> trained.plot().savefig("cv.png")
    """
    files = frame_files(frames)
    check_new(Path(out))
    system, hashes = subject_of(spec), files.hashes()
    spec = system.spec
    device_of(spec.settings.training.device)
    check_frames(files, system)  # what is wrong with a file is told before how many frames it has
    if (n_frames := count_frames(files)) is not None:
        for warning in foresee_training(spec.settings, n_frames):
            logger.warning("%s", warning)
    with new_folder(Path(out)) as folder:
        names = [item.name if isinstance(item, Path) else "frames in memory" for item in files.sources]
        with timed(f"train: reading {', '.join(names)}"):
            found = read_frames(files, system)
        # what a training of minutes would end on is read before it
        numbers = read_colours(colours or {}, found, system)
        trained = train_cv(
            folder,
            FrameTable(
                found.positions,
                found.weights,
                series=found.series,
                time_ps=None
                if files.weights is not None
                else found.times_ps,  # a bias is no natural dynamics
                columns=found.observables | numbers,
            ),
            system,
            place="train",
            seed=seed_31bit(spec.settings.run.seed, "training", "given frames"),
            power=power,
            progress=told(progress),
            more_frames="bring more frames, or frames whose weights are more alike",
            n_threads=usable_cores(),
        )
        applied = replace(applied_to(load_cv(folder), found, system, colours=numbers), cv=str(out))
        applied.write(folder / "xi.dat")
        draw_applied(applied, folder)
        report = hashes | {"system": spec.name, "system_hash": spec.hash, "power": power}
        write_json(folder / "frames.json", report | _told_of(found))
    return TrainedCV(**vars(trained), cv=load_cv(out), frames=applied, folder=Path(out))


def _told_of(frames: InputFrames) -> dict[str, Any]:
    """What there is to say of frames, for JSON."""
    return {
        "n_frames": frames.n_frames,
        "n_inverted": frames.n_inverted,
        "n_turned": frames.n_turned,
        "notes": list(frames.notes),
    }


def score_in_run(
    new: CV | str | Path, old: CV | str | Path, run: Path | str, iteration: int | None = None
) -> Score:
    """Regression scores of one CV on another, on the frames and weights of an iteration of a run.

    Args:
        new, old: as `score`; of the atoms that the run's autoencoder sees.
        run: its folder.
        iteration: its number; None for the last finished one.

    Raises:
        StoreError: for a run or an iteration that is not there.
        CVError: for a CV of other atoms.

    Example:
        >>> import aecv
        >>> found = aecv.score_in_run("runs/ala2/iteration_02", "runs/ala2/iteration_01", "runs/ala2")
        >>> found.score <= 1
        True
    """
    new, old = as_cv(new), as_cv(old)
    found = RunReader(Path(run))
    numbers = found.iterations
    if not numbers or (iteration is not None and iteration not in numbers):
        raise StoreError(
            f"{run}: needs a finished iteration{'' if iteration is None else f' {iteration}'}, has "
            f"{', '.join(map(str, numbers)) or 'none'}"
        )
    for cv in (new, old):
        if cv.system_hash != found.manifest.system_hash:
            check_same_system(cv, found.system())
    folder = found.iteration_dir(numbers[-1] if iteration is None else iteration)
    atoms = load_cv(folder).atom_indices
    samples = Samples.load(folder / "samples.npz")
    weights = read_arrays(checked(folder / "weights.npz"), {"last_weights": "f n"})["last_weights"]
    return score_on(new, old, samples.cv_positions, atoms, weights)


def score(
    new: CV | str | Path,
    old: CV | str | Path,
    spec: SystemSpec | Subject | str | Path | None,
    frames: Frames,
) -> Score:
    """Regression scores of one CV on another, on given frames.

    Args:
        new: the CV that is explained, or its file or folder.
        old: the CV that explains; of the same system, its atoms may be others.
        spec: the system, or its name or folder, or a molecule without forces, of `read_subject`; None for the
            one that the CVs were learned on, or the atoms that the topology of the frames names.
        frames: the frames, as for `train`.

    Raises:
        CVError: when a CV is of other atoms.
        SamplingError: for frames that cannot be read, are of other atoms, or are too few.

    Example:
        >>> import aecv
        >>> new, old = "runs/ala2/iteration_02", "runs/ala2/iteration_01"
        >>> aecv.score(new, old, "ala2", "runs/ala2/iteration_00/frames.dcd").n_frames
        1000
    """
    new, old = as_cv(new), as_cv(old)
    system = frames_subject((new, old), frame_files(frames), spec)
    for cv in (new, old):
        system.check_atoms(cv.atom_indices, place=f"engine: {cv.source}")
        check_same_system(cv, system)
    atoms = np.union1d(new.atom_indices, old.atom_indices)
    found = read_frames(frames, system, atoms=atoms)
    return score_on(new, old, found.positions, atoms, found.weights)


def score_on(
    new: CV, old: CV, positions: NDArray[np.floating], atoms: IntArray, weights: FloatArray
) -> Score:
    """Compare two CVs on frames in memory.

    Args:
        positions: shape (n, len(atoms), 3) [nm].
        atoms: which atoms these are, shape (n_atoms,).
        weights: not negative, any normalisation, shape (n,).

    Raises:
        CVError: when a CV needs an atom that is not there.
        SamplingError: for fewer than 40 frames with weight.
    """
    kept = weights > 0
    share = weights[kept]
    a, b = (_features(cv, cv.of_some(positions[kept], atoms)) for cv in (new, old))
    components = weighted_r2(b, a, share)
    return Score(
        score=float(components.min()),
        components=tuple(components.tolist()),
        unweighted=float(weighted_r2(b, a, np.ones(len(share))).min()),
        nonlinear=float(nonlinear_r2(b, a, share, seed=0).min()),
        reverse=float(weighted_r2(a, b, share).min()),
        n_frames=len(share),
        n_effective=effective_sample_size(share),
    )


def _features(cv: CV, values: FloatArray) -> FloatArray:
    """Components of a CV with cosine and sine in place of angles, shape (n, d')."""
    columns: list[FloatArray] = []
    for component, period in zip(values.T, cv.periods, strict=True):
        angle = 2.0 * np.pi * component / period if period else None
        columns += [component] if angle is None else [np.cos(angle), np.sin(angle)]
    return np.stack(columns, axis=1)
