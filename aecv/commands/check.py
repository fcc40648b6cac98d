"""`aecv check`: whether a system runs, how fast, and what looks wrong about it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aecv.commands.command import EXIT_ERROR, Command, say
from aecv.commands.options import config_option, platform_option, set_option

if TYPE_CHECKING:
    from aecv.workflow.new_system.checking import Examination

WIDTH = 14


@click.command(cls=Command)
@click.argument("system_name", metavar="SYSTEM")
@click.option(
    "--steps",
    type=click.IntRange(100, 1_000_000_000),
    default=1000,
    show_default=True,
    help="Steps of dynamics, without bias.",
)
@platform_option
@config_option
@set_option("dynamics.timestep_ps=0.001")
def main(
    system_name: str, steps: int, platform: str | None, config: Path | None, assignments: tuple[str, ...]
) -> None:
    """Build SYSTEM, minimise it, run some steps, and say what looks wrong.

    SYSTEM is a shipped system or a folder with a system.toml. Nothing is written. Exit code 0 when it runs,
    also where something looks odd; 1 when it cannot run.

    \b
    Examples:
      aecv check my_system
      aecv check ala2 --set dynamics.timestep_ps=0.002
    """
    from aecv.molecules.spec import load_system

    texts = [*assignments, *([f"dynamics.platform={platform}"] if platform else [])]
    spec = load_system(system_name, config=config, overrides=texts)
    # OpenMM takes seconds to load: only once the settings are sound
    from aecv.workflow.new_system.checking import examine

    result = examine(spec, n_steps=steps)
    for name, text in _lines(result):
        say(f"{name:<{WIDTH}}{text}")
    if result.problem is not None:
        say(f"error: cannot run: {result.problem}", err=True)
        click.get_current_context().exit(EXIT_ERROR)
    say(f"next: aecv iterate --system {system_name} --quick, a trial of two minutes; then without --quick")


def _lines(result: "Examination") -> Iterator[tuple[str, str]]:
    from aecv.ground.progress import roughly
    from aecv.workflow.planning.cost import parts_of

    settings = result.spec.settings
    yield "system", f"{result.spec.name}, {result.spec.directory}"
    if result.system is not None:
        yield from _contents(result)
    if result.platform is not None:
        yield "platform", result.platform.reason
    if result.energy_before is not None:
        after = "" if result.energy_after is None else f", {result.energy_after:.1f} after minimising"
        yield "energy", f"{result.energy_before:.1f} kJ/mol as it comes{after}"
    if (times := result.times) is not None:
        yield (
            "run",
            f"{result.n_steps} steps of {settings.dynamics.timestep_ps:g} ps at "
            f"{settings.dynamics.temperature_k:g} K: {result.temperature_k:.0f} K at the end, "
            f"{times.steps_per_s:.0f} steps/s without bias",
        )
        yield (
            "aecv iterate",
            f"about {roughly(times.total)} of dynamics on {times.processes} "
            f"process{'es' if times.processes > 1 else ''}; the bias and training come on top",
        )
        yield "", parts_of(times, settings)
    for index, finding in enumerate(result.findings):
        yield "warning" if index == 0 else "", finding
    if not result.findings and result.problem is None:
        yield "warnings", "none"


def _contents(result: "Examination") -> Iterator[tuple[str, str]]:
    system = result.system
    assert system is not None
    topology, settings = system.topology, result.spec.settings
    of_solute = f" of the solute's {system.n_solute_atoms}" if system.is_solvated else ""
    yield (
        "atoms",
        f"{system.n_atoms} in {topology.getNumResidues()} residues; "
        f"{len(system.heavy_atom_indices)}{of_solute} are no hydrogens, "
        f"{system.system.getNumConstraints()} constraints",
    )
    yield (
        "CV atoms",
        f"{len(system.cv_atom_indices)} ({3 * len(system.cv_atom_indices)} inputs to the autoencoder): "
        f"{settings.cv.atoms}",
    )
    values = system.observables.compute(system.positions[None])
    yield (
        "observables",
        ", ".join(f"{system.observables.label(name)} {value[0]:.2f}" for name, value in values.items())
        or "none",
    )
