"""The documentation site: Markdown through MyST, formulas as MathML, nothing loaded from a network.

The pages under ``reference/generated`` are written from the code before each build.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from docutils import nodes  # noqa: E402 - the path has to be set first
from docutils.utils.math import MathError, latex2mathml  # noqa: E402 - same
from sphinx.util import logging  # noqa: E402 - same

from insitu import __version__  # noqa: E402 - same
from tools import reference  # noqa: E402 - same

project = "insitu"
author = "The insitu developers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "decisions/README.md"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
default_role = "code"  # docstrings put names between single backticks
nitpicky = False

autodoc_typehints = "none"  # docstrings give types, with shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"insitu {release}"
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_math_renderer = "mathml"

reference.write(HERE / "reference" / "generated")


def _mathml(node: nodes.Element, *, block: bool) -> str:
    """Return a formula as MathML; one that docutils cannot read is a warning that names its place."""
    try:
        return str(latex2mathml.tex2mathml(node.astext(), as_block=block))
    except MathError as error:
        logging.getLogger(__name__).warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def _inline(translator: Any, node: nodes.math) -> None:  # noqa: ANN401 - Sphinx's translator
    translator.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:  # noqa: ANN401 - Sphinx's translator
    translator.body.append(f'<div class="math">{_mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:  # noqa: ANN401 - Sphinx's application
    """Let browsers draw formulas themselves: MathJax would have to be fetched."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
