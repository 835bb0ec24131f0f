"""The run of `export_cases`, once for all tests."""

from __future__ import annotations

import pytest
from export_cases import make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("export") / "film.insitu")
