"""[dynamics]: integrator, thermostat and platform."""

from pydantic import Field

from aecv.ground.settings.section import Section


class DynamicsSettings(Section):
    """[dynamics]: LangevinMiddle at constant temperature."""

    temperature_k: float = Field(300.0, gt=0, le=1e5)
    friction_per_ps: float = Field(1.0, gt=0, le=1e5, description="of the LangevinMiddle thermostat")
    timestep_ps: float = Field(0.001, gt=0, le=0.01)
    platform: str = Field(
        "auto", description="OpenMM's; auto: Reference for tiny systems, else the fastest that works"
    )
