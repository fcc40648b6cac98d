"""`aecv iterate`: the whole loop for a system, in one command."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from aecv.commands.command import Command, say, say_lines
from aecv.commands.options import (
    begin,
    bias_components_option,
    device_option,
    finite,
    frame_files,
    frame_options,
    model_option,
    resume_option,
    run_options,
    system_option,
    workers_of,
)

_SHORT_FOR = {
    "iters": "run.iterations",
    "ns": "sampling.ns",
    "final_ns": "production.ns",
    "pool": "pool.mode",
    "model": "autoencoder.model",
    "bias_components": "autoencoder.bias_components",
    "device": "training.device",
    "stop_when_converged": "convergence.stop",
}


@click.command(cls=Command)
@system_option
@click.option("--iters", type=click.IntRange(min=1), help="Iterations, the unbiased one included.")
@click.option(
    "--ns",
    type=finite(0, above=True),
    help="Simulated time per iteration, over all walkers.",
)
@click.option(
    "--final-ns",
    type=finite(0),
    help="Simulated time of the production along the final CV; 0 for none.  [default: twice --ns]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: runs/SYSTEM, runs/SYSTEM_trial with --quick]",
)
@resume_option(
    "--iters, --final-ns, [convergence], [production] and training.min_effective_frames may change, "
    "nothing else."
)
@click.option(
    "--pool",
    type=click.Choice(["mbar", "none"]),
    help="Train on the biased iterations together (mbar) or on the last one (none), whose error bars omit "
    "that of the bias.",
)
@click.option(
    "--stop-when-converged",
    is_flag=True,
    default=None,
    help="Stop at the first iteration that counts as converged.",
)
@model_option
@bias_components_option
@device_option
@frame_options(required=False)
@run_options
def main(**options: Any) -> None:
    """Learn a collective variable by autoencoders and extended ABF (FEBILAE).

    \b
    Examples:
      aecv iterate --system ala2 --iters 10
      aecv iterate --system ala2 --iters 3 --ns 1 --out runs/quick
      aecv iterate --system ala2 --iters 20 --resume
      aecv iterate --system my_system --frames traj.xtc --top x.pdb --weights w.npy
    """
    begun = begin(options, _SHORT_FOR)
    if begun is None:
        return
    spec, folder = begun
    files = frame_files(options)
    from aecv.workflow.planning.foresight import foresee_loop

    foresee_loop(spec.settings, with_dynamics=files is None and not options["resume"])
    # OpenMM and PyTorch take seconds to load: only when there is something for them to do
    from aecv.commands import console, screens
    from aecv.workflow.loop import iterate

    with workers_of(options, spec) as workers:
        outcome = iterate(
            spec,
            folder,
            resume=options["resume"],
            frames=files,
            workers=workers,
            progress=console.bars,
            on_record=partial(console.print_record, settings=spec.settings.convergence),
        )
    say_lines(screens.closing_words(outcome))
    made = f", {outcome.production.folder}/" if outcome.production else ""
    say(f"results in {folder}: report.html, summary.json, pictures/, iteration_*/{made}")
