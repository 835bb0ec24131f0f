"""What runs on a GPU, run on the CPU: uploads, sums, batches that halve, kernels that are replayed, streams."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from insitu import prepare as preparing
from insitu import segment as segmenting
from insitu.errors import ResourceError
from insitu.models.architectures import build
from insitu.models.batching import Replayed, halved, largest_batch
from insitu.models.network import Network
from insitu.options import PrepareOptions, SegmentOptions
from insitu.prepare import pinned, prepare, reference, slots, summed, uploaded
from insitu.segment import own_stream, segment
from insitu.types import Prepared


def counts(dtype, shape=(2, 40, 52)):
    info = np.iinfo(dtype)
    return np.random.default_rng(0).integers(info.min, info.max, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("options", [PrepareOptions(), PrepareOptions(bin=2, crop=(3, 5, 38, 50), hot_pixels="median")])
def test_frames_uploaded_in_the_camera_s_dtype_are_prepared_as_on_the_host(dtype, options):
    images = counts(dtype)
    taken = reference([(0, images[0])], options)
    host = prepare(images, options, taken)
    raw = uploaded(preparing._cropped(images, options), "cpu")
    assert raw.element_size() == images.itemsize
    image = preparing._averaged(preparing._as_float(raw), options)
    np.testing.assert_array_equal(summed(raw, options.bin).numpy(), host.counts)
    for frame, wanted in zip(image, host.input, strict=True):
        sign = preparing._SIDES[taken.polarity]
        level, scale = preparing._level_and_scale(
            preparing._sample(frame, preparing._count_step(images.dtype, options)), sign
        )
        torch.testing.assert_close((frame - level) * (sign / scale), wanted, rtol=1e-6, atol=1e-6)


def test_a_slot_has_the_camera_s_dtype_and_is_written_to():
    slot = pinned((2, 3, 4), np.dtype(np.uint16))
    slot[...] = 65_535
    assert (slot.shape, slot.dtype) == ((2, 3, 4), np.uint16)
    assert uploaded(slot, "cpu").data_ptr() == slot.ctypes.data
    assert slots("cuda:0") is pinned
    assert slots("cpu") is np.empty


class Small:
    """A model whose memory holds `fits` frames."""

    name, threshold, multiple = "small", 0.5, 1

    def __init__(self, fits):
        self.fits, self.calls = fits, []

    def probabilities(self, images):
        self.calls.append(len(images))
        if len(images) > self.fits:
            raise torch.OutOfMemoryError
        return images


def batch(frames=7):
    image = np.random.default_rng(0).random((frames, 9, 11)).astype(np.float32)
    return Prepared(input=torch.from_numpy(image), counts=np.ones(image.shape, np.uint16))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(segmenting, "_batch_shape", lambda _, options: options.batch)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_where_memory_runs_out_the_batch_halves_once_and_for_all_and_the_frame_says_so():
    model = Small(fits=2)
    whole = segment(batch(), Small(fits=99), SegmentOptions(batch=8))
    found = segment(batch(), model, SegmentOptions(batch=8))
    assert model.calls == [8, 4, 2, 2, 2, 2]
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one.runs.start, other.runs.start)
        np.testing.assert_array_equal(one.runs.probability_sum, other.runs.probability_sum)
    assert [bool(one.flags) for one in found] == [True] + [False] * 6
    assert found[0].flags == ("memory ran out: 2 frames at a time from here on",)
    model.calls.clear()
    assert not any(one.flags for one in segment(batch(), model, SegmentOptions(batch=8)))
    assert model.calls == [2, 2, 2, 2]


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_frame_that_does_not_fit_at_all_is_an_error_with_a_remedy():
    with pytest.raises(ResourceError, match="one frame does not fit") as error:
        segment(batch(2), Small(fits=0), SegmentOptions(batch=2))
    assert "prepare.bin" in error.value.hint


def test_the_smaller_batch_is_of_one_model():
    one, other = Small(1), Small(1)
    assert halved(one, 8) == 4
    assert (largest_batch(one, 8), largest_batch(one, 2), largest_batch(other, 8)) == (4, 2, 8)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_gives_the_same_masks_in_batches_padded_to_their_shape(precision):
    torch.manual_seed(1)
    model = Network(build("resunet"), "fresh", {"threshold": 0.5})
    options = {"precision": precision}
    one = segment(batch(), model, SegmentOptions(batch=1, **options))
    four = segment(batch(), model, SegmentOptions(batch=4, **options))
    pixels = differing = 0
    for a, b in zip(one, four, strict=True):
        masks = [np.zeros((9, 11), bool) for _ in range(2)]
        for mask, runs in zip(masks, (a.runs, b.runs), strict=True):
            for row, start, stop in zip(runs.row, runs.start, runs.stop, strict=True):
                mask[row, start:stop] = True
        pixels += masks[0].size
        differing += int((masks[0] ^ masks[1]).sum())
    assert differing <= 0.01 * pixels


def recorded(calls):
    def record(function, example):
        calls.append(tuple(example.shape))
        static, out = example.clone(), function(example).clone()
        return static, lambda: out.copy_(function(static)), out

    return record


def test_replayed_kernels_give_what_the_function_gives_and_results_are_not_written_over():
    calls = []
    double = Replayed(lambda x: 2 * x, record=recorded(calls))
    results = [double(torch.full((2, 3), float(k))) for k in range(4)]
    assert calls == [(2, 3)]
    assert [float(r.mean()) for r in results] == [0.0, 2.0, 4.0, 6.0]
    double(torch.ones(1, 3))
    assert calls == [(2, 3), (1, 3)]


def test_what_cannot_be_recorded_is_called_and_the_reason_kept():
    def fails(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    plain = Replayed(lambda x: x + 1, record=fails)
    assert float(plain(torch.zeros(1))) == 1.0
    assert plain.reason == "operation not permitted when stream is capturing"
    assert float(plain(torch.ones(1))) == 2.0


def test_on_a_cpu_there_is_no_stream():
    with own_stream("cpu"):
        pass


def test_the_benchmark_of_the_device_runs_with_numpy_and_torch_alone():
    code = """if True:
        import sys
        for name in ("numba", "scipy", "pandas", "pydantic", "skimage", "tifffile", "safetensors", "zarr", "psutil"):
            sys.modules[name] = None
        sys.argv = ["device", "--device", "cpu", "--shape", "96", "128", "--frames", "4", "--batches", "2",
                    "--models", "shallow", "classical"]
        from benchmarks.device import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "GPU not measured" in done.stdout
    *_, table = done.stdout.partition("# One GPU")
    assert table.count("| shallow") == 2  # uint8 and uint16
