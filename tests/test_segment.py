"""From normalised frames to runs: thresholds, padding, batches, hysteresis, devices."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from insitu import segment as segmenting
from insitu.errors import CommandError
from insitu.models.classical import Classical
from insitu.options import SegmentOptions
from insitu.runs import components, paint
from insitu.segment import resolve_device, segment
from insitu.types import Prepared


class Given:
    """A model whose probability is its input; records the shapes it was called with."""

    name = "given"
    threshold = 0.5
    multiple = 16

    def __init__(self, **attributes):
        self.shapes = []
        self.__dict__.update(attributes)

    def probabilities(self, images):
        self.shapes.append(tuple(images.shape))
        return images.clone()


def prepared(probability, counts=None, origin=(0, 0), side=1):
    p = np.asarray(probability, np.float32)
    counts = np.ones(p.shape, np.uint16) if counts is None else counts
    return Prepared(input=torch.from_numpy(p), counts=counts, origin=origin, bin=side)


def masks(found):
    return np.stack([paint(components(s.runs)) > 0 for s in found])


@pytest.fixture
def noise():
    return np.random.default_rng(0).random((3, 101, 203)).astype(np.float32)


def test_the_mask_is_what_exceeds_the_model_s_threshold(noise):
    np.testing.assert_array_equal(masks(segment(prepared(noise), Given(), SegmentOptions())), noise > 0.5)
    found = segment(prepared(noise), Given(threshold=0.8), SegmentOptions())
    np.testing.assert_array_equal(masks(found), noise > np.float32(0.8))
    assert {s.threshold for s in found} == {0.8}


def test_the_user_s_threshold_outranks_the_model_s(noise):
    found = segment(prepared(noise), Given(), SegmentOptions(threshold=0.25))
    np.testing.assert_array_equal(masks(found), noise > 0.25)
    assert found[0].threshold == 0.25


def test_frames_of_odd_size_are_padded_to_the_multiple_and_cut_back(noise):
    model = Given()
    found = segment(prepared(noise), model, SegmentOptions())
    assert set(model.shapes) == {(1, 112, 208)}
    assert found[0].runs.shape == (101, 203)


def test_sums_over_runs_are_those_of_counts_and_quantised_probability(noise):
    counts = np.random.default_rng(1).integers(0, 65_536, noise.shape, dtype=np.uint16)
    found = segment(prepared(noise, counts, origin=(7, 9), side=4), Given(), SegmentOptions())
    for k, one in enumerate(found):
        runs, mask = one.runs, noise[k] > 0.5
        assert runs.intensity_sum.sum() == counts[k][mask].astype(np.int64).sum()
        steps = np.rint(noise[k].astype(np.float32) * np.float32(65_535)).astype(np.int64)
        assert runs.probability_sum.sum() == steps[mask].sum()
        assert runs.probability_sum.dtype == np.int64
        assert (runs.origin, runs.bin, runs.n_labels) == ((7, 9), 4, 0)
        i = len(runs) // 2
        piece = np.s_[runs.row[i], runs.start[i] : runs.stop[i]]
        assert runs.intensity_sum[i] == counts[k][piece].astype(np.int64).sum()


def test_a_piece_without_a_sure_pixel_is_dropped_and_diagonal_contact_counts():
    p = np.zeros((1, 20, 30), np.float32)
    p[0, 2:5, 2:5] = 0.6  # splinter
    p[0, 8:12, 8:12] = 0.6
    p[0, 12, 12] = 0.99  # touches the square by its corner
    p[0, 16, 20:25] = 0.95
    kept = masks(segment(prepared(p), Given(seed=0.9), SegmentOptions()))[0]
    assert not kept[2:5, 2:5].any()
    assert kept[8:12, 8:12].all()
    assert kept.sum() == 16 + 1 + 5
    assert masks(segment(prepared(p), Given(), SegmentOptions()))[0].sum() == 9 + 16 + 1 + 5
    nothing = segment(prepared(np.zeros((1, 9, 9))), Given(seed=0.9), SegmentOptions())[0].runs
    assert len(nothing) == 0


def test_nan_probabilities_belong_to_no_particle():
    p = np.full((1, 16, 16), np.nan, np.float32)
    p[0, 3, 3] = 0.9
    found = segment(prepared(p), Given(), SegmentOptions())
    assert masks(found).sum() == 1
    assert found[0].runs.probability_sum.tolist() == [round(0.9 * 65_535)]


def test_the_last_batch_of_a_gpu_is_padded_by_repetition():
    images = torch.arange(2 * 4 * 4, dtype=torch.float32).reshape(2, 4, 4)
    padded = segmenting._padded_batch(images, 5)
    assert padded.shape == (5, 4, 4)
    assert torch.equal(padded[:2], images)
    assert all(torch.equal(padded[k], images[1]) for k in (2, 3, 4))
    assert segmenting._padded_batch(images, 2) is images


def simulated(n=5, shape=(150, 187)):
    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference
    from insitu.simulate import random_scene

    frames = [
        random_scene(np.random.default_rng([5, k]), shape, mode="bright-field", empty=0.0, dtype="uint16")[0]
        for k in range(n)
    ]
    options = PrepareOptions()
    return prepare(np.stack(frames), options, reference([(0, frames[0])], options, "dark"))


@pytest.mark.parametrize("name", ["classical", "shallow", "unet", "resunet"])
def test_masks_do_not_depend_on_the_batch(name):
    from insitu import models
    from insitu.models.checkpoint import build
    from insitu.models.network import Network

    if name in models.METHODS or any(w.startswith(f"{name}-") for w in models.weights()):
        model = models.load(name)
    else:
        model = Network(build(name), name, {})
    given = simulated()
    reference = segment(given, model, SegmentOptions(batch=1))
    assert sum(len(s.runs) for s in reference) > 20
    for batch in (3, 8):
        again = segment(given, model, SegmentOptions(batch=batch))
        for a, b in zip(reference, again, strict=True):
            for field in ("row", "start", "stop", "intensity_sum", "probability_sum"):
                np.testing.assert_array_equal(getattr(a.runs, field), getattr(b.runs, field))
    one = Prepared(given.input[3:4], given.counts[3:4])
    alone = segment(one, model, SegmentOptions())[0]
    np.testing.assert_array_equal(alone.runs.probability_sum, reference[3].runs.probability_sum)


def test_the_same_run_twice_gives_the_same_bits():
    given = simulated(2)
    a, b = (segment(given, Classical(), SegmentOptions()) for _ in range(2))
    for one, two in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.runs.probability_sum, two.runs.probability_sum)


def test_bfloat16_is_for_networks_only():
    given = simulated(1)
    exact, rough = (segment(given, Classical(), SegmentOptions(precision=p))[0] for p in ("float32", "bfloat16"))
    np.testing.assert_array_equal(exact.runs.probability_sum, rough.runs.probability_sum)


def test_the_device_path_needs_numpy_and_torch_alone():
    program = """
