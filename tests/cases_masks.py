"""Small masks and counts for tests, and a world without numba."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import fields

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from insitu.runs import loops

CAMERA_DTYPES = ["u1", "<u2", ">u2", "u4", "i2", "i4", "f2", "f4", ">f4", "f8"]
SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 45))
MASKS = SHAPES.flatmap(
    lambda shape: st.one_of(
        hnp.arrays(np.bool_, shape),
        hnp.arrays(np.bool_, shape, elements=st.sampled_from([True, True, True, False])),
        hnp.arrays(np.bool_, shape, elements=st.sampled_from([True, False, False, False])),
    )
)


COMPILED = (
    *(f"insitu.runs.{n}" for n in ("kernels", "borders", "distances", "basins", "pieces", "split")),
    "insitu.compiling",
)


@contextmanager
def without_numba():
    """Make `import numba` fail, as on a machine that has none, until the end of the block."""
    numba = sys.modules.get("numba")
    compiled = {name: sys.modules.pop(name, None) for name in COMPILED}
    for name in COMPILED:
        parent, _, own = name.rpartition(".")
        sys.modules[parent].__dict__.pop(own, None)
    sys.modules["numba"] = None
    loops.fastest.cache_clear()
    try:
        assert loops.fastest().__name__ == "insitu.runs.arrays"
        yield
    finally:
        del sys.modules["numba"]
        if numba is not None:
            sys.modules["numba"] = numba
        for name, module in compiled.items():
            if module is not None:
                sys.modules[name] = module
                parent, _, own = name.rpartition(".")
                setattr(sys.modules[parent], own, module)
        loops.fastest.cache_clear()


def assert_same(a, b):
    """Two `Runs` are equal in every field, values and dtypes."""
    for field in fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            np.testing.assert_array_equal(left, right, err_msg=field.name)
        else:
            assert left == right, field.name


def camera_image(shape, dtype, seed=0):
    """Random counts over the whole range of an integer dtype, or floats that cannot be added exactly."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
