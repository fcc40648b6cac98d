"""Exact answers are exact: harmonic wells, whose free energies are known, and conserved mass."""

import numpy as np
import pytest
from scipy.special import erf

from aecv.ground.errors import GridError
from aecv.numerics.free_energy.quadrature import (
    Plane,
    boltzmann_plane,
    cell_centers,
    free_energy_of_mass,
    mass_along,
    mass_in_plane,
    region_free_energy,
    smeared_density,
)

KT, STIFF_X, STIFF_Y = 2.5, 40.0, 90.0
SPREAD = np.sqrt(KT / STIFF_X), np.sqrt(KT / STIFF_Y)


@pytest.fixture(scope="module")
def harmonic() -> Plane:
    x, y = cell_centers([[-2.0, 2.0], [-1.5, 1.5]], 700)
    return boltzmann_plane(0.5 * STIFF_X * x[:, None] ** 2 + 0.5 * STIFF_Y * y**2, x, y, kt=KT)


def gaussian_mass(edges: np.ndarray, spread: float) -> np.ndarray:
    return np.diff(0.5 * (1 + erf(edges / (spread * np.sqrt(2)))))


def function(plane: Plane, a: float, b: float) -> np.ndarray:
    return a * plane.x[:, None] + b * plane.y


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.0, 1.0), (0.6, 0.8), (-2.0, 0.1)])
def test_a_linear_function_of_a_harmonic_well_is_gaussian(harmonic: Plane, a: float, b: float) -> None:
    """Edges fall inside cells; (0.6, 0.8) makes whole rows of cells jump over an edge at once.

    Counting whole cells is off by 0.3 kJ/mol here; F is asked for to 0.004 kJ/mol up to 8 kT.
    """
    spread = np.hypot(a * SPREAD[0], b * SPREAD[1])
    edges = np.linspace(-4.013 * spread, 3.987 * spread, 61)
    exact = -KT * np.log(gaussian_mass(edges, spread))
    mass = mass_along(function(harmonic, a, b), harmonic, edges)
    difference = free_energy_of_mass(mass, np.diff(edges), kt=KT) - (exact - exact.min())
    assert np.abs(difference).max() < 0.004


def test_a_nonlinear_function_has_the_right_density(harmonic: Plane) -> None:
    """r^2 = (x/s_x)^2 + (y/s_y)^2 is exponential with mean 2."""
    squared = (harmonic.x[:, None] / SPREAD[0]) ** 2 + (harmonic.y / SPREAD[1]) ** 2
    edges = np.linspace(0.0, 16.0, 41)
    mass = mass_along(squared, harmonic, edges)
    np.testing.assert_allclose(mass, -np.diff(np.exp(-edges / 2)), rtol=3e-3)


def test_shared_cells_conserve_mass_where_counting_would_jump(harmonic: Plane) -> None:
    everything = np.array([-10.0, -0.3, 0.011, 0.012, 0.5, 10.0])  # one bin thinner than a cell
    for a, b in ((1.0, 0.0), (0.3, -0.7)):
        mass = mass_along(function(harmonic, a, b), harmonic, everything)
        assert abs(mass.sum() - 1.0) < 1e-12
        spread = np.hypot(a * SPREAD[0], b * SPREAD[1])
        np.testing.assert_allclose(mass, gaussian_mass(everything, spread), atol=2e-5)
    plane_mass = mass_in_plane(harmonic, everything, everything)
    assert abs(plane_mass.sum() - 1.0) < 1e-12
    np.testing.assert_allclose(
        plane_mass.sum(axis=1), mass_along(function(harmonic, 1, 0), harmonic, everything), atol=1e-12
    )


def test_a_constant_function_goes_into_one_bin(harmonic: Plane) -> None:
    values = np.full(harmonic.mass.shape, 0.4)
    np.testing.assert_allclose(mass_along(values, harmonic, [0.0, 0.3, 0.5]), [0.0, 1.0], atol=1e-12)