import sys
for name in ("numba", "safetensors", "pydantic", "scipy", "pandas", "zarr", "skimage", "tifffile", "matplotlib"):
    sys.modules[name] = None
import numpy as np
from insitu import models
from insitu.options import PrepareOptions, SegmentOptions
from insitu.prepare import prepare, reference
from insitu.segment import segment
image = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.uint8)
image[20:40, 20:40] -= 50
options = PrepareOptions()
given = prepare(image[None], options, reference([(0, image)], options))
for name in models.names():
    runs = segment(given, models.load(name), SegmentOptions())[0].runs
    print(name, int((runs.stop - runs.start).sum()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    areas = dict(line.split() for line in done.stdout.splitlines())
    assert 350 < int(areas["default"]) < 450


def test_bfloat16_changes_few_pixels():
    from insitu.models.checkpoint import build
    from insitu.models.network import Network
    from insitu.train.loop import seeded

    model = Network(seeded(lambda: build("resunet"), 3), "fresh", {})
    given = simulated(2)
    exact, rough = (masks(segment(given, model, SegmentOptions(precision=p))) for p in ("float32", "bfloat16"))
    assert (exact != rough).mean() < 0.05


def test_nothing_global_is_left_changed():
    before = (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.is_autocast_enabled("cpu"))
    segment(simulated(1), Classical(), SegmentOptions())
    after = (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.is_autocast_enabled("cpu"))
    assert before == after
    assert torch.is_grad_enabled()


def test_devices():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")
    for wrong in ("gpu", "cuda:", "cuda:x", "mps", "cuda:-1"):
        with pytest.raises(CommandError, match="no device") as caught:
            resolve_device(wrong)
        assert "cuda:N" in caught.value.hint
    with pytest.raises(CommandError, match="is not there"):
        resolve_device("cuda:99")
