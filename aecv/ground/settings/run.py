"""[run]: what belongs to one invocation."""

from pydantic import Field

from aecv.ground.settings.section import Section


class RunSettings(Section):
    """[run]: what belongs to one invocation rather than to the system."""

    iterations: int = Field(10, ge=1, le=10_000, description="the unbiased one included")
    seed: int = Field(1, ge=0, lt=2**63, description="root of all random numbers")
    trial: bool = Field(
        False, description="set by --quick: lengths too short for conclusions, and the report says so"
    )
