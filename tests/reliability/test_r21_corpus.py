"""Every file of the fuzzing corpus, and damaged copies of each: only the errors of the house may leave a reader."""

from __future__ import annotations

import random

import pytest

from benchmarks.soak import targets
from benchmarks.soak.corrupt import damaged

COPIES = {"zarr": 6, "run": 4, "video": 4, "emd": 8, "k2is": 4, "hdf5": 10, "weights": 8, "settings": 8}


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    import logging
    import warnings

    with warnings.catch_warnings():
        targets.quiet()
        yield
    logging.disable(logging.NOTSET)
    targets.forget()


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds_and_damaged_copies(name):
    rng, target = random.Random(name), targets.TARGETS[name]
    for path in targets.seeds(name):
        data = path.read_bytes()
        target(data)
        for _ in range(COPIES.get(name, 20)):
            target(damaged(data, rng))


def test_the_corpus_is_small_and_complete():
    assert {p.name for p in targets.CORPUS.iterdir()} == set(targets.TARGETS)
    assert sum(p.stat().st_size for p in targets.CORPUS.rglob("*") if p.is_file()) < 120_000


def test_the_seeds_are_sound():
    # a corpus of refused files would fuzz nothing but the refusal
    for name, suffix in {"tiff": ".tif", "dm": ".dm4", "ser": ".ser", "npy": ".npy", "mrc": ".mrc"}.items():
        for path in targets.seeds(name):
            if path.name.startswith("find-"):
                continue
            file = targets.place(name) / f"seed{suffix}"
            file.write_bytes(path.read_bytes())
            reader = targets.reader(name)(file)
            assert reader.info.n_frames >= 1
            reader.close()
