"""`aecv sample`: extended ABF along a CV that is given."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aecv.commands.command import Command, say_lines
from aecv.commands.options import (
    FOREIGN,
    begin,
    finite,
    foreign_options,
    resume_option,
    run_options,
    slug,
    system_option,
    workers_of,
)

if TYPE_CHECKING:
    from aecv.workflow.given_cv.given import GivenCV


@click.command(cls=Command)
@system_option
@click.option(
    "--cv",
    "what",
    required=True,
    metavar="WHAT",
    help="Observables (phi,psi), a cv.pt or iteration folder of aecv, or a TorchScript model of others.",
)
@foreign_options
@click.option(
    "--range",
    "ranges",
    type=(finite(), finite()),
    multiple=True,
    metavar="LOW HIGH",
    help="Of the bias, per component; dihedrals have theirs.  [default: the file's, or the hot run's]",
)
@click.option(
    "--periodic",
    type=click.IntRange(min=1, max=3),
    multiple=True,
    help="A component of another program's model whose --range is one period.",
)
@click.option("--ns", type=finite(0, above=True), help="Simulated time over all walkers.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: runs/SYSTEM_CV, runs/SYSTEM_CV_trial with --quick]",
)
@resume_option()
@run_options
def main(*, what: str, **options: Any) -> None:
    """Extended ABF along a given CV, then free energies with error bars.

    \b
    Examples:
      aecv sample --system ala2 --cv phi,psi --ns 10
      aecv sample --system ala2 --cv runs/ala2/iteration_06 --ns 10
      aecv sample --system ala2 --cv theirs.pt --atoms "mass > 2" --length-unit angstrom
      aecv sample --system ala2 --cv theirs.pt --features features.toml --range -1.5 1.5
    """
    begun = begin(
        options,
        {"ns": "sampling.ns"},
        suffix=f"_{slug(what)}",
        cv=lambda system: _given(what, options)(system),
    )
    if begun is None:
        return
    spec, folder = begun
    from aecv.workflow.planning.foresight import foresee_sample

    names = [name.strip() for name in what.split(",")]
    known = all(name in spec.settings.observables for name in names)
    foresee_sample(spec.settings, names=names if known else (), n_ranges=len(options["ranges"]))
    # OpenMM and PyTorch take seconds to load: only when there is something for them to do
    from aecv.commands import console, screens
    from aecv.workflow.sample_along import sample_along

    given = _given(what, options)
    with workers_of(options, spec) as workers:
        result = sample_along(
            spec, given, folder, resume=options["resume"], workers=workers, progress=console.bars
        )
    say_lines(screens.sampled_table(result, spec.settings))


def _given(what: str, options: Mapping[str, Any]) -> "GivenCV":
    """What the options say about the CV."""
    from aecv.workflow.given_cv.given import GivenCV

    return GivenCV(what=what, **{name: options[name] for name in (*FOREIGN, "ranges", "periodic")})
