"""Formulas as MathML, which browsers draw themselves: no scripts, no fonts, no network, no LaTeX.

MathJax, Sphinx's choice, comes from a server or as some megabytes of JavaScript that no Python package keeps
up to date; imgmath needs LaTeX and draws pictures.
"""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _markup(node: nodes.Element, display: str) -> str:
    latex = node.astext()
    try:
        markup = convert(latex, display=display)
    except Exception as error:  # the converter raises what its parsing happens to hit
        logger.warning("formula cannot be converted (%s): %s", error, latex, location=node)
        return latex
    # the converter hands on what it does not know as text
    if "\\" in markup:
        logger.warning("formula holds a command that MathML does not get: %s", latex, location=node)
    return markup


def inline(translator: Any, node: nodes.Element) -> None:
    """A formula in a line of text."""
    translator.body.append(_markup(node, "inline"))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.Element) -> None:
    """A formula in a line of its own."""
    translator.body.append(f'<div class="formula">{_markup(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
