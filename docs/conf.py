"""Sphinx: `make docs` builds this folder into build/docs, with warnings as errors and without the network."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]
# The tutorial's own process takes the same aecv, and the cores of a build are shared.
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ["OMP_NUM_THREADS"] = "1"

import aecv  # noqa: E402 - it is found only now

project = "aecv"
author = "aecv authors"
copyright = "aecv authors, MIT license"
version = release = aecv.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "plain_docstrings",
    "settings_tables",
]
exclude_patterns = ["_extensions"]

smartquotes = False  # --set is an option, not a dash

html_theme = "furo"
html_title = f"aecv {version}"
html_show_sphinx = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.strikethrough"]

# The tutorial runs at every build, in a folder that is thrown away; a cell that fails fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 1200
nb_merge_streams = True

# Backticks in docstrings link to what they name where it has a page, and are code where not.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autoclass_content = "class"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
