"""README and pages say what is true: commands parse, settings exist, Python names resolve."""

import ast
import importlib
import importlib.util
import inspect
import re
import shlex
from collections.abc import Iterator
from types import ModuleType

import click
import pytest

import aecv
from aecv.commands.cli import COMMANDS
from aecv.commands.cli import main as front
from aecv.ground.layers import parse_override
from aecv.ground.settings import Settings
from tests.pages import PAGES, REPOSITORY, Block, blocks, inline

_COMMAND = re.compile(
    r"^\s*(?:exec )?(?:python -m aecv\.(?P<module>\w+)|(?P<script>aecv(?:-iterate)?)) (?P<rest>.*)"
)
OF_OTHERS = {"--name", "--nthreads", "--protocol", "--no-deps", "--preload", "--no-dashboard"}
"""Options in sentences that belong to other programs."""
FILES = (".py", ".pt", ".npz", ".json", ".toml", ".log", ".png", ".dat")


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Where a command stands, and its words after `aecv`."""
    for block in blocks(*PAGES):
        if block.kind not in ("", "bash", "console", "sh"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            if found := _COMMAND.match(line):
                name = {"aecv-iterate": "iterate", "aecv": None, None: found["module"]}[found["script"]]
                words = shlex.split(found["rest"].replace("$more", ""), comments=True)
                words = words[: words.index("&")] if "&" in words else words
                yield f"{block.page.name}: {line.strip()}", [*([name] if name else []), *words]


def options_of(command: click.Command) -> set[str]:
    return {text for parameter in command.params for text in parameter.opts} | {"--help"}


COMMAND_LINES = list(command_lines())
PYTHON = [block for block in blocks(*PAGES) if block.kind in ("python", "{code-cell}")]


def test_there_is_something_to_check():
    assert len(COMMAND_LINES) > 40
    assert len(PYTHON) > 20


@pytest.mark.parametrize(("place", "words"), COMMAND_LINES, ids=[place for place, _ in COMMAND_LINES])
def test_commands_parse(place, words):
    """Parsing alone: nothing is run, and no file needs to be there."""
    if words[0].startswith("-"):
        assert set(words) <= options_of(front) | {"--version"}
        return
    assert words[0] in COMMANDS
    command = importlib.import_module(f"aecv.commands.{words[0]}").main
    try:
        context = command.make_context(words[0], list(words[1:]))
    except click.exceptions.Exit:  # of --help
        return
    except click.UsageError as error:
        pytest.fail(f"{place}: {error.format_message()}")
    for text in context.params.get("assignments", ()):
        assert known_setting(".".join(parse_override(text)[0])), place


def known_setting(dotted: str) -> bool:
    section, _, key = dotted.partition(".")
    annotation = Settings.model_fields[section].annotation
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return any(key in getattr(item, "model_fields", {}) for item in candidates)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_options_and_settings_in_sentences_exist(page):
    known = set().union(
        *(options_of(importlib.import_module(f"aecv.commands.{name}").main) for name in COMMANDS)
    )
    sections = "|".join(Settings.model_fields)
    for text in inline(page):
        if text.startswith("--"):
            assert re.split(r"[ =|]", text)[0] in known | OF_OTHERS, text
        if text.startswith("aecv ") and (words := text.split())[1] in COMMANDS:
            own = options_of(importlib.import_module(f"aecv.commands.{words[1]}").main)
            assert {word for word in words if word.startswith("--")} <= own, text
        if re.fullmatch(rf"(?:{sections})\.[a-z][a-z_]+", text) and not text.endswith(FILES):
            assert known_setting(text), text


def is_module(package: ModuleType, name: str) -> bool:
    return importlib.util.find_spec(f"{package.__name__}.{name}") is not None


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_blocks_call_what_is_there(block: Block):
    """They compile; what they import from aecv exists; calls of its functions fit their signatures."""
    text = re.sub(r"^(:.*|---)?$|^%.*$", "", block.text, flags=re.MULTILINE)
    tree = ast.parse(text)
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aecv"):
            module = importlib.import_module(str(node.module))
            names = [alias.name for alias in node.names]
            missing = [name for name in names if not (hasattr(module, name) or is_module(module, name))]
            assert missing == []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "aecv":
            found = getattr(aecv, node.attr)
            if id(node) in called:
                call = called[id(node)]
                keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
                inspect.signature(found).bind(*call.args, **keywords)


def test_every_name_of_the_api_has_its_place_on_a_page():
    pages = "".join(path.read_text() for path in (REPOSITORY / "docs/api").glob("*.md"))
    documented = set(re.findall(r"auto(?:function|class|exception):: aecv\.(\w+)$", pages, re.MULTILINE))
    assert documented == {*aecv.__all__} - {"__version__"}
