from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label

from insitu import figures
from insitu.figures import Mark, Scene


def scene(**changes):
    image = np.full((60, 80), 200, np.uint16)
    image[20:30, 10:25] = 100
    image[40:55, 50:70] = 100
    values = {
        "image": image,
        "labels": label(image == 100),
        "ids": np.array([5, 3]),
        "tails": {5: np.array([[10.0, 10.0], [24.5, 17.0]])},
        "marks": [Mark("coalescence", 47.0, 60.0)],
        "nm_per_px": 0.5,
        "caption": "frame 3 · 0.010 s",
    }
    return Scene(**(values | changes))


def picture(tmp_path, drawn, **options):
    figures.overlay(tmp_path / "o.png", drawn, **options)
    with Image.open(tmp_path / "o.png") as file:
        return np.asarray(file.convert("RGB")).astype(int)


def has(pixels, shade):
    """Whether some pixels have nearly this colour (anti-aliased lines seldom have it exactly)."""
    return (np.abs(pixels - np.array(shade)).max(axis=2) < 40).sum() > 20


def test_outlines_have_the_colour_of_the_track_and_lie_on_the_border(tmp_path):
    pixels = picture(tmp_path, scene(marks=[]))
    side = pixels.shape[1] / 80
    for rows, columns, track in (((20, 30), (10, 25), 5), ((40, 55), (50, 70), 3)):
        shade = figures.colour(track)
        box = pixels[
            int((rows[0] - 1) * side) : int((rows[1] + 1) * side),
            int((columns[0] - 1) * side) : int((columns[1] + 1) * side),
        ]
        assert has(box, shade)
        middle = pixels[
            int((rows[0] + 3) * side) : int((rows[1] - 2) * side),
            int((columns[0] + 9) * side) : int((columns[1] - 2) * side),
        ]
        assert not has(middle, shade)


def strip(pixels):
    """The left of the strip under the image, where the scale bar is."""
    return pixels[int(60 / 80 * pixels.shape[1]) + 10 :, : pixels.shape[1] // 4]


def test_a_scale_bar_only_where_the_pixel_size_is_known(tmp_path):
    assert strip(picture(tmp_path, scene())).max() == 255
    assert strip(picture(tmp_path, scene(nm_per_px=None))).max() == 0


def test_the_scale_bar_has_its_length(tmp_path):
    pixels = strip(picture(tmp_path, scene(nm_per_px=0.5, caption="")))
    length, text = figures.bar_length(80, 0.5)
    assert (length, text) == (10.0, "5 nm")
    lit = np.flatnonzero((pixels.min(axis=2) > 128).any(axis=0))
    bar = lit[: np.flatnonzero(np.diff(lit) > 1)[0] + 1]
    expected = length / 80 * 1120 * min(1.0, 80 / 60) / (1120 / picture(tmp_path, scene()).shape[1])
    assert len(bar) == pytest.approx(expected, abs=3)


def test_events_are_ringed_and_numbers_are_written_when_asked(tmp_path):
    assert has(picture(tmp_path, scene()), figures.event_colour("coalescence"))
    assert not has(picture(tmp_path, scene(marks=[])), figures.event_colour("coalescence"))
    plain, numbered = picture(tmp_path, scene(marks=[])), picture(tmp_path, scene(marks=[]), numbers=True)
    assert (plain != numbered).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.zeros((60, 80), int), "ids": np.zeros(0, int), "tails": {}, "marks": []},
        {"image": np.zeros((60, 80), np.uint8)},
        {"image": np.full((60, 80), np.nan, np.float32)},
        {"labels": np.ones((60, 80), int), "ids": np.array([0])},
        {"marks": [Mark("lost", 59.0, 79.0), Mark("lost", 0.0, 0.0), Mark("lost", 0.5, 0.5)]},
    ],
)
def test_odd_scenes_are_drawn_all_the_same(tmp_path, changes):
    assert picture(tmp_path, scene(**changes)).shape[2] == 3


@pytest.mark.parametrize(
    ("width", "nm_per_px", "length", "text"),
    [
        (512, 0.2, 100.0, "20 nm"),
        (1851, 0.1635, 50 / 0.1635, "50 nm"),
        (512, 0.01, 100.0, "1 nm"),
        (512, 0.005, 100.0, "0.5 nm"),
        (512, 10.0, 100.0, "1 µm"),
        (512, 30.0, 2000 / 30, "2 µm"),
    ],
)
def test_bar_length_is_a_round_number_near_a_fifth_of_the_width(width, nm_per_px, length, text):
    found, said = figures.bar_length(width, nm_per_px)
    assert (found, said) == (pytest.approx(length), text)
    assert 0.08 * width <= found <= 0.2 * width


def test_outline_runs_between_the_pixels_of_a_particle_and_the_others():
    labels = np.zeros((9, 9), int)
    labels[3:5, 2:7] = 1
    labels[6, 6] = 2
    [contour] = figures.outline(labels, 1)
    assert contour.min(axis=0).tolist() == [2.5, 1.5]
    assert contour.max(axis=0).tolist() == [4.5, 6.5]
    assert contour[0].tolist() == contour[-1].tolist()
    assert figures.outline(labels, 3) == []
    at_corner = np.zeros((4, 4), int)
    at_corner[0, 0] = 1
    assert figures.outline(at_corner, 1)[0].min(axis=0).tolist() == [-0.5, -0.5]


def test_display_range_ignores_hot_pixels_and_survives_flat_images():
    image = np.random.default_rng(0).normal(100, 5, (64, 64))
    image[3, 3] = 1e6
    low, high = figures.display_range(image)
    assert 80 < low < 95
    assert 105 < high < 130
    assert figures.display_range(np.zeros((4, 4), np.uint8)) == (0.0, 1.0)
    assert figures.display_range(np.full((4, 4), np.nan)) == (0.0, 1.0)


def test_counts_have_their_number():
    assert figures.count_of(scene()) == "2 particles"
    assert figures.count_of(scene(ids=np.array([1]))) == "1 particle"


def test_neighbouring_colours_differ_for_people_who_see_no_red_or_green():
    """Lightness and the blue-yellow axis alone must tell the colours of a palette apart."""
    seen = [(0.3 * r + 0.6 * g + 0.1 * b, b - (r + g) / 2) for r, g, b in figures.PALETTE]
    for k, first in enumerate(seen):
        for second in seen[k + 1 :]:
            assert np.hypot(first[0] - second[0], first[1] - second[1]) > 20
