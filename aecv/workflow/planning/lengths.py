"""How settings cut the samplings of a run into rounds and frames: arithmetic alone, without torch."""

import numpy as np

from aecv.ground.settings import Settings
from aecv.sampling.dynamics.walkers import Plan, make_plan


def plan_of_settings(
    settings: Settings, stage: str, ns: float, frozen_stages: int, n_components: int
) -> Plan:
    """How the settings cut a sampling into rounds; see `make_plan`.

    Args:
        stage: names the random streams.
        ns: simulated time over all walkers.
        frozen_stages: after eabf.adaptive_share of it; 0 for none.
        n_components: of the CV that is biased; 0 for none.
    """
    sampling = settings.sampling
    return make_plan(
        root=settings.run.seed,
        stage=stage,
        n_walkers=sampling.walkers,
        total_ps=1000.0 * ns,
        segment_ps=sampling.segment_ps,
        frame_ps=sampling.frame_ps,
        timestep_ps=settings.dynamics.timestep_ps,
        rounds_per_save=_rounds_per_save(settings, n_components),
        adaptive_share=settings.eabf.adaptive_share,
        frozen_stages=frozen_stages,
    )


def plan_of(settings: Settings, iteration: int) -> Plan:
    """How the settings cut an iteration into rounds; see `make_plan`."""
    has_stages = settings.pool.mode == "mbar" and iteration > settings.pool.exploration
    return plan_of_settings(
        settings,
        f"iteration {iteration}",
        settings.sampling.ns,
        settings.eabf.frozen_stages if has_stages else 0,
        settings.autoencoder.n_biased if iteration else 0,
    )


def production_plan(settings: Settings, cv_iteration: int) -> Plan:
    """How the settings cut the production along an iteration's CV into rounds."""
    return plan_of_settings(
        settings,
        f"production {cv_iteration}",
        settings.production_ns,
        settings.production.frozen_stages,
        settings.autoencoder.n_biased,
    )


def given_plan(settings: Settings, n_components: int) -> Plan:
    """How the settings cut a sampling along a CV that is given into rounds."""
    frozen_stages = settings.production.frozen_stages
    return plan_of_settings(settings, "along", settings.sampling.ns, frozen_stages, n_components)


def n_counted(plan: Plan, discard: float) -> int:
    """Frames of a biased sampling that get a weight: those after `discard`, or under the frozen bias."""
    edges = plan.stage_edges
    begin = float(edges[0]) if len(edges) else discard
    progress = (np.arange(plan.frames_per_walker) + 1.0) / plan.frames_per_walker
    return plan.n_walkers * int(np.count_nonzero(progress > begin))


def _rounds_per_save(settings: Settings, n_components: int) -> int:
    """How often a projected bias is solved anew between saves; 1 for any other, whose rounds end with one."""
    if not settings.eabf.projected or n_components < 2:
        return 1
    return max(1, round(settings.sampling.segment_ps / settings.eabf.update_ps))
