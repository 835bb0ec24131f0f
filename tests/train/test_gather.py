"""Labels that users give: what is accepted, what is refused, and what is said."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from insitu.errors import CommandError, InputError
from insitu.train.gather import polarity, read_movie
from insitu.train.split import leaks, split


@pytest.fixture
def disc():
    y, x = np.mgrid[:48, :56]
    return (y - 20) ** 2 + (x - 30) ** 2 < 81


def written(tmp_path, images, labels):
    tifffile.imwrite(tmp_path / "images.tif", images, photometric="minisblack")
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    return str(tmp_path / "images.tif"), str(tmp_path / "labels.tif")


def pictures(disc, n=3, depth=30, dtype=np.uint8):
    rng = np.random.default_rng(1)
    return np.clip(rng.normal(120, 6, (n, *disc.shape)) - depth * disc, 0, None).astype(dtype)


def test_masks_and_instances_give_numbered_particles(tmp_path, disc):
    two = disc.copy()
    two[40:46, 3:9] = True
    masks = np.stack([disc, two, disc]).astype(np.uint8) * 255
    movie = read_movie(*written(tmp_path, pictures(disc), masks))
    assert [int(labels.max()) for labels in movie.labels] == [1, 2, 1]
    numbered = np.where(two, 7, 0) + np.where(two & ~disc, 4, 0)
    movie = read_movie(*written(tmp_path, pictures(disc), np.stack([numbered] * 3).astype(np.uint16)))
    assert set(np.unique(movie.labels[0])) == {0, 1, 2}
    np.testing.assert_array_equal(movie.labels[0] > 0, two)


def test_pixels_of_the_unknown_value_are_neither(tmp_path, disc):
    drawn = disc.astype(np.uint8)
    drawn[:5] = 200
    movie = read_movie(*written(tmp_path, pictures(disc), np.stack([drawn] * 3)), unknown=200)
    assert movie.unknown[0][:5].all()
    assert not movie.unknown[0][5:].any()
    assert int(movie.labels[0].max()) == 1


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (lambda d: np.stack([d] * 2).astype(np.uint8), CommandError, "2 label images for the 3 images"),
        (lambda d: np.stack([d[:40]] * 3).astype(np.uint8), CommandError, "40×56 px"),
        (lambda d: np.zeros((3, *d.shape), np.uint8), CommandError, "no particle in any label image"),
        (lambda d: np.stack([d] * 3).astype(np.int16) * -1, InputError, "holds the value -1"),
        (lambda d: np.stack([d] * 3).astype(np.float32) * 0.4, InputError, "between whole numbers"),
        (lambda d: pictures(d, 3, 100), InputError, "looks like a picture"),
        (lambda d: np.stack([d] * 3).astype(np.uint8) + 1, InputError, "no pixel that is 0"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused(tmp_path, disc, labels, error, message):
    drawn = labels(disc)
    if drawn.dtype == np.uint8 and message.startswith("looks"):
        drawn = np.random.default_rng(0).integers(0, 255, drawn.shape).astype(np.uint8)
    with pytest.raises(error, match=message) as caught:
        read_movie(*written(tmp_path, pictures(disc), drawn))
    assert caught.value.hint


def test_labels_in_colour_are_refused(tmp_path, disc):
    images, labels = written(tmp_path, pictures(disc), np.stack([disc] * 3).astype(np.uint8))
    coloured = np.stack([disc * 10, disc * 20, disc * 30], axis=-1).astype(np.uint8)
    tifffile.imwrite(labels, np.stack([coloured] * 3), photometric="rgb")
    with pytest.raises(InputError, match="in colour: its numbers are lost"):
        read_movie(images, labels)


def test_small_images_are_refused(tmp_path):
    with pytest.raises(CommandError, match="too small to learn from"):
        read_movie(*written(tmp_path, np.ones((2, 20, 20), np.uint8), np.ones((2, 20, 20), np.uint8)))


def test_what_a_user_must_know_is_noted(tmp_path, disc):
    masks = np.stack([disc, disc, disc & False]).astype(np.uint8)
    movie = read_movie(*written(tmp_path, pictures(disc, dtype=np.uint16) * 16, masks))
    assert any("12 of 16 bits" in note for note in movie.notes)
    assert any("1 of 3 label images" in note for note in movie.notes)
    assert read_movie(*written(tmp_path, pictures(disc, 9), np.stack([disc] * 9).astype(np.uint8)), most=3).frames == [
        0,
        4,
        8,
    ]


def test_the_labels_decide_the_contrast_and_a_contradiction_is_said(tmp_path, disc):
    masks = np.stack([disc] * 3).astype(np.uint8)
    plain = read_movie(*written(tmp_path, pictures(disc), masks))
    assert polarity(plain) == "dark"
    assert not any("contrast" in note for note in plain.notes)
    # a faint bright particle beside a strong dark stain that is not labelled
    stained = pictures(disc, depth=-18).astype(np.int16)
    stained[:, 34:, :24] -= 90
    movie = read_movie(*written(tmp_path, stained.astype(np.uint8), masks))
    assert polarity(movie) == "bright"
    assert any("segment.polarity=bright" in note for note in movie.notes)


def test_whole_movies_are_set_aside_and_a_copy_is_suspected(tmp_path, disc):
    masks = np.stack([disc] * 3).astype(np.uint8)
    movies = []
    for k in range(3):
        folder = tmp_path / str(k)
        folder.mkdir()
        moved = np.roll(disc, (0, 9 * k, 9 * k)[k] - 12, axis=(0, 1)) if k < 2 else np.roll(disc, -12, axis=(0, 1))
        movies.append(read_movie(*written(folder, pictures(moved), masks)))
    chosen = split(movies, 0.3, seed=1)
    assert len(chosen.movies) == 1
    assert chosen.strip == 0
    assert len(leaks(movies, [0])) == 1  # the third shows the same field as the first
    assert "correlation" in leaks(movies, [0])[0]
    assert leaks(movies, [1]) == []
    alone = split(movies[:1], 0.25, seed=1)
    assert alone.movies == ()
    assert alone.strip == 0.25
    assert split(movies, 0.0, seed=1).about == "none"