def test_free_energy_in_the_plane_is_the_potential(harmonic: Plane) -> None:
    edges = np.linspace(-0.4, 0.4, 42)
    centers = 0.5 * (edges[1:] + edges[:-1])
    free_energy = free_energy_of_mass(mass_in_plane(harmonic, edges, edges), 1.0, kt=KT)
    potential = 0.5 * STIFF_X * centers[:, None] ** 2 + 0.5 * STIFF_Y * centers**2
    # bins are averages: the tilt over a bin adds -(V' w)^2/(24 kT), V' up to 36 and w = 0.02, or 0.009 kJ/mol
    np.testing.assert_allclose(free_energy, potential, atol=0.015)


def test_region(harmonic: Plane) -> None:
    x = function(harmonic, 1, 0)
    assert region_free_energy(x, harmonic, 0.0, 5.0, kt=KT) == pytest.approx(0.0, abs=1e-9)
    p = 0.5 * (1 - erf(0.3 / (SPREAD[0] * np.sqrt(2))))
    assert region_free_energy(x, harmonic, 0.3, 5.0, kt=KT) == pytest.approx(
        -KT * np.log(p / (1 - p)), abs=1e-3
    )
    assert region_free_energy(x, harmonic, 7.0, 8.0, kt=KT) == np.inf


def test_smearing_adds_variances(harmonic: Plane) -> None:
    """A Gaussian of spread s smeared by sigma is one of spread (s^2 + sigma^2)^(1/2), in each dimension."""
    sigma = np.array([0.1, 0.2])
    edges = np.linspace(-2, 2, 201)
    fine = 0.5 * (edges[1:] + edges[:-1])
    mass = mass_in_plane(harmonic, edges, edges)
    points = np.linspace(-0.5, 0.5, 11)
    density = smeared_density(mass, [fine, fine], [points, points], sigma)
    spreads = np.hypot(SPREAD, sigma)
    parts = [np.exp(-0.5 * (points / s) ** 2) / (s * np.sqrt(2 * np.pi)) for s in spreads]
    np.testing.assert_allclose(density, np.multiply.outer(*parts), rtol=2e-3)


def test_mass_at_the_border_is_told(harmonic: Plane) -> None:
    assert harmonic.edge_share < 1e-12
    x, y = cell_centers([[0.0, 1.0], [0.0, 1.0]], 10)
    flat = boltzmann_plane(np.zeros((10, 10)), x, y, kt=KT)
    assert flat.edge_share == pytest.approx(0.36)


def test_bad_arrays_are_refused(harmonic: Plane) -> None:
    x, y = cell_centers([[0.0, 1.0], [0.0, 1.0]], 5)
    for wrong in (np.full((5, 5), np.nan), np.full((5, 5), np.inf), np.full((5, 5), -np.inf)):
        with pytest.raises(GridError, match="check the expression"):
            boltzmann_plane(wrong, x, y, kt=KT)
    with pytest.raises(GridError, match="one value per point"):
        boltzmann_plane(np.zeros((5, 4)), x, y, kt=KT)
    with pytest.raises(GridError, match="finite values of shape"):
        mass_along(np.zeros((5, 5)), harmonic, [0.0, 1.0])
    with pytest.raises(GridError, match="edges need to increase"):
        mass_along(harmonic.mass, harmonic, [1.0, 0.0])
    with pytest.raises(GridError, match="no bin holds mass"):
        free_energy_of_mass(np.zeros(4), 1.0, kt=KT)


def test_walls_are_infinite_potentials() -> None:
    x, y = cell_centers([[-1.0, 1.0], [0.0, 1.0]], 100)
    potential = np.where(x[:, None] > 0, 0.0, np.inf) + 0 * y
    plane = boltzmann_plane(potential, x, y, kt=KT)
    np.testing.assert_allclose(mass_along(function(plane, 1, 0), plane, [-1.0, 0.0, 0.5, 1.0]), [0, 0.5, 0.5])
