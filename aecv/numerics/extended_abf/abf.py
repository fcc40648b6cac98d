"""Extended-system adaptive biasing force: the samples, the coupling, and the force they give.

    V_ext(q, lam) = V(q) + sum_c kappa_c/2 (xi_c(q) - lam_c)^2,   kappa_c = kT / sigma_c^2,
    m_c = kappa_c (tau / 2 pi)^2

Source: Lelievre, Rousset, Stoltz, Free Energy Computations (2010), ch. 5; Fu, Shao, Chipot, Cai,
J. Chem. Theory Comput. 12, 3506 (2016), doi:10.1021/acs.jctc.6b00447.
"""

from dataclasses import dataclass

import numpy as np

from aecv.ground.arrays import BoolArray, FloatArray
from aecv.ground.errors import GridError, SamplingError
from aecv.ground.grid import Grid
from aecv.ground.shown import Shown
from aecv.numerics.free_energy.integration import FreeEnergy, integrate_gradient
from aecv.numerics.kernels import encoder_kernels as kernels


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Accumulators(Shown):
    """Sums over MD steps, per bin of a grid.

    Increments of walkers are added to a total that is recomputed from them; a total is never added to
    itself.

    Attributes:
        grid: the bins, for lambda as well as for xi.
        samples: columns n_lam, sum_lam (d), n_xi, sum_xi (d), shape (grid.size, 2 + 2 d). The sums are of
            kappa (lam - xi) [kJ/mol/CV] over the steps with lambda (xi) in the bin.
    """

    grid: Grid
    samples: FloatArray

    def __post_init__(self) -> None:
        expected = (self.grid.size, 2 + 2 * self.grid.n_dims)
        if self.samples.shape != expected:
            raise GridError(f"accumulators: samples need shape {expected}, got {self.samples.shape}")

    @classmethod
    def zeros(cls, grid: Grid) -> "Accumulators":
        return cls(grid=grid, samples=np.zeros((grid.size, 2 + 2 * grid.n_dims)))

    def __add__(self, other: "Accumulators") -> "Accumulators":
        if self.grid != other.grid:
            raise GridError("accumulators: only sums over the same grid can be added")
        return Accumulators(grid=self.grid, samples=self.samples + other.samples)

    def __sub__(self, other: "Accumulators") -> "Accumulators":
        if self.grid != other.grid:
            raise GridError("accumulators: only sums over the same grid can be subtracted")
        return Accumulators(grid=self.grid, samples=self.samples - other.samples)

    @property
    def n_lam(self) -> FloatArray:
        """Steps with lambda in each bin, shape (size,)."""
        return self.samples[:, 0]

    @property
    def sum_lam(self) -> FloatArray:
        """Sum of kappa (lam - xi) over those steps [kJ/mol/CV], shape (size, d)."""
        return self.samples[:, 1 : 1 + self.grid.n_dims]

    @property
    def n_xi(self) -> FloatArray:
        """Steps with xi in each bin, shape (size,)."""
        return self.samples[:, 1 + self.grid.n_dims]

    @property
    def sum_xi(self) -> FloatArray:
        """Sum of kappa (lam - xi) over those steps [kJ/mol/CV], shape (size, d)."""
        return self.samples[:, 2 + self.grid.n_dims :]

    @property
    def mean_force(self) -> FloatArray:
        """G_b = sum_lam / n_lam = dF_kappa/dlam [kJ/mol/CV], shape (size, d); NaN in unvisited bins."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.n_lam[:, None] > 0, self.sum_lam / self.n_lam[:, None], np.nan)

    def free_energy(self) -> FreeEnergy:
        """F_kappa integrated from the mean force over the visited bins."""
        return integrate_gradient(np.nan_to_num(self.mean_force), self.n_lam, self.grid)

    def over_ceiling(self, ceiling_kj_mol: float) -> BoolArray:
        """Visited bins where F_kappa exceeds a ceiling, shape (size,).

        Where lambda is not pushed in them its bias potential is min(F_kappa, ceiling): regions of
        unphysical free energy are reached by thermal motion only.
        """
        values = self.free_energy().values
        return np.asarray(np.nan_to_num(values, nan=-np.inf) > ceiling_kj_mol)

    def applied_force(self, *, full_samples: int, unbiased: BoolArray | None = None) -> FloatArray:
        """Force on lambda that these samples give: ramp(n_b) G_b, zero in unvisited or `unbiased` bins.

        ramp = clamp(2 n / full_samples - 1, 0, 1).

        Returns:
            shape (size, d) [kJ/mol/CV].
        """
        ramp = np.clip(2.0 * self.n_lam / full_samples - 1.0, 0.0, 1.0)
        if unbiased is not None:
            ramp = np.where(unbiased, 0.0, ramp)
        return ramp[:, None] * np.nan_to_num(self.mean_force)


@dataclass(frozen=True, kw_only=True)
class ExtendedVariable:
    """Coupling and dynamics of lambda.

    Attributes:
        grid: walls (reflecting, but for periodic components) and bins of lambda.
        kappa: coupling per component [kJ/mol/CV^2].
        mass: per component [kJ/mol ps^2/CV^2].
        friction_per_ps: of its Langevin dynamics.
        kt: thermal energy [kJ/mol].
        timestep_ps: that of the atoms.
        full_samples: samples in a bin from which its bias is applied in full.
    """

    grid: Grid
    kappa: tuple[float, ...]
    mass: tuple[float, ...]
    friction_per_ps: float
    kt: float
    timestep_ps: float
    full_samples: int

    @property
    def constants(self) -> FloatArray:
        """Rows LOWER .. PERIOD of `kernels`, shape (N_CONSTANTS, d)."""
        table = np.empty((kernels.N_CONSTANTS, self.grid.n_dims))
        damping = np.exp(-self.friction_per_ps * self.timestep_ps)
        table[kernels.LOWER] = self.grid.lower
        table[kernels.UPPER] = self.grid.upper
        table[kernels.INVERSE_WIDTH] = 1.0 / self.grid.widths
        table[kernels.KAPPA] = self.kappa
        table[kernels.KICK] = self.timestep_ps / np.array(self.mass)
        table[kernels.HALF_DRIFT] = 0.5 * self.timestep_ps
        table[kernels.DAMPING] = damping
        table[kernels.NOISE] = np.sqrt((1.0 - damping**2) * self.kt / np.array(self.mass))
        table[kernels.FULL_SAMPLES] = self.full_samples
        table[kernels.PERIOD] = self.grid.periods
        return table


def couple(
    grid: Grid,
    *,
    kt: float,
    sigma: FloatArray,
    tau_ps: float,
    friction_per_ps: float,
    timestep_ps: float,
    full_samples: int,
) -> ExtendedVariable:
    """Coupling kappa = kT/sigma^2 and mass = kappa (tau/2 pi)^2 of an extended variable.

    Args:
        sigma: width of xi around lambda per component [CV], shape (d,).
        tau_ps: period of a free lambda on its spring; at least 20 time steps.

    Raises:
        SamplingError: when tau is under 20 time steps.
    """
    if tau_ps < 20 * timestep_ps:
        raise SamplingError(
            f"extended variable: eabf.tau_ps needs at least 20 time steps ({20 * timestep_ps:g} ps), "
            f"got {tau_ps:g}; raise it or lower dynamics.timestep_ps"
        )
    kappa = kt / np.asarray(sigma, dtype=float) ** 2
    return ExtendedVariable(
        grid=grid,
        kappa=tuple(kappa.tolist()),
        mass=tuple((kappa * (tau_ps / (2 * np.pi)) ** 2).tolist()),
        friction_per_ps=friction_per_ps,
        kt=kt,
        timestep_ps=timestep_ps,
        full_samples=full_samples,
    )


def data_range(xi: FloatArray, *, margin: float, tail: float = 5e-4) -> FloatArray:
    """Range of data: from the `tail` to the 1 - `tail` quantile, and a margin on each side.

    Args:
        xi: shape (n, d) [CV].
        margin: share of the range added on each side.

    Returns:
        lower and upper end of each component [CV], shape (d, 2).

    Raises:
        SamplingError: when a component does not vary or is not finite.
    """
    low, high = np.quantile(xi, [tail, 1.0 - tail], axis=0)
    span = high - low
    if not np.all(np.isfinite(span)) or np.any(span <= 0):
        raise SamplingError(f"grid: the CV needs to vary in the data, got ranges {span.tolist()}")
    return np.array([low - margin * span, high + margin * span]).T


def fastest_frequency(gradient: FloatArray, masses: FloatArray, extended: ExtendedVariable) -> FloatArray:
    """Angular frequency of the stiffest motion of the spring, per frame [1/ps].

        omega^2: largest eigenvalue of K^(1/2) (sum_i d xi/d q_i (d xi/d q_i)^T / m_i + diag(1/m_c)) K^(1/2)

    A time step is safe while omega dt is well below 2 (the limit of leapfrog).

    Args:
        gradient: d xi_c / d q_i [1/nm], shape (n_frames, d, n_atoms, 3).
        masses: of the CV's atoms [Da], shape (n_atoms,).
    """
    inverse_mass = np.einsum("fcia,fdia,i->fcd", gradient, gradient, 1.0 / masses)
    inverse_mass += np.diag(1.0 / np.array(extended.mass))
    root = np.sqrt(extended.kappa)
    return np.asarray(np.sqrt(np.linalg.eigvalsh(root[:, None] * inverse_mass * root).max(axis=1)))
