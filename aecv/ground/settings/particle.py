"""[particle]: a system that is one particle on a potential V(x, y)."""

from pydantic import Field, field_validator, model_validator

from aecv.ground.settings.section import Section


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
