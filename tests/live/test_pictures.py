from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from live_cases import event_of, image_of, result_of
from PIL import Image

from insitu.figures import PALETTE
from insitu.live.pictures import Drawer, around, take
from insitu.measure import measure
from insitu.options import MeasureOptions
from insitu.runs import components, find_runs
from insitu.types import Frame, FrameResult, Header


def decoded(jpeg):
    with Image.open(BytesIO(jpeg)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def coloured(picture):
    return (picture.max(axis=2) - picture.min(axis=2)) > 60


def one(image, mask, ids, **kw):
    measured = measure(components(find_runs(mask, **kw)), MeasureOptions())
    frame = Frame(0, image, "ok", (), Header("m", 0))
    return FrameResult(frame, measured.runs, measured.particles, np.array(ids))


def test_pixels_are_copied_because_their_slot_is_used_again():
    result = result_of()
    before = result.frame.image.copy()
    shot = take(result, 0.0)
    result.frame.image[:] = 0
    np.testing.assert_array_equal(shot.image, before)


def test_a_frame_without_pixels_has_no_picture():
    assert take(result_of(status="bad"), 0.0) is None


@pytest.mark.parametrize("track", range(7))
def test_the_outline_lies_on_the_particle_in_the_colour_of_its_track(track):
    image, mask = np.full((400, 500), 200, np.uint8), np.zeros((400, 500), bool)
    mask[100:140, 300:360] = True
    image[mask] = 50
    picture = decoded(Drawer().jpeg(take(one(image, mask, [track]), 0.0)))
    rows, columns = np.nonzero(coloured(picture))
    assert rows.min() in (98, 99)
    assert rows.max() in (140, 141)
    assert columns.min() in (298, 299)
    assert columns.max() in (360, 361)
    assert not coloured(picture)[103:137, 303:357].any()
    assert abs(picture[120, 299:301].mean(axis=0) - PALETTE[track % len(PALETTE)]).max() < 30


def test_outlines_can_be_left_out():
    shot = take(result_of(), 0.0)
    assert coloured(decoded(Drawer().jpeg(shot))).any()
    assert not coloured(decoded(Drawer().jpeg(shot, outlines=False))).any()


def test_a_large_frame_is_made_smaller_and_its_outlines_with_it():
    image, mask = np.full((2048, 1500), 200, np.uint16), np.zeros((2048, 1500), bool)
    mask[1000:1100, 600:700] = True
    image[mask] = 50
    shot = take(one(image, mask, [0]), 0.0)
    assert shot.stride == 2
    rows, columns = np.nonzero(coloured(decoded(Drawer().jpeg(shot))))
    assert abs(rows.min() - 500) <= 1
    assert abs(rows.max() - 550) <= 1
    assert abs(columns.min() - 300) <= 1


def test_outlines_lie_right_under_binning_and_crop():
    image = np.full((500, 600), 200, np.uint8)
    image[200:240, 300:360] = 50
    mask = np.zeros((100, 150), bool)  # camera rows 100–300, columns 200–500, two px a side
    mask[50:70, 50:80] = True
    shot = take(one(image, mask, [0], origin=(100, 200), bin=2), 0.0)
    assert shot.image.shape == (200, 300)
    assert (shot.image[100:140, 100:160] == 50).all()
    rows, columns = np.nonzero(coloured(decoded(Drawer().jpeg(shot))))
    assert abs(rows.min() - 100) <= 1
    assert abs(columns.max() - 160) <= 1


def test_grey_levels_do_not_flicker_but_follow_a_change_of_the_beam():
    drawer, (image, mask) = Drawer(), image_of(shape=(400, 500))

    def level(scale):
        shot = take(one((image * scale).astype(np.float32), mask, range(5)), 0.0)
        return np.median(decoded(drawer.jpeg(shot, outlines=False)))

    usual = level(1.0)
    assert abs(level(1.1) - usual) > 15  # what was brighter is seen to be
    assert abs(level(100.0) - usual) < 15


@pytest.mark.parametrize("fill", [0, 7, np.nan])
def test_a_frame_of_one_value_is_drawn(fill):
    image = np.full((64, 64), fill, np.float32)
    nothing = np.zeros((64, 64), bool)
    assert decoded(Drawer().jpeg(take(one(image, nothing, []), 0.0))).shape == (384, 384, 3)


def test_the_surroundings_of_an_event_are_cut_where_it_is():
    image, mask = np.full((400, 500), 200, np.uint8), np.zeros((400, 500), bool)
    mask[195:205, 295:305] = True
    image[mask] = 50
    cut = around(take(one(image, mask, [3]), 0.0), event_of(0, y=199.5, x=299.5))
    assert cut.image.shape == (64, 64)
    rows, columns = np.nonzero(cut.image < 100)
    assert abs(rows.mean() - 31.5) <= 1
    assert abs(columns.mean() - 31.5) <= 1
    np.testing.assert_array_equal(cut.labels > 0, cut.image < 100)
    assert coloured(decoded(Drawer().thumbnail(cut))).any()


def test_an_event_in_a_corner_or_of_a_large_particle_has_surroundings_too():
    image, mask = np.full((100, 90), 200, np.uint8), np.zeros((100, 90), bool)
    shot = take(one(image, mask, []), 0.0)
    corner = around(shot, event_of(0, y=0.0, x=89.0))
    assert corner.image.shape == (64, 64)
    assert (corner.image[32:, :32] == 200).all()
    assert around(shot, event_of(0, y=99.0, x=0.0, child_areas_px=(900,))).image.shape == (90, 90)
    assert around(shot, event_of(0, y=500.0, x=900.0)).image.shape == (64, 64)  # a track that was carried out


def test_labels_of_the_surroundings_are_those_of_the_frame():
    rng = np.random.default_rng(5)
    mask = rng.random((300, 260)) > 0.6
    shot = take(one(np.ones((300, 260), np.uint8), mask, range(5000)), 0.0)
    from insitu.runs import paint

    cut = around(shot, event_of(0, y=150.0, x=200.0))
    np.testing.assert_array_equal(cut.labels, paint(shot.runs)[118:182, 168:232])
