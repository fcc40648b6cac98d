"""The input and files that PLUMED gets for one segment.

    the CV's actions (xi_1, xi_2 ...)
    noise: READ           random numbers, one row per MD step
    eabf: DRR             spring, samples, bias and step of lambda, from a state file
    kick, BIASVALUE       the force of the thermostat on lambda
    EXTERNAL              the frozen bias on lambda, where there is one
    PRINT                 lambda at the frames

DRR has a thermostat of its own, but begins its random numbers with the same seed in every context: all
walkers and all segments would see one series. EXTTEMP=0 takes its noise away and leaves its friction, and
noise comes as a force R on lambda,

    v' = a v + (1 + a) dt/(2m) (F + R),   a = exp(-friction dt)
    R = (2/dt) sqrt(m kT (1-a)/(1+a)) eta

which gives the velocity the variance (1-a^2) kT/m per step that DRR's own noise has. The numbers eta are
those of the run's seed, so that a segment can be repeated.

Source: PLUMED's src/drr/DynamicReferenceRestraining.cpp (update), src/generic/Read.cpp, src/bias/External.cpp
and, for a grid without SPLINE, src/tools/Grid.cpp.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.kernels import encoder_kernels as kernels
from aecv.results.exports.plumed_bias import bounds
from aecv.results.exports.subject import listed, number, tau_ps
from aecv.results.formats.colvar import write_colvar
from aecv.sampling.dynamics.jobs import SegmentJob

NOISE, START, END, BIAS, COLVAR, LOG = (
    "noise.dat", "start.drrstate", "end.drrstate", "bias.grid", "colvar.dat", "plumed.log",
)  # fmt: skip
"""Files of a segment in its folder."""

REFINEMENT = {1: 2, 2: 4, 3: 2}
"""Cells of the frozen bias per bin and dimension; even, so that bin centres are edges of cells. In 1-D the
cells give the piecewise linear bias exactly; in 2-D and 3-D the force is that of a cell's middle."""


@dataclass(frozen=True, kw_only=True)
class SegmentInput:
    """What the text of a segment depends on.

    Attributes:
        cv_block: text of the actions that compute xi_1, xi_2 ...
        labels: of these actions.
        temperature_k: of the simulation.
        extended: grid, coupling and dynamics of lambda.
        folder: of the segment's files.
        last_step: number of the step after the last one, in which DRR writes its state.
        frame_steps: as in `SegmentJob`.
        frozen_path: grid of the frozen bias; None while it adapts.
    """

    cv_block: str
    labels: tuple[str, ...]
    temperature_k: float
    extended: ExtendedVariable
    folder: Path
    last_step: int
    frame_steps: int
    frozen_path: Path | None = None

    @property
    def text(self) -> str:
        """The whole input."""
        d = self.extended.grid.n_dims
        lam, noise = fictitious(self.labels), [f"noise.r{c + 1}" for c in range(d)]
        variables = ",".join([*(f"x{c}" for c in range(d)), *(f"r{c}" for c in range(d))])
        product = "+".join(f"x{c}*r{c}" for c in range(d))
        is_frozen = self.frozen_path is not None
        lines = [
            self.cv_block,
            f"noise: READ FILE={self.folder / NOISE} VALUES=noise.* IGNORE_TIME IGNORE_FORCES",
            self.drr(restart=True, flags=("NOBIAS",) if is_frozen else ()),
            f"kick: CUSTOM ARG={','.join([*lam, *noise])} VAR={variables} FUNC=-({product}) PERIODIC=NO",
            "thermostat: BIASVALUE ARG=kick",
        ]
        if is_frozen:
            lines.append(f"frozen: EXTERNAL ARG={','.join(lam)} FILE={self.frozen_path}")
        printed = ",".join([*lam, "noise.row"])
        lines.append(f"PRINT ARG={printed} STRIDE={self.frame_steps} FILE={self.folder / COLVAR} FMT=%.17g")
        return "\n".join([*lines, ""])

    def drr(self, *, restart: bool, flags: tuple[str, ...] = ()) -> str:
        """The line of DRR; EXTTEMP=0 takes its own noise away, see the module."""
        extended = self.extended
        grid, d = extended.grid, extended.grid.n_dims
        lower, upper = bounds(extended)
        keywords = {
            "ARG": ",".join(self.labels),
            "GRID_MIN": lower,
            "GRID_MAX": upper,
            "GRID_BIN": ",".join(map(str, grid.n_bins)),
            "KAPPA": listed(extended.kappa),
            "TAU": listed([tau_ps(extended)] * d),
            "FRICTION": listed([extended.friction_per_ps] * d),
            "EXTTEMP": ",".join(["0"] * d),
            "REFLECTINGWALL": ",".join("0" if periodic else "1" for periodic in grid.periodic),
            "FULLSAMPLES": number(extended.full_samples),
            "TEMP": number(self.temperature_k),
            # the state is written in the step that this divides, before the sample of that step
            "OUTPUTFREQ": str(self.last_step),
            "OUTPUTPREFIX": str(self.folder / END.removesuffix(".drrstate")),
        }
        if restart:
            keywords["DRR_RFILE"] = str(self.folder / START.removesuffix(".drrstate"))
        words = [f"{key}={value}" for key, value in keywords.items()]
        return " ".join(["eabf: DRR", *words, *flags])


