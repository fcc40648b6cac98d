"""What tests of the workflow share."""

SMALL = (
    "sampling.ns=0.02",
    "sampling.frame_ps=0.02",
    "sampling.walkers=2",
    "sampling.segment_ps=1",
    "sampling.equilibration_ps=0.5",
    "starts.hot_ps=30",
    "starts.candidates=10",
    "training.max_epochs=4",
    "training.restarts=3",
    "training.min_effective_frames=20",
    "convergence.floor=0",
    "convergence.replicas=3",
    "eabf.bins=20",
    "eabf.full_samples=100",
    "eabf.update_ps=0.5",
    "run.iterations=3",
    "production.ns=0.01",
    "production.frozen_stages=2",
    "production.replicates=40",
    "delta_f.observable=psi",
    "delta_f.lower=0.0",
    "delta_f.upper=1.8",
)
"""Settings of a run of three iterations and a production in a few seconds; its numbers mean nothing.

Walkers cross the border of this region within 10 ps, that of ala2's own never: Delta F is a number, and one
start lies inside, the other outside.
"""
