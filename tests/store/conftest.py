from __future__ import annotations

import pytest
from store_cases import Victim


@pytest.fixture(scope="session")
def victim():
    victim = Victim()
    yield victim
    victim.close()
