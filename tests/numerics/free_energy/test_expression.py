"""Expressions mean on arrays what they mean to OpenMM, and nothing else gets through."""

import numpy as np
import openmm
import pytest
from openmm import unit

from aecv.ground.errors import SettingsError
from aecv.molecules.spec import load_system
from aecv.numerics.free_energy.expression import parse_expression

# every operator and function, precedences where languages differ, definitions in OpenMM's order
EXPRESSIONS = [
    "-x^2 + 2^3^0.5 - x^-2/y/2 - 2*-y^2 + 1e-3*x + .5*y + 2.",
    "sqrt(abs(x)) + exp(-y) + log(1 + x^2) + sin(x)*cos(y) + tan(0.3*x) + sec(x) + csc(2 + 0.3*y)",
    "cot(y + 9) + asin(x/9) + acos(y/9) + atan(x) + atan2(x, y) + sinh(x) + cosh(y) + tanh(x)",
    "erf(x) + erfc(y)",
    "step(x) + square(y) + cube(x) + recip(3 + y) + min(x, y) + max(x, y) + floor(x) + ceil(y)",
    "select(step(x), y, -x)",
    "a*b; a = b*2 +\n  y; b = x - 1;",
]


def by_openmm(text: str, points: np.ndarray) -> np.ndarray:
    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce(text)
    force.addParticle(0, [])
    system.addForce(force)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    energies = []
    for x, y in points:
        context.setPositions([[x, y, 0.0]])
        energy = context.getState(getEnergy=True).getPotentialEnergy()
        energies.append(energy.value_in_unit(unit.kilojoule_per_mole))
    return np.array(energies)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_values_are_those_of_openmm(text: str) -> None:
    points = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    ours = parse_expression(text)(x=points[:, 0], y=points[:, 1])
    np.testing.assert_allclose(ours, by_openmm(text, points), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["mueller_brown", "double_well_circle", "z_potential"])
def test_shipped_potentials_are_those_of_openmm(name: str) -> None:
    spec = load_system(name)
    assert spec.settings.particle is not None
    assert spec.potential is not None
    lower, upper = np.array(spec.settings.particle.domain_nm).T
    points = np.random.default_rng(1).uniform(lower, upper, size=(50, 2))
    ours = spec.potential(x=points[:, 0], y=points[:, 1])
    theirs = by_openmm(spec.settings.particle.potential, points)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_shapes_are_broadcast_and_constants_fill_them() -> None:
    x, y = np.arange(3.0)[:, None], np.arange(4.0)
    np.testing.assert_array_equal(parse_expression("x + 10*y")(x=x, y=y), x + 10 * y)
    np.testing.assert_array_equal(parse_expression("7")(x=x, y=y), np.full((3, 4), 7.0))
    assert np.isnan(parse_expression("log(-1 - x)")(x=x, y=y)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('true')", "numbers, names, functions"),
        ("x.__class__", "not allowed"),
        ("().__class__", "not allowed"),
        ("open(x)", "unknown function 'open'"),
        ("eval(x)", "unknown function 'eval'"),
        ("(lambda x)(y)", "no expression"),
        ("x if y else x", "not allowed"),
        ("x or y", "not allowed"),
        ("x, y", "not allowed"),
        ("exp(*x)", "not allowed"),
        ("(x)(y)", "unknown function 'x'"),
        ("exp(exp)(x)", "not allowed"),
        ("[x for x in y]", "numbers, names, functions"),
        ("x == y", "numbers, names, functions"),
        ("x; a := 3", "needs 'name = expression'"),
        ("x**2", r"a power is x\^2"),
        ("x//2", "numbers, names, functions"),
        ("+x", "not allowed"),
        ("not x", "not allowed"),
        ("1_000", "not allowed"),
        ("0x10*x", "not allowed"),
        ("1j*x", "not allowed"),
        ("True", "not allowed"),
        ("2x", "no expression"),
        ("x y", "no expression"),
        ("exp(x", "no expression"),
        ("", "no expression"),
        ("exp(x, y)", "exp needs 1 arguments, got 2"),
        ("sqr(x)", "did you mean 'sqrt'"),
        ("x + z", "unknown name 'z'"),
        ("x + pi", "unknown name 'pi'"),
        ("a*b; b = 1; a = b", "unknown name 'b'"),  # a definition sees those after it only, as in OpenMM
        ("a; a = 1; a = 2", "defined twice"),
        ("x; x = 2", "none of x, y, z"),
        ("x; exp = 2", "no function"),
        ("a; a", "needs 'name = expression'"),
        ("(" * 3000 + "x" + ")" * 3000, "no expression"),
        ("-" * 5000 + "x", "nested|no expression"),
        ("x" + "+x" * 400, "nested more than"),
        ("x" * 20_000, "at most 10000 characters"),
    ],
)
def test_everything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        parse_expression(text, place="particle.potential")
    assert str(caught.value).startswith("particle.potential: ")


def test_towers_of_powers_end_at_infinity() -> None:
    """Whole numbers would grow without end."""
    assert parse_expression("9^9^9^9")(x=0.0, y=0.0) == np.inf
