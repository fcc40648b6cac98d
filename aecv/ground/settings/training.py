"""[training]: optimiser, restarts, early stopping."""

from typing import Literal

from pydantic import Field

from aecv.ground.settings.section import Section

Device = Literal["cpu", "cuda", "auto"]


class TrainingSettings(Section):
    """[training]: SOAP (Adam in a better basis), early stopping on contiguous validation blocks."""

    restarts: int = Field(16, ge=1, le=64, description="trained together")
    loss_tolerance: float = Field(
        0.05,
        ge=0,
        le=1000,
        description="of restarts this close to the lowest validation loss, the one most like the others",
    )
    max_epochs: int = Field(20, ge=1, le=1_000_000)
    patience: int = Field(
        10, ge=1, le=1_000_000, description="epochs without improvement until a restart stops"
    )
    batch_size: int = Field(500, ge=1, le=1_000_000)
    learning_rate: float = Field(0.03, gt=0, le=10, description="its peak; warm-up, then cosine")
    validation_fraction: float = Field(0.2, gt=0, lt=0.9)
    validation_blocks: int = Field(
        50, ge=2, le=100_000, description="contiguous blocks of which a share is held out"
    )
    max_frames: int = Field(100_000, ge=100, le=1_000_000_000, description="the pool is thinned to this many")
    min_effective_frames: float = Field(
        500.0, gt=0, le=1e9, description="fewer effective frames than this are an error"
    )
    device: Device = Field(
        "cpu", description="cuda: on a GPU; auto: there where there is one; numbers of the two differ"
    )
