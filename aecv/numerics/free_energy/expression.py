"""Potentials as text, evaluated on arrays: the language of OpenMM's custom forces.

    main expression; name = expression; name = expression

A definition may use those that come after it, as in OpenMM. Nothing of the text is ever executed: it is read
into a syntax tree of which only arithmetic, known names and the functions below are allowed, and the tree is
walked. OpenMM itself evaluates it in a force alone, a position at a time. Source of the language: OpenMM user
guide, "Writing Custom Expressions".
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SettingsError, suggestion

MOST_CHARACTERS, MOST_LEVELS = 10_000, 200
"""Longest text and deepest tree that are read; deeper ones would end Python's recursion."""

_ALLOWED = re.compile(r"[A-Za-z0-9_\s.+\-*/^(),]*")
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_RESERVED = ("x", "y", "z")

_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "sqrt": (1, np.sqrt),
    "exp": (1, np.exp),
    "log": (1, np.log),
    "sin": (1, np.sin),
    "cos": (1, np.cos),
    "tan": (1, np.tan),
    "sec": (1, lambda a: 1.0 / np.cos(a)),
    "csc": (1, lambda a: 1.0 / np.sin(a)),
    "cot": (1, lambda a: 1.0 / np.tan(a)),
    "asin": (1, np.arcsin),
    "acos": (1, np.arccos),
    "atan": (1, np.arctan),
    "atan2": (2, np.arctan2),
    "sinh": (1, np.sinh),
    "cosh": (1, np.cosh),
    "tanh": (1, np.tanh),
    "erf": (1, special.erf),
    "erfc": (1, special.erfc),
    "step": (1, lambda a: np.where(a < 0, 0.0, 1.0)),
    "square": (1, np.square),
    "cube": (1, lambda a: a * a * a),
    "recip": (1, lambda a: 1.0 / a),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "abs": (1, np.abs),
    "floor": (1, np.floor),
    "ceil": (1, np.ceil),
    "select": (3, lambda a, b, c: np.where(a != 0, b, c)),
}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Expression:
    """A function of some variables.

    Attributes:
        main: its text without the definitions.
        definitions: name and text of every definition, in their order.
        trees: syntax trees of the main expression and of every definition.
    """

    main: str
    definitions: tuple[tuple[str, str], ...]
    trees: tuple[ast.expr, ...]

    def __call__(self, **variables: ArrayLike) -> FloatArray:
        """Its values where the variables (arrays of shapes that fit each other) are; NaN where undefined."""
        values: dict[str, Any] = {name: np.asarray(v, dtype=float) for name, v in variables.items()}
        shape = np.broadcast_shapes(*(value.shape for value in values.values()))
        with np.errstate(all="ignore"):
            pairs = list(zip(self.definitions, self.trees[1:], strict=True))
            for (name, _), tree in reversed(pairs):
                values[name] = _evaluate(tree, values)
            result = _evaluate(self.trees[0], values)
        return np.array(np.broadcast_to(result, shape), dtype=float)


def parse_expression(
    text: str, *, variables: Sequence[str] = ("x", "y"), place: str = "expression"
) -> Expression:
    """Read an expression.

    Args:
        text: as the module says.
        variables: names that it may use besides its own definitions.
        place: the setting that holds it, for messages.

    Raises:
        SettingsError: for anything but arithmetic (+ - * / ^), numbers, known names and known functions.
    """
    if len(text) > MOST_CHARACTERS:
        raise SettingsError(f"{place}: needs at most {MOST_CHARACTERS} characters, got {len(text)}")
    main, *rest = [" ".join(part.split()) for part in text.split(";")]
    definitions = [_definition(part, place) for part in rest if part]
    known, trees = set(variables), []
    for name, value in reversed(definitions):
        if name in known:
            raise SettingsError(f"{place}: '{name}' is defined twice or is a variable; rename one")
        trees.append(_parse(value, known, place))
        known.add(name)
    return Expression(
        main=main, definitions=tuple(definitions), trees=(_parse(main, known, place), *reversed(trees))
    )


def _definition(text: str, place: str) -> tuple[str, str]:
    name, separator, value = (part.strip() for part in text.partition("="))
    if not separator or not _NAME.fullmatch(name) or name in _RESERVED or name in _FUNCTIONS:
        raise SettingsError(
            f"{place}: needs 'name = expression' after a semicolon, with a name that is none of x, y, z and "
            f"no function, got '{text}'"
        )
    return name, value


def _parse(text: str, known: set[str], place: str) -> ast.expr:
    """The checked syntax tree of one expression without semicolons."""
    if not _ALLOWED.fullmatch(text) or "**" in text or "//" in text:
        raise SettingsError(
            f"{place}: needs numbers, names, functions, + - * / ^ ( ) and commas only, got '{text}'; "
            "a power is x^2"
        )
    python = text.replace("^", "**")
    try:
        tree = ast.parse(python, mode="eval").body
        _check(tree, python, known, place, 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SettingsError(f"{place}: '{text}' is no expression that can be read ({error})") from error
    return tree


def _check(node: ast.AST, text: str, known: set[str], place: str, level: int) -> None:
    """Refuse every kind of node that is not named here."""
    if level > MOST_LEVELS:
        raise SettingsError(f"{place}: is nested more than {MOST_LEVELS} deep; use definitions after ';'")
    below: Sequence[ast.AST]
    match node:
        case ast.Constant() if _NUMBER.fullmatch(ast.get_source_segment(text, node) or ""):
            below = ()
        case ast.Name(id=name):
            if name not in known:
                raise SettingsError(
                    f"{place}: unknown name '{name}' (known here: {', '.join(sorted(known))})"
                    f"{suggestion(name, known)}"
                )
            below = ()
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            below = (operand,)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            below = (left, right)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            if name not in _FUNCTIONS:
                raise SettingsError(f"{place}: unknown function '{name}'{suggestion(name, _FUNCTIONS)}")
            if len(arguments) != _FUNCTIONS[name][0]:
                raise SettingsError(
                    f"{place}: {name} needs {_FUNCTIONS[name][0]} arguments, got {len(arguments)}"
                )
            below = arguments
        case _:
            part = (ast.get_source_segment(text, node) or text).replace("**", "^")
            raise SettingsError(
                f"{place}: '{part}' is not allowed; it needs arithmetic, numbers, names and functions"
            )
    for item in below:
        _check(item, text, known, place, level + 1)


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Value of a tree that `_check` let pass."""
    match node:
        case ast.Constant(value=number):
            return np.float64(number)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name][1](*(_evaluate(item, values) for item in arguments))
        case _:
            raise AssertionError(f"{type(node).__name__} passed the check")
