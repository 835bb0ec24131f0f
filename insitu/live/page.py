"""The page as one document: markup, style, script and uPlot in one answer, so that nothing else is ever asked for."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Page:
    """The document, and the policy that lets only its own scripts and styles run."""

    html: bytes
    policy: str


@lru_cache
def page() -> Page:
    """Return the page."""
    folder = files("insitu.live")
    here = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")}
    names = ("uPlot.LICENSE", "uPlot.iife.min.js", "uPlot.min.css")
    notice, uplot, uplot_style = (folder.joinpath("vendored", n).read_text(encoding="utf-8").strip() for n in names)
    library = f"/*! uPlot, https://github.com/leeoniya/uPlot\n{notice}\n*/\n{uplot}"
    style = f"{uplot_style}\n{here['page.css']}"
    parts = {"<!-- style -->": style, "<!-- library -->": library, "<!-- script -->": here["page.js"]}
    html = here["page.html"]
    for place, text in parts.items():
        html = html.replace(place, text)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(library)} {_hash(here['page.js'])}",
            f"style-src {_hash(style)}",
            "img-src data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    return Page(html.encode(), policy)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
