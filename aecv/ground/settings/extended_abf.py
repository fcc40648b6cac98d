"""[eabf]: grid, coupling and bias of extended ABF."""

from pydantic import Field

from aecv.ground.settings.limits import MOST_BINS
from aecv.ground.settings.section import Section


class ExtendedABFSettings(Section):
    """[eabf]: extended-system adaptive biasing force along the CV."""

    bins: int = Field(
        50, ge=5, le=MOST_BINS, description="per component of the CV; 24 are plenty for three components"
    )
    margin: float = Field(
        0.1, ge=0, le=100, description="share of the data range added to the grid on each side"
    )
    sigma_bins: float = Field(
        1.0, gt=0, le=1000, description="spread of xi around lambda in bin widths; kappa = kT/sigma^2"
    )
    tau_ps: float = Field(
        0.2, gt=0, le=1e6, description="period of lambda on its spring; at least 20 time steps"
    )
    friction_per_ps: float = Field(8.0, gt=0, le=1e5, description="of lambda")
    full_samples: int = Field(
        500, ge=1, le=1_000_000_000, description="samples in a bin from which its bias is applied in full"
    )
    ceiling_kj_mol: float = Field(
        60.0, gt=0, le=1e6, description="lambda is not pushed where the free energy exceeds this"
    )
    projected: bool = Field(
        True, description="of two or three components, the adapting bias is the gradient of a potential"
    )
    update_ps: float = Field(
        10.0, gt=0, le=1e9, description="of every walker, after which that potential is solved anew"
    )
    warm_start: bool = Field(True, description="begin with the pool's mean force along the new CV")
    frozen_stages: int = Field(
        0,
        ge=0,
        le=50,
        description="stages of frozen bias in an iteration (mode mbar); 0: it adapts throughout",
    )
    adaptive_share: float = Field(
        0.3, gt=0, lt=1, description="first share of the time, before the frozen stages, if there are any"
    )
