from __future__ import annotations

import pytest

from benchmarks.soak.world import Engines, Stub


@pytest.fixture(scope="session")
def engines():
    """Command lines that may be killed; starting one costs milliseconds."""
    with Engines() as engines:
        yield engines


@pytest.fixture
def stub(monkeypatch):
    """Let every model be one that thresholds: these tests are about frames and bytes."""
    monkeypatch.setattr("insitu.models.load", lambda *_, **__: Stub())
