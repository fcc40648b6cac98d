"""[particle]: a system that is one particle on a potential V(x, y), and what else its settings need to be."""

from math import sqrt
from typing import TYPE_CHECKING

from pydantic import Field, field_validator, model_validator

from aecv.ground.molecule_settings import check_molecule
from aecv.ground.section import Section

if TYPE_CHECKING:
    from aecv.ground.settings import Settings

MOST_PHASE = 0.3
"""Largest omega dt of the spring along z: the frequency is then off by (omega dt)^2/24 = 0.4 %."""
_MOLECULAR = (
    "topology",
    "include",
    "parameters",
    "starts",
    "nonbonded",
    "cutoff_nm",
    "constraints",
    "hydrogen_mass_da",
    "implicit_solvent",
)


class ParticleSettings(Section):
    """[particle]: one particle on V(x, y) + k z^2/2, in place of a structure and a force field."""

    potential: str = Field(
        min_length=1,
        description="V(x, y) [kJ/mol], x and y in nm, in the language of OpenMM's custom forces; "
        "intermediate definitions follow after semicolons",
    )
    mass_da: float = Field(gt=0, le=1e9)
    starts_nm: tuple[tuple[float, float], ...] = Field(
        min_length=1, description="(x, y) where simulations start; starts.mode says how they are used"
    )
    domain_nm: tuple[tuple[float, float], tuple[float, float]] = Field(
        description="[x from, x to], [y from, y to] that hold all of the Boltzmann weight, for exact answers"
    )
    z_stiffness_kj_mol_nm2: float = Field(
        500.0, gt=0, le=1e9, description="k of the spring that keeps the particle near z = 0"
    )

    @field_validator("potential")
    @classmethod
    def _one_line(cls, text: str) -> str:
        return " ".join(text.split())

    @model_validator(mode="after")
    def _inside(self) -> "ParticleSettings":
        for axis, (lower, upper) in zip("xy", self.domain_nm, strict=True):
            if not lower < upper:
                raise ValueError(f"domain_nm needs from < to along {axis}, got {lower} and {upper}")
        for start in self.starts_nm:
            if not all(low < value < high for value, (low, high) in zip(start, self.domain_nm, strict=True)):
                raise ValueError(f"starts_nm {list(start)} needs to lie inside domain_nm")
        return self


def check_kind(settings: "Settings") -> None:
    """Either a molecule (structure, force field, aligned frames) or a particle (none of these).

    Raises:
        ValueError: when the settings are neither or both.
    """
    system, particle = settings.system, settings.particle
    if particle is None:
        check_molecule(settings)
        return
    if system.structure is not None or system.forcefield:
        raise ValueError(
            "a [particle] has no system.structure and no system.forcefield; take these or [particle] out"
        )
    unfit = [key for key in _MOLECULAR if getattr(system, key) != type(system).model_fields[key].default]
    if unfit:
        raise ValueError(f"system.{unfit[0]} is for molecules; take it out, [particle] says all there is")
    if settings.cv.align:
        raise ValueError("a [particle] needs cv.align = false: one point has no shape to superpose")
    if settings.autoencoder.latent > 2:
        raise ValueError(
            f"a [particle] moves in a plane: autoencoder.latent needs to be 1 or 2, "
            f"got {settings.autoencoder.latent}"
        )
    phase = sqrt(particle.z_stiffness_kj_mol_nm2 / particle.mass_da) * settings.dynamics.timestep_ps
    if phase > MOST_PHASE:
        raise ValueError(
            f"particle.z_stiffness_kj_mol_nm2 {particle.z_stiffness_kj_mol_nm2:g} with particle.mass_da "
            f"{particle.mass_da:g} turns {phase:.2f} rad per time step, at most {MOST_PHASE}; lower it or "
            "dynamics.timestep_ps"
        )
