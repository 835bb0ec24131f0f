"""The documentation: blocks of the guides do what they say; the site builds without a warning and loads nothing."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

from insitu.cli import main
from insitu.schema import TABLES
from tools import reference

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GUIDES = sorted([*(DOCS / "start").glob("*.md"), *(DOCS / "howto").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
SHOWN = {"toml", "sql"}


def commands(text):
    """Call the command line for every line of a block."""
    for line in text.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "insitu", line
        assert main(arguments) == 0, line


@pytest.mark.parametrize("guide", GUIDES, ids=lambda g: g.stem)
def test_a_guide_does_what_it_says(guide, tmp_path, monkeypatch, capfd):
    blocks = FENCE.findall(guide.read_text(encoding="utf-8"))
    assert {language for language, _ in blocks} <= {"bash", "python", *SHOWN}
    monkeypatch.chdir(tmp_path)
    for language, text in blocks:
        if language in SHOWN:
            continue
        capfd.readouterr()
        # in this process: two dozen fresh ones would load torch two dozen times
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.filterwarnings("ignore", module="trackpy")  # its own, of pandas 4
            commands(text) if language == "bash" else exec(compile(text, guide.name, "exec"), {"__name__": "guide"})
        assert capfd.readouterr().out.strip(), text


def test_links_between_pages_and_files_lead_somewhere():
    reference_pages = {f"generated/{name}" for name in reference.PAGES}
    for page in DOCS.rglob("*.md"):
        if "generated" in page.parts:
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http") and not any(target.endswith(name) for name in reference_pages):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_command_with_every_option_is_in_the_reference():
    page = reference.commands_page()
    for name, command in reference.commands():
        section = page.split(f"## insitu {name}\n", 1)[1].split("\n## ", 1)[0]
        for option in command.params:
            if option.param_type_name == "option":
                assert all(f"{o} " in section or f"{o}`" in section or f"{o}," in section for o in option.opts), option


def test_every_setting_and_every_column_of_the_statistics_is_in_the_reference():
    from insitu.coarsening.columns import TABLES as STATISTICS
    from insitu.settings.catalogue import catalogue

    page = reference.settings_page()
    assert all(f"`{key}`" in page for key in catalogue())
    page = reference.statistics_page()
    for name, table in STATISTICS.items():
        section = page.split(f"## {name}\n", 1)[1].split("\n## ", 1)[0]
        assert all(f"| `{column.name}` |" in section for column in table)


def test_cells_stay_in_their_table():
    for page in (page() for page in reference.PAGES.values()):
        rows = [line for line in page.splitlines() if line.startswith("|")]
        for block in re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(widths) == 1, block
        assert rows


def test_a_page_that_is_the_same_is_left_alone(tmp_path):
    reference.write(tmp_path)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    reference.write(tmp_path)
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if find_spec("sphinx") is None or find_spec("myst_parser") is None or find_spec("furo") is None:
        pytest.skip("SPHINX ABSENT: pip install 'insitu[docs]' to build the documentation in this test")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", out / "trees"]
    done = subprocess.run([*command, DOCS, out / "html"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_the_site_has_every_page(site):
    pages = {p.relative_to(DOCS).with_suffix("").as_posix() for p in DOCS.rglob("*.md")} - {"decisions/README"}
    assert [p for p in sorted(pages) if not (site / f"{p}.html").is_file()] == []


def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"", text)
        assert [u for u in loaded if u.startswith(("http:", "https:", "//"))] == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_formulas_are_drawn_by_the_browser_and_columns_are_described(site):
    assert "<math" in (site / "explanation" / "events.html").read_text(encoding="utf-8")
    tables = (site / "tables.html").read_text(encoding="utf-8")
    assert all(column.name in tables for table in TABLES.values() for column in table)
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert all(f"insitu.{name}" in python for name in ("analyze", "stream", "open", "Run", "export.export"))
