"""Frames beside each other: order, errors, identical bytes, and what the metrics say."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
import torch

from insitu import segment as segmenting
from insitu.cli.profile import limit, table
from insitu.lanes import Lanes, number_of_lanes
from insitu.options import SegmentOptions
from insitu.pipeline import process, stream
from insitu.prepare import prepare
from insitu.progress import Stopwatch
from insitu.segment import PREVIEW, resolve_precision, segment
from insitu.settings import load
from insitu.simulate import Simulation
from insitu.types import Prepared

MOVIE = Simulation(shape=(192, 160), frames=9, particles=12, seed=5, dose_e_per_px=60.0)
FRAMES = [MOVIE.frame(k) for k in range(9)]


def settings(**values):
    return load(given={k.replace("__", "."): (v, "test") for k, v in values.items()})


def found(**values):
    return [
        (r.frame.index, r.runs.row.tobytes(), r.runs.start.tobytes(), r.ids.tobytes(), r.runs.probability_sum.tobytes())
        for r in stream(list(FRAMES), settings=settings(**values))
    ]


@pytest.mark.parametrize("model", ["classical", "resunet"])
def test_neither_lanes_nor_batches_change_a_bit(model):
    one = found(segment__model=model, segment__lanes=1)
    assert [k for k, *_ in one] == list(range(9))
    assert found(segment__model=model, segment__lanes=3) == one
    assert found(segment__model=model, segment__lanes=2, segment__batch=4, read__prefetch_frames=1) == one


def test_results_come_in_order_and_lanes_work_beside_each_other():
    both, seen = threading.Barrier(2, timeout=10), []

    def work(k):
        both.wait()
        time.sleep(0.02 * (k % 2 == 0))
        seen.append(k)
        return k

    lanes = Lanes(work, 2)
    assert [f.result() for f in [lanes.put(k) for k in range(6)]] == list(range(6))
    lanes.close()
    assert seen != sorted(seen)


def test_each_lane_computes_on_one_thread():
    lanes = Lanes(lambda _: torch.get_num_threads(), 2)
    assert lanes.put(None).result() == 1
    lanes.close()


def test_lanes_follow_the_device_unless_told_otherwise():
    assert number_of_lanes(0, "cpu") >= 1
    assert number_of_lanes(0, "cuda:0") == 2
    assert number_of_lanes(5, "cpu") == 5


def test_an_error_comes_in_its_turn_and_all_threads_end():
    def broken(images, *_):
        if (images[0] == FRAMES[5]).all():
            raise RuntimeError("broken")
        return prepare(images, *_)

    done = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("insitu.prepare.prepare", broken)
        with pytest.raises(RuntimeError, match="broken"):
            done.extend(
                r.frame.index
                for r in stream(list(FRAMES), settings=settings(segment__lanes=3, events__contact_frames=0))
            )
    assert done == sorted(done)
    assert max(done, default=0) <= 5
    assert not [t for t in threading.enumerate() if t.name.startswith("insitu-")]


def test_run_json_says_what_each_stage_cost_and_the_profile_which_one_limits(tmp_path):
    process(list(FRAMES), tmp_path / "out", settings(segment__lanes=2))
    metrics = json.loads((tmp_path / "out" / "run.json").read_text())["metrics"]
    assert set(metrics["stages"]) >= {"read", "prepare", "segment", "measure", "link", "store"}
    assert metrics["lanes"] == 2
    assert metrics["bytes_read"] == 9 * FRAMES[0].nbytes
    assert metrics["queues"]["frames read ahead"]["mean"] >= 0
    lines = table(metrics)
    assert lines[-1].startswith(f"limits: {limit(metrics).stage} ")
    assert sum(line.lstrip().startswith(("read ", "segment ", "store ")) for line in lines) == 3


@pytest.mark.parametrize(
    ("slow", "threads"), [("read", "reader"), ("segment", "lanes"), ("prepare", "lanes"), ("store", "in order")]
)
def test_the_busiest_threads_limit(slow, threads):
    names = ("read", "prepare", "segment", "measure", "link", "store")
    stages = {name: {"wall_s": 9.0 if name == slow else 1.0, "cpu_s": 1.0} for name in names}
    found = limit({"running_s": 10.0, "lanes": 1, "stages": stages})
    assert (found.stage, found.threads) == (slow, threads)


def test_nothing_limits_a_run_without_frames():
    assert limit({"running_s": 1.0, "stages": {}}) is None
    assert table({}) == ["profile: no frame was analysed"]


def test_a_stopwatch_adds_up_from_several_threads():
    watch = Stopwatch()

    def work():
        for _ in range(50):
            with watch.stage("a"):
                watch.gauge("q", 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert watch.queues() == {"q": {"mean": 2.0, "most": 2}}
    assert watch.summary()["a"]["wall_s"] >= 0


class Reduced:
    reduced = True


def test_the_precision_is_resolved_once_and_never_below_float32_without_a_network(monkeypatch):
    for has, wanted in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(segmenting, "cpu_has_bfloat16", lambda has=has: has)
        assert resolve_precision("auto", "cpu", Reduced()) == wanted
        assert resolve_precision("auto", "cpu", object()) == "float32"
        assert resolve_precision("float32", "cpu", Reduced()) == "float32"
    assert resolve_precision("auto", "cuda", Reduced()) == "bfloat16"


def test_a_preview_is_coarse_lies_in_the_right_place_and_says_so():
    image = np.kron(np.eye(2), np.ones((31, 40))).astype(np.float32)[None]
    ready = Prepared(input=torch.from_numpy(image), counts=np.ones(image.shape, np.uint16))

    class Given:
        name, threshold = "given", 0.5
        probabilities = staticmethod(lambda images: images)

    fine = segment(ready, Given(), SegmentOptions())[0]
    coarse = segment(ready, Given(), SegmentOptions(preview=4))[0]
    assert fine.flags == ()
    assert coarse.flags == (PREVIEW,)
    a, b = (np.zeros((62, 80), bool) for _ in range(2))
    for mask, runs in ((a, fine.runs), (b, coarse.runs)):
        for row, start, stop in zip(runs.row, runs.start, runs.stop, strict=True):
            mask[row, start:stop] = True
    assert (a ^ b).mean() < 0.03
    for axis in (0, 1):
        assert abs(np.nonzero(a)[axis].mean() - np.nonzero(b)[axis].mean()) < 1
