"""What all commands have in common: exit codes, signals, and how an error looks.

0  done        1  an error, in one line        2  wrong usage        130  interrupted
"""

import errno
import shlex
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from aecv.ground.errors import AecvError, ForeseenError, WriteError
from aecv.ground.logs import set_up_logging
from aecv.ground.printable import one_line, printable_lines
from aecv.ground.signals import handled

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

_DEBUG = "aecv.debug"
"""Where a command's context holds whether --debug was given."""
_WORDS = "aecv.words"
"""Where a command's context holds the words of the command line."""
SHORT_FOR = "aecv.short_for"
"""Where it holds the options that are short for a setting, by the setting."""
_FOLDER = "aecv.run_folder"
"""Where a command's context holds the folder of its run once that is known."""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(click.Command):
    """A click command with --version and --debug that tells errors in one line.

    Only errors that a user can do something about are caught. Anything else is a fault of aecv and shows its
    traceback.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings["context_settings"] = CONTEXT | (settings.get("context_settings") or {})
        super().__init__(*args, **settings)
        click.version_option(package_name="aecv", prog_name="aecv")(self)
        debug = "Show the traceback of an error, and what developers log."
        click.option("--debug", is_flag=True, help=debug)(self)

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """The options as they were given; what is wrong with them is told in one line."""
        with cleaned_usage():
            return super().make_context(*args, **settings)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, and keeps the words for an error that gives the command with others."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises becomes a message and an exit code."""
        debug = ctx.meta[_DEBUG] = ctx.params.pop("debug")
        resumes = "resume" in ctx.params
        set_up_logging(works=False, debug=debug)
        try:
            # SIGTERM as Ctrl-C: queues end jobs by it, and what is known shall be saved and the way on told
            with handled(signal.SIGTERM, signal.default_int_handler):
                return super().invoke(ctx)
        except (AecvError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of a pipe has gone: click ends quietly
            if debug:
                say_lines(traceback.format_exc(), err=True)
            advice = ""
            if isinstance(error, ForeseenError):
                advice = _mended(ctx, error)
            elif resumes and isinstance(error, OSError | WriteError):
                # what cannot be written is mended outside of aecv, and then the run goes on
                advice = _way_on(ctx, "mend that, then continue with")
            say(f"error: {error}{advice}", err=True)
            ctx.exit(EXIT_ERROR)
        except KeyboardInterrupt:
            advice = _way_on(ctx, "continue with the same command and") if resumes else ""
            say(f"interrupted{advice}", err=True)
            ctx.exit(EXIT_INTERRUPTED)


def is_debugging() -> bool:
    """Whether the command was given --debug."""
    return bool(click.get_current_context().meta[_DEBUG])


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a line, whatever is in it; see `aecv.ground.printable`."""
    click.echo(one_line(text), err=err, nl=nl)


def say_lines(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text that has lines of its own."""
    click.echo(printable_lines(text), err=err, nl=nl)


@contextmanager
def cleaned_usage() -> Iterator[None]:
    """What click says of wrong usage, and repeats of what was given, in one line."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = one_line(error.message)  # nothing but typing calls it final
        raise


def run_folder(out: Path | None, default: str) -> Path:
    """The folder of the run: --out, or runs/DEFAULT. Interruptions and errors ask for it."""
    folder = out if out is not None else Path("runs") / default
    click.get_current_context().meta[_FOLDER] = folder
    return folder


def _mended(ctx: click.Context, error: ForeseenError) -> str:
    """`: COMMAND`, the command line with settings that would do; for a length also a trial."""
    given, short = list(ctx.meta.get(_WORDS, ())), ctx.meta.get(SHORT_FOR, {})
    if not error.changes:
        return ""
    words, begun, trial = given, ctx.command_path.split(), ""
    if "sampling.ns" in error.changes and not ctx.params.get("quick"):
        rest = _without(given, short.get("sampling.ns", "--set"), "sampling.ns")
        if rest != given:
            trial = f"; for a first look of about two minutes: {shlex.join([*begun, *rest, '--quick'])}"
    for key, value in error.changes.items():
        option, text = (short[key], str(value)) if key in short else ("--set", f"{key}={value}")
        words = [*_without(words, option, key), option, text]
    return f": {shlex.join([*begun, *words])}{trial}"


def _without(words: Sequence[str], option: str, key: str) -> list[str]:
    """Words of a command line without an option for a setting, and without --set of it."""
    kept, skip = [], False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if skip:
            skip = False
            continue
        names_key = following.partition("=")[0].strip() in (key, key.rpartition(".")[2])
        if word == option != "--set" or (word == "--set" and names_key):
            skip = True
        elif not (option != "--set" and word.startswith(f"{option}=")):
            kept.append(word)
    return kept


def _way_on(ctx: click.Context, advice: str) -> str:
    """`; ADVICE --resume` where there is a run to go on with, else that nothing was written."""
    folder = ctx.meta.get(_FOLDER)
    begun = folder is not None and (folder / "run.json").is_file()
    return f"; {advice} --resume" if begun else "; nothing was written yet"
