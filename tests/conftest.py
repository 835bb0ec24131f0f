"""Fixtures shared by every room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def samples_folder() -> Path | None:
    """The folder of real samples, or None where a user's clone has none."""
    given = os.environ.get("INSITU_SAMPLES")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def samples() -> Path:
    folder = samples_folder()
    if folder is None:
        pytest.skip("REAL SAMPLES ABSENT: set INSITU_SAMPLES to the folder of real movies to run this test")
    return folder
