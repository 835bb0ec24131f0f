"""The style sheet: enough contrast in every light, and a colour for every colour that figures use."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from insitu.figures import style

CSS = (resources.files("insitu.report") / "page.css").read_text(encoding="utf-8")
THEMES = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
LIGHT, DARK, PRINT = (dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in THEMES)


def luminance(shade):
    full = shade if len(shade) == 7 else "#" + "".join(2 * c for c in shade[1:])
    parts = [int(full[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2.2, 1.4.3."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK, PRINT], ids=["light", "dark", "print"])
@pytest.mark.parametrize("ground", ["paper", "tint"])
def test_text_can_be_read(theme, ground):
    for name in ("ink", "muted", "link", "problem", "look", "fine"):
        assert contrast(theme[name], theme[ground]) >= 4.5, name


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_of_figures_can_be_seen(theme):
    for name in ("fig-blue", "fig-vermilion", "fig-green", "fig-purple", "fig-muted", "fig-time3"):
        assert contrast(theme[name], theme["paper"]) >= 3, name


def test_every_colour_of_a_figure_has_one_in_every_theme():
    named = {v.removeprefix("var(--").removesuffix(")") for v in style._NAMED.values() if v.startswith("var")}
    for theme in (LIGHT, DARK, PRINT):
        assert named <= set(theme)
    light = {n: LIGHT[n] for n in named}
    as_written = {v.removeprefix("var(--").removesuffix(")"): k for k, v in style._NAMED.items() if v.startswith("var")}
    same = [n for n in named if light[n] == as_written[n]]
    assert len(same) >= len(named) - 1


def test_nothing_is_loaded_by_the_style():
    assert "url(" not in CSS
    assert "@import" not in CSS
