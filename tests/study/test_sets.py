"""Images and labels stay together, groups stay whole, and a change changes what it says and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from insitu.errors import CommandError, InputError
from insitu.study import regimes
from insitu.study.config import Changed, Labelled, Simulated
from insitu.study.labelled import Raw, read_labelled
from insitu.study.sets import Sets, example_of, pairs_of, to_8_bits

TINY = {"kind": "simulated", "images": 3, "held_out": 2, "side_px": 64, "radius_px": (5, 10), "plain": True}


def simulated(**changes):
    return Simulated.model_validate(TINY | changes)


def test_a_set_follows_from_its_settings_and_its_parts_share_no_image():
    sets = {"a": simulated(), "again": simulated(), "other": simulated(seed=2)}
    made = Sets(sets)
    np.testing.assert_array_equal(made["a"].pairs.images, made["again"].pairs.images)
    assert not np.array_equal(made["a"].pairs.images, made["other"].pairs.images)
    assert made.fingerprint("a") == made.fingerprint("again") != made.fingerprint("other")
    train, test = ([e.image for e in part] for part in (made["a"].learned_from, made["a"].held_out))
    assert not any(np.array_equal(x, y) for x in train for y in test)


def test_what_a_set_is_asked_for_is_what_it_draws():
    options = simulated(
        contrast=(0.2, 0.3), coverage=(0.1, 0.2), support=(0.01, 0.02), nm_per_px=0.06, lattice_nm=0.2355, empty=0.0,
        optics="phase", hot_fraction=1e-3,
    )  # fmt: skip
    for k in range(8):
        c = regimes.conditions_of(options, np.random.default_rng(k), "bright-field")
        assert 0.2 <= c.contrast <= 0.3
        assert 0.1 <= c.coverage <= 0.2
        assert 0.01 <= c.support_rms <= 0.02
        assert (c.nm_per_px, c.lattice_nm, c.lattice) == (0.06, 0.2355, 0.3)
        assert c.detector.hot_fraction == 1e-3
        assert c.lens is not None
    assert regimes.conditions_of(simulated(optics="absorption"), np.random.default_rng(0), "dark-field").lens is None
    with pytest.raises(CommandError, match="not resolved"):
        regimes.scene(simulated(nm_per_px=0.5, lattice_nm=0.2355), 1, 0)


def test_both_modes_come_and_particles_are_positive_in_either():
    options = simulated(mode="both", images=12, contrast=(0.4, 0.6), empty=0.0, dose_e_per_px=(100, 200))
    modes = {regimes.scene(options, 1, k)[2] for k in range(12)}
    assert modes == {"bright-field", "dark-field"}
    for e in Sets({"a": options})["a"].learned_from:
        if e.truth.any():
            assert e.image[e.truth > 0].mean() > e.image[e.truth == 0].mean() + 0.5


def raw(shape=(64, 96), seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    labels[20:40, 30:50] = 1
    counts = rng.poisson(400, shape) - 150 * (labels > 0)
    return Raw("r", counts.astype(np.uint16), labels, dark=True)


def test_eight_bits_keep_the_range_and_lose_the_rest():
    counts = raw().counts
    squeezed = to_8_bits(counts)
    assert (squeezed.min(), squeezed.max()) == (0, 255)
    back = squeezed / 255 * (float(counts.max()) - counts.min()) + counts.min()
    assert np.abs(back - counts).max() <= 0.51 * (float(counts.max()) - counts.min()) / 255
    assert (to_8_bits(np.full((4, 4), 7)) == 0).all()


def test_a_smaller_image_is_scored_on_the_full_one():
    change = Changed.model_validate({"kind": "changed", "from": "a", "shrink": 2})
    whole, half = example_of(raw(), Changed.model_validate({"kind": "changed", "from": "a"})), example_of(raw(), change)
    assert half.image.shape == (32, 48)
    np.testing.assert_array_equal(half.truth, whole.truth)
    np.testing.assert_array_equal(half.learn, whole.learn[::2, ::2])
    # averaging halves the noise, and prepare puts it back to 1: particles stand twice as high
    heights = [e.image[e.learn].mean() for e in (whole, half)]
    assert heights[1] / heights[0] == pytest.approx(2.0, rel=0.15)


def test_tiles_cover_the_image_and_empty_ones_can_be_dropped():
    e = example_of(raw((70, 100)), Changed.model_validate({"kind": "changed", "from": "a"}))
    kept, dropped = (pairs_of([e], 32, drop_empty=d) for d in (False, True))
    assert kept.images.shape == (3 * 4, 32, 32)
    assert 0 < len(dropped) < len(kept)
    assert dropped.masks.any(axis=(1, 2)).all()
    assert pairs_of([e], 500, drop_empty=False).images.shape == (2, 70, 70)


@pytest.mark.parametrize("teacher", ["classical", "pseudo"])
def test_a_student_learns_what_its_teacher_says_and_is_scored_by_the_truth(teacher):
    sets = Sets({"a": simulated(empty=0.0), "t": Changed.model_validate(
        {"kind": "changed", "from": "a", "labels": teacher})})  # fmt: skip
    assert any(not np.array_equal(e.learn, e.truth > 0) for e in sets["t"].learned_from)
    for mine, theirs in zip(sets["t"].held_out, sets["a"].held_out, strict=True):
        np.testing.assert_array_equal(mine.truth, theirs.truth)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    rows = ["name,doi,size"]
    for k in range(8):
        r = raw(seed=k)
        Image.fromarray((r.counts // 4).astype(np.uint8)).save(tmp_path / "images" / f"n{k}.png")
        Image.fromarray((r.labels > 0).astype(np.uint8) * 255).save(tmp_path / "labels" / f"n{k}_mask.png")
        rows.append(f"n{k},doi{k // 2},{10 * k}")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    return tmp_path


def labelled(folder, **changes):
    texts = {"images": str(folder / "images" / "*.png"), "labels": str(folder / "labels" / "*_mask.png")}
    return Labelled.model_validate({"kind": "labelled", **texts} | changes)


def test_groups_are_never_divided(folder):
    options = labelled(folder, index=str(folder / "index.csv"), group="doi", share_held_out=0.5)
    train, test = read_labelled(options)
    assert len(train) + len(test) == 8
    assert {int(r.name[1:]) // 2 for r in train}.isdisjoint({int(r.name[1:]) // 2 for r in test})
    assert [r.name for r in read_labelled(options)[1]] == [r.name for r in test]
    assert all(r.dark and r.labels.max() == 1 for r in train)
    only = labelled(folder, index=str(folder / "index.csv"), only={"size": [20, 40]})
    assert {r.name for part in read_labelled(only) for r in part} == {"n2", "n3", "n4"}


def test_instances_keep_their_numbers(folder):
    values = np.zeros((64, 96), np.uint8)
    values[5:9, 5:9], values[5:9, 9:14] = 3, 9
    Image.fromarray(values).save(folder / "labels" / "n0_mask.png")
    found = {r.name: r for part in read_labelled(labelled(folder)) for r in part}
    assert set(np.unique(found["n0"].labels)) == {0, 3, 9}


def test_wrong_sets_are_refused(folder, monkeypatch):
    with pytest.raises(InputError, match="there are no images"):
        read_labelled(labelled(folder, images=str(folder / "*.tif")))
    with pytest.raises(CommandError, match=r"must have one \*"):
        read_labelled(labelled(folder, labels=str(folder / "labels")))
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(CommandError, match="NOWHERE, which is not set"):
        read_labelled(labelled(folder, images="$NOWHERE/*.png"))
    with pytest.raises(CommandError, match="no column 'dio'"):
        read_labelled(labelled(folder, index=str(folder / "index.csv"), group="dio"))
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(folder / "labels" / "n1_mask.png")
    with pytest.raises(InputError, match="10×10 px, its image 64×96"):
        read_labelled(labelled(folder))
    Image.fromarray(np.zeros((64, 96), np.uint8)).save(folder / "labels" / "n1_mask.png")
    with pytest.raises(InputError, match="has no particle"):
        read_labelled(labelled(folder))
    (folder / "labels" / "n1_mask.png").unlink()
    with pytest.raises(InputError, match="has no label image"):
        read_labelled(labelled(folder))
