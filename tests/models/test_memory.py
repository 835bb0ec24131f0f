"""What the process keeps of freed memory, measured from outside: its resident size."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from insitu.models.memory import give_back_unused, keep_large_blocks

psutil = pytest.importorskip("psutil")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_between_blocks_in_use_goes_back():
    if not keep_large_blocks():
        pytest.skip("another C library")
    me = psutil.Process()
    blocks = [np.ones(250_000, np.uint8) for _ in range(400)]
    del blocks[::2]
    kept = me.memory_info().rss
    give_back_unused()
    returned = kept - me.memory_info().rss
    assert returned > 0.8 * 200 * 250_000
    assert all(b[::4096].all() for b in blocks)
