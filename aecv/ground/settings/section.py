"""What all sections of the settings share: frozen, no unknown keys, finite numbers."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every section of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
