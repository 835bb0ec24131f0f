"""Every block of the README does what it says, in the order a new user would try it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_readme_is_short():
    assert README.count("\n") <= 200


def test_every_block_has_a_language_that_is_run():
    assert BLOCKS
    assert {language for language, _ in BLOCKS} <= {"bash", "python"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return tmp_path_factory.mktemp("desk")


@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[t.splitlines()[0] for _, t in BLOCKS])
def test_block(language, text, desk):
    program = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        program, cwd=desk, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_targets_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w+)`", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_modules_named_exist():
    for module in set(re.findall(r"python -m ([\w.]+)", README)):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module
