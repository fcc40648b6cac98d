"""Molecule or particle: one of the two, and everything that belongs to it."""

import tomllib
from typing import Any

import pytest

from aecv.ground.errors import SettingsError
from aecv.ground.layers import merge, to_toml, validate

PARTICLE: dict[str, Any] = {
    "system": {"name": "toy"},
    "particle": {
        "potential": "x^2 +\n   y^2",
        "mass_da": 10.0,
        "starts_nm": [[0.0, 0.0]],
        "domain_nm": [[-1.0, 1.0], [-2.0, 2.0]],
    },
    "cv": {"atoms": "all", "align": False},
    "autoencoder": {"latent": 1},
}
MOLECULE: dict[str, Any] = {
    "system": {"name": "ala", "structure": "a.pdb", "forcefield": ["f.xml"]},
    "cv": {"atoms": "all"},
}


def test_a_particle_is_read_and_printed_so_that_it_reads_again() -> None:
    settings = validate(PARTICLE, source="test")
    assert settings.particle is not None
    assert settings.particle.potential == "x^2 + y^2"
    assert settings.particle.domain_nm == ((-1.0, 1.0), (-2.0, 2.0))
    assert validate(tomllib.loads(to_toml(settings)), source="printed") == settings


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (PARTICLE, {"system": {"structure": "a.pdb"}}, r"a \[particle\] has no system.structure"),
        (PARTICLE, {"system": {"forcefield": ["f.xml"]}}, r"a \[particle\] has no system.structure"),
        (PARTICLE, {"system": {"constraints": "HBonds"}}, "system.constraints is for molecules"),
        (PARTICLE, {"cv": {"align": True}}, "needs cv.align = false"),
        (PARTICLE, {"autoencoder": {"latent": 3}}, "latent needs to be 1 or 2, got 3"),
        (PARTICLE, {"particle": {"mass_da": 0.001}}, "turns 0.71 rad per time step, at most 0.3"),
        (PARTICLE, {"particle": {"mass_da": -1.0}}, r"particle\.mass_da.*greater than 0"),
        (PARTICLE, {"particle": {"starts_nm": []}}, r"particle\.starts_nm"),
        (PARTICLE, {"particle": {"starts_nm": [[5.0, 0.0]]}}, "needs to lie inside domain_nm"),
        (PARTICLE, {"particle": {"domain_nm": [[1.0, -1.0], [0.0, 1.0]]}}, "needs from < to along x"),
        (PARTICLE, {"particle": {"domain_nm": [[1.0, -1.0]]}}, r"particle\.domain_nm"),
        (PARTICLE, {"particle": {"mas_da": 1.0}}, r"unknown key 'particle\.mas_da'; did you mean 'mass_da'"),
        (PARTICLE, {"particle": {"potential": ""}}, r"particle\.potential"),
        (MOLECULE, {"cv": {"align": False}}, r"cv.align = false is for \[particle\] systems"),
        (MOLECULE, {"system": {"structure": None}}, r"a molecule needs system.structure and"),
        (MOLECULE, {"system": {"forcefield": []}}, r"a molecule needs system.structure and"),
        (
            MOLECULE,
            {"observables": {"x": {"kind": "coordinate", "atoms": ["all"]}}},
            "a coordinate needs axis",
        ),
        (
            MOLECULE,
            {"observables": {"d": {"kind": "distance", "atoms": ["a", "b"], "axis": "x"}}},
            "a coordinate needs axis",
        ),
        (
            MOLECULE,
            {"observables": {"x": {"kind": "coordinate", "atoms": ["a", "b"], "axis": "x"}}},
            "needs 1 atom selections, got 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused(base: dict[str, Any], change: dict[str, Any], message: str) -> None:
    validate(base, source="test")
    with pytest.raises(SettingsError, match=message):
        validate(merge(base, change), source="test")


def test_a_light_particle_is_sound_up_to_the_bound() -> None:
    """dt (k/m)^(1/2) = 0.001 (500/0.01)^(1/2) = 0.22 < 0.3."""
    settings = validate(merge(PARTICLE, {"particle": {"mass_da": 0.01}}), source="test")
    assert settings.particle is not None
    assert settings.particle.mass_da == 0.01
