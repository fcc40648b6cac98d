"""`aecv`: one command for everything; each part is a module that is loaded when it is asked for."""

import importlib

import click

from aecv.commands.command import CONTEXT, cleaned_usage
from aecv.ground.errors import suggestion

COMMANDS = {
    "init": "A folder for a molecule of your own, with everything guessed and explained.",
    "systems": "The systems that come with aecv, and what a run of them costs here.",
    "check": "Whether a system runs, how fast, and what looks wrong about it.",
    "iterate": "Learn a collective variable: the whole loop for a system.",
    "sample": "Extended ABF along a given CV: observables, a file of ours or of others.",
    "train": "A CV from frames and weights that are there.",
    "apply": "A CV's values along any trajectory.",
    "score": "Is one CV a function of another?",
    "fes": "Free energies with error bars from a run, along what you like.",
    "status": "How far a run has come.",
    "export": "The CV and a bias along it, as input for PLUMED or Colvars.",
    "report": "The story of a run as one page: verdict, figures, structures, settings.",
    "doctor": "What works on this machine, in one screen to paste into a bug report.",
}
"""Per command, in the order of the help, what it does; `aecv.commands.NAME` holds it as `main`."""


class LazyGroup(click.Group):
    """Commands known by name; the help imports none of them, since some take OpenMM and PyTorch along."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"aecv.commands.{cmd_name}").main
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        with cleaned_usage():
            if args and args[0] not in COMMANDS and not args[0].startswith("-"):
                ctx.fail(f"no command '{args[0]}'{suggestion(args[0], COMMANDS)}")
            return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(package_name="aecv", prog_name="aecv")
def main() -> None:
    """Collective variables that learn themselves, and free energies along them.

    \b
    Examples:
      aecv init my_system --pdb my.pdb
      aecv check my_system
      aecv iterate --system ala2 --iters 10
      aecv sample --system ala2 --cv phi,psi --ns 10
      aecv export runs/ala2 --to plumed --form plain
      aecv COMMAND --help
    """
