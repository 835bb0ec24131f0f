"""Pages are asked what they say; their PNGs need not be fit for print."""

from __future__ import annotations

import pytest

from insitu.figures import style


@pytest.fixture(autouse=True)
def small_pngs(monkeypatch):
    monkeypatch.setattr(style, "_PNG_DPI", 40)
