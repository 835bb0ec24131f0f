"""What the process keeps of freed memory, measured from outside: its resident size."""

from __future__ import annotations

import subprocess
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


_IN_A_LANE = """
import resource
import numpy as np
from insitu.lanes import Lanes
from insitu.models.memory import keep_large_blocks

def faults(_):
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    np.ones(40_000_000, np.uint8)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

print(keep_large_blocks())
lane = Lanes(faults, 1)
print([lane.put(None).result() for _ in range(4)][-1])
lane.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_a_lane_keeps_large_blocks_too():
    done = subprocess.run([sys.executable, "-c", _IN_A_LANE], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    if kept != "True":
        pytest.skip("another C library")
    assert int(faults) < 100  # of 9766 pages