def fictitious(labels: tuple[str, ...]) -> list[str]:
    """PLUMED's names of the components of lambda."""
    return [f"eabf.{label}_fict" for label in labels]


def write_noise(path: Path, job: SegmentJob, extended: ExtendedVariable) -> None:
    """The thermostat's forces on lambda [kJ/mol/CV], and the number of the row.

    One row per step and one for the look at the forces after the last one. READ reads ahead: a row more, and
    it complains on the user's terminal of a file closed too early.
    """
    damping = np.exp(-extended.friction_per_ps * extended.timestep_ps)
    scale = (2.0 / extended.timestep_ps) * np.sqrt(
        np.array(extended.mass) * extended.kt * (1.0 - damping) / (1.0 + damping)
    )
    d = extended.grid.n_dims
    noise = job.seed.lam_noise.standard_normal((job.n_steps + 1, d))
    rows = np.arange(len(noise))
    columns = {f"noise.r{c + 1}": scale[c] * noise[:, c] for c in range(d)}
    write_colvar(path, {"time": rows, **columns, "noise.row": rows})


def write_frozen_bias(
    path: Path, potential: FloatArray, extended: ExtendedVariable, labels: tuple[str, ...]
) -> None:
    """A grid of cells that EXTERNAL reads; without SPLINE it takes value and slope of the cell it is in.

    Args:
        potential: B at bin centres [kJ/mol], shape (grid.size,); the bias energy is -B.
        labels: of the actions whose lambda is biased.
    """
    grid = extended.grid
    names = fictitious(labels)
    refined = REFINEMENT[grid.n_dims]
    n_cells = refined * np.array(grid.n_bins)
    width = grid.widths / refined
    axes = [np.arange(n + (not periodic)) for n, periodic in zip(n_cells, grid.periodic, strict=True)]
    # the first dimension runs fastest
    cells = np.stack([axis.ravel(order="F") for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    middles = np.array(grid.lower) + width * (np.minimum(cells, n_cells - 1) + 0.5)
    slopes = _slopes(potential, middles, extended)
    # the dynamics do not see the energy, only its slopes: that of the bin is near enough
    values = potential[grid.index(middles)]
    lower, upper = (ends.split(",") for ends in bounds(extended))
    header = [f"#! FIELDS {' '.join(names)} frozen.bias {' '.join(f'der_{name}' for name in names)}"]
    for c, name in enumerate(names):
        header += [
            f"#! SET min_{name} {lower[c]}",
            f"#! SET max_{name} {upper[c]}",
            f"#! SET nbins_{name} {n_cells[c]}",
            f"#! SET periodic_{name} {'true' if grid.periodic[c] else 'false'}",
        ]
    table = np.column_stack([np.array(grid.lower) + width * cells, -values, -slopes])
    np.savetxt(path, table, fmt="%.17g", header="\n".join(header), comments="")


def _slopes(potential: FloatArray, points: FloatArray, extended: ExtendedVariable) -> FloatArray:
    """dB/dlam at points, shape (n, d), by the kernel of the native engine."""
    constants, bins = extended.constants, np.array(extended.grid.n_bins)
    rows = [
        [kernels.slope(potential, point, constants, bins, c) for c in range(len(bins))] for point in points
    ]
    return np.array(rows)
