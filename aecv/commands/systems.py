"""`aecv systems`: the systems that come with aecv, and what a run of them costs here."""

import json

import click

from aecv.commands.command import Command, say, say_lines


@click.command(cls=Command)
@click.option("--no-speed", is_flag=True, help="Do not measure how fast each of them runs.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def main(no_speed: bool, as_json: bool) -> None:
    """The systems that come with aecv: what each is, how fast it runs here, and what to expect.

    The speed is that of a second of unbiased dynamics; from it follows how long `aecv iterate` takes with
    the system's own settings, training and bias not counted. A system that cannot be built is listed with
    the reason.

    \b
    Examples:
      aecv systems
      aecv systems --no-speed --json
    """
    from aecv.commands import screens
    from aecv.workflow.planning.catalogue import catalogue

    entries = catalogue(seconds=None if no_speed else 1.0)
    if as_json:
        say_lines(json.dumps([entry.as_dict() for entry in entries], indent=2))
        return
    for entry in entries:
        say_lines(screens.system_text(entry))
    say("next: aecv iterate --system NAME; one of your own: aecv init")
