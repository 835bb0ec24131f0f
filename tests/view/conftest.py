"""The run of `export_cases` with its movie beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "export"))

from export_cases import make_run, write_movie


@pytest.fixture(scope="session")
def filmed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    movie = write_movie(folder)
    return make_run(folder / "film.insitu"), movie
