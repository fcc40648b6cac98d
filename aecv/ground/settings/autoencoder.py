"""[autoencoder]: the network, and which of its components are biased."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from aecv.ground.errors import suggestion
from aecv.ground.settings.limits import MOST_BIASED
from aecv.ground.settings.section import Section


class AutoencoderSettings(Section):
    """[autoencoder]: encoder n_inputs - hidden - latent; the decoder mirrors it. tanh, linear bottleneck."""

    model: str = Field("ae", description="kind of model, by its name")
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (40,),
        min_length=1,
        max_length=16,
        description="sizes of the hidden layers of the encoder; the decoder mirrors them",
    )
    latent: int = Field(
        2, ge=1, le=8, description="components of the bottleneck; of more than three some are biased"
    )
    bias_components: tuple[int, ...] | Literal["auto"] | None = Field(
        None,
        description='those that are biased, up to three, 0 the most important; "auto": the best two; '
        "left out: all of up to three, else auto",
    )

    @field_validator("model")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in cls.models():
            raise ValueError(f"needs one of {', '.join(cls.models())}{suggestion(value, cls.models())}")
        return value

    @classmethod
    def models(cls) -> tuple[str, ...]:
        """Names of the family: "ae", and of those that have a section here."""
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        own = [name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)]
        return ("ae", *own)

    @field_validator("bias_components", mode="before")
    @classmethod
    def _indices_or_word(cls, value: Any) -> Any:
        # the command line has 0,3, or 0 alone
        if value is None or value == "auto":
            return value
        given = value.split(",") if isinstance(value, str) else value
        items = list(given) if isinstance(given, list | tuple) else [given]
        if not all(re.fullmatch(r" *\d{1,9} *", str(item)) for item in items):
            raise ValueError('needs "auto" or indices from 0, such as 0,3')
        found = sorted(int(item) for item in items)
        if len(set(found)) < len(found):
            raise ValueError("needs indices that differ")
        if not 1 <= len(found) <= MOST_BIASED:
            raise ValueError(f"needs 1 to {MOST_BIASED} indices: a grid of more has too many bins to fill")
        return tuple(found)

    @property
    def n_biased(self) -> int:
        """Components of the CV, which is what is biased."""
        if isinstance(self.bias_components, tuple):
            return len(self.bias_components)
        takes_all = self.bias_components is None and self.latent <= MOST_BIASED
        return self.latent if takes_all else min(2, self.latent)
