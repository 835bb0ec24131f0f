"""Pieces of a map are chosen one by one: `insitu.models.choice`, its loops, and outlines exchanged piece by piece."""

from itertools import chain, combinations

import numpy as np
import pytest
import torch
from scipy import ndimage

from insitu.errors import InputError
from insitu.models import choice, outlines
from insitu.models import pieces as plain
from insitu.pixels import pieces

SIDE = 96


def disc(y, x, r, side=SIDE):
    rows, columns = np.ogrid[:side, :side]
    return (rows - y) ** 2 + (columns - x) ** 2 <= r * r


def by_level(**features):
    """A choice whose second score rises with the features that are named, linearly before the sigmoid."""
    n = len(choice.FEATURES)
    tensors = {"least": np.array([0.5])}
    for name, inputs in (("first", n), ("second", n + len(choice.RELATIVE) + 3)):
        weight = np.zeros((1, inputs))
        for feature, slope in features.items():
            weight[0, choice.FEATURES.index(feature.replace("_", " "))] = slope
        tensors |= {f"{name}.0.mean": np.zeros(inputs), f"{name}.0.spread": np.full(inputs, 10.0)}
        tensors |= {f"{name}.0.weight.0": weight, f"{name}.0.bias.0": np.zeros(1)}
    return choice.Choice(tensors)


@pytest.mark.parametrize("density", [0.2, 0.45, 0.7])
def test_labels_are_those_of_scipy(density):
    values = np.random.default_rng(5).random((61, 83)).astype(np.float32)
    found, count = pieces.label(values, 1 - density, 1)
    wanted, number = ndimage.label(values > 1 - density, np.ones((3, 3)))
    assert count == number
    assert (found == wanted).all()


def test_small_pieces_have_no_number():
    mask = (disc(20, 20, 6) | disc(60, 70, 1)).astype(np.float32)
    found, count = pieces.label(mask, 0.5, 20)
    assert count == 1
    assert (found == disc(20, 20, 6)).all()


def test_sums_tell_inside_from_outside():
    inside = disc(40, 40, 9)
    image = np.where(inside, 3.0, 1.0).astype(np.float32)
    labels, count = pieces.label(inside.astype(np.float32), 0.5, 1)
    (row,) = pieces.sums(labels, count, inside.astype(np.float32), image)
    assert row[0] == inside.sum()
    assert row[1] / row[0] == pytest.approx(40)
    assert row[7] / row[0] == 3.0
    assert row[12] == row[11] > 30  # nothing else is near
    assert row[13] / row[12] == 1.0


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0, 9.0])
@pytest.mark.parametrize("width", [0.0, 2.0])
def test_numpy_alone_gives_what_the_loops_give(level, width):
    rng = np.random.default_rng(7)
    smooth = ndimage.gaussian_filter(rng.standard_normal((71, 90)), width)
    values = (smooth / smooth.std()).astype(np.float32)
    image = rng.standard_normal((71, 90)).astype(np.float32)
    labels, count = pieces.label(values, level, 5)
    again, number = plain.label(values, level, 5)
    assert count == number
    assert (labels == again).all()
    np.testing.assert_allclose(
        plain.sums(labels, count, values, image), pieces.sums(labels, count, values, image), rtol=1e-6, atol=1e-6
    )
    lower = pieces.label(values, level - 0.5, 1)[0]
    assert (plain.containing(labels, count, lower) == pieces.containing(labels, count, lower)).all()
    number = rng.integers(0, 3, count + 1).astype(np.int32)
    number[0] = 0
    one, other = np.full(labels.shape, 7, np.int32), np.full(labels.shape, 7, np.int32)
    pieces.paint(one, labels, number)
    plain.paint(other, labels, number)
    assert (one == other).all()


def test_every_piece_lies_in_its_parent():
    smooth = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal((SIDE, SIDE)), 3)
    values = (4 * smooth / smooth.std()).astype(np.float32)
    tree = choice.grow(values, values, 0.1)
    assert len(tree.levels) > 3
    assert tree.features.shape == (len(tree.parent), len(choice.FEATURES))
    assert np.isfinite(tree.features).all()
    assert (tree.parent < np.arange(len(tree.parent))).all()
    for (lower, first), (labels, own) in zip(tree.levels, tree.levels[1:], strict=False):
        for k in range(1, labels.max() + 1):
            assert (lower[labels == k] == tree.parent[own + k - 1] - first + 1).all()


def test_the_chosen_pieces_have_the_largest_sum():
    rng = np.random.default_rng(9)
    for _ in range(60):
        n = 9
        parent = np.array([rng.integers(-1, k) if k else -1 for k in range(n)])
        score = rng.random(n)

        def above(k, parent=parent):
            while parent[k] >= 0:
                k = parent[k]
                yield k

        best = max(
            sum(score[k] - 0.3 for k in some)
            for some in chain.from_iterable(combinations(range(n), m) for m in range(n + 1))
            if not any(set(above(k)) & set(some) for k in some)
        )
        taken = np.flatnonzero(pieces.chosen(score, parent, 0.3))
        assert (taken == np.flatnonzero(plain.chosen(score, parent, 0.3))).all()
        assert not any(set(above(k)) & set(taken) for k in taken)
        assert sum(score[k] - 0.3 for k in taken) == pytest.approx(best)


def test_what_is_faint_is_found_beside_what_is_clear():
    p = np.full((SIDE, SIDE), 0.01, np.float32)
    p[disc(30, 30, 9)], p[disc(70, 60, 9)], p[disc(20, 75, 2)] = 0.97, 0.2, 0.97
    found = by_level(log_area=30.0, level=1.0, squared_outline_over_area=-60.0)
    mask, labels = choice.decided(torch.from_numpy(p), torch.from_numpy(p), found, 0.7)
    assert labels.max() == 2
    assert ((mask.numpy() > 0.7) == (labels > 0)).all()
    assert ((labels > 0) == (disc(30, 30, 9) | disc(70, 60, 9))).all()
    assert (mask.numpy()[disc(30, 30, 9)] > mask.numpy()[70, 60]).all()  # and less sure it stays


def test_an_empty_map_has_no_particles():
    flat = torch.full((SIDE, SIDE), 0.001)
    mask, labels = choice.decided(flat, flat, by_level(level=1.0), 0.7)
    assert not labels.any()
    assert (mask < 0.7).all()


def scene(level):
    """Three pieces, and a map of the level: (p, level, labels)."""
    labels = (1 * disc(25, 25, 9) + 2 * disc(25, 70, 10) + 3 * disc(70, 40, 10)).astype(np.int32)
    p = torch.from_numpy(np.where(labels > 0, 0.9, 0.1).astype(np.float32))
    return p, torch.from_numpy(level.astype(np.float32)), labels


def test_in_a_frame_of_agreement_the_level_draws_the_outlines():
    level = disc(25, 25, 8) | disc(25, 70, 11) | disc(70, 40, 9)
    out = outlines._exchanged(*scene(level), 0.7).numpy() > 0.7
    assert (out == level).all()
    p, more, labels = scene(level | disc(70, 80, 6) | disc(84, 12, 6) | disc(48, 8, 5))  # 2 x 3 of 3 and 6
    assert outlines._exchanged(p, more, labels, 0.7) is p


def test_what_the_level_has_further_outside_of_its_piece_is_not_the_particles():
    bulge = disc(25, 12, 3)  # reaches 7 px beyond the first disc's edge
    level = disc(25, 25, 10) | bulge | disc(25, 70, 10) | disc(70, 40, 10)
    out = outlines._exchanged(*scene(level), 0.7).numpy() > 0.7
    near = ndimage.binary_dilation(disc(25, 25, 9), np.ones((3, 3)))
    assert (out == (level & (near | disc(25, 70, 10) | disc(70, 40, 10)))).all()
    assert (out & bulge).sum() < bulge.sum() / 2


def test_holes_of_a_piece_are_filled_by_the_level():
    p, level, labels = scene(disc(25, 25, 9) | disc(25, 70, 10) | disc(70, 40, 10))
    hole = disc(70, 40, 4)
    labels[hole], p[torch.from_numpy(hole)] = 0, 0.1
    out = outlines._exchanged(p, level, labels, 0.7).numpy() > 0.7
    assert (out == (level.numpy() > 0.5)).all()


def test_splinters_of_the_level_are_no_particles():
    solid = disc(25, 25, 9) | disc(25, 70, 10) | disc(70, 40, 10)
    p, level, labels = scene(1.0 * solid + 0.6 * (disc(84, 84, 4) | disc(50, 88, 4) | disc(84, 8, 4) | disc(48, 8, 4)))
    out = outlines._exchanged(p, level, labels, 0.7).numpy() > 0.7
    assert (out == solid).all()
    surer = torch.where(level > 0.5, 1.0, 0.0)  # now they are particles, and the two disagree
    assert outlines._exchanged(p, surer, labels, 0.7) is p


def test_what_is_wider_than_half_of_the_field_is_taken_whole():
    p = np.full((SIDE, SIDE), 0.01, np.float32)
    p[disc(48, 48, 30)] = 0.8
    for y in (35, 61):
        for x in (35, 61):
            p[disc(y, x, 8)] = 0.99  # surer pieces of it, which are worth more together
    found = by_level(level=6.0)
    assert choice.decided(torch.from_numpy(p), torch.from_numpy(p), found, 0.7)[1].max() == 4
    tensors = {"least": np.array([0.5]), "large_area_px": np.array([2000.0])}
    whole = choice.Choice(tensors)
    whole._members = found._members
    labels = choice.decided(torch.from_numpy(p), torch.from_numpy(p), whole, 0.7)[1]
    assert ((labels > 0) == disc(48, 48, 30)).all()
    assert labels.max() == 1


def test_members_are_averaged():
    rng, n = np.random.default_rng(0), len(choice.FEATURES)
    tree = choice.Tree(rng.normal(size=(7, n)), np.full(7, -1), ())
    members = []
    for _ in range(3):
        weight, bias = rng.normal(size=(1, n)), rng.normal(size=1)
        members.append({"mean": rng.normal(size=n), "spread": np.ones(n), "weight.0": weight, "bias.0": bias})

    def scored(some):
        return choice.Choice({f"first.{k}.{what}": v for k, one in enumerate(some) for what, v in one.items()}).first(
            tree
        )

    np.testing.assert_allclose(scored(members), np.mean([scored([one]) for one in members], axis=0))
    assert np.ptp([scored([one])[0] for one in members]) > 0.01


def test_the_only_particle_in_a_piece_gives_it_its_outline():
    labels = np.zeros((SIDE, SIDE), np.int32)
    for k in range(4):
        labels[disc(12 + 20 * k, 20, 7)] = k + 1
    labels[disc(48, 70, 14)] = 5
    level = np.where(labels == 5, disc(48, 70, 7), labels > 0)
    p = torch.from_numpy(np.where(labels > 0, 0.9, 0.1).astype(np.float32))
    out = outlines._exchanged(p, torch.from_numpy(level.astype(np.float32)), labels, 0.7).numpy() > 0.7
    assert (out == level).all()
    two = np.where(labels == 5, disc(48, 63, 5) | disc(48, 77, 5), labels > 0)
    out = outlines._exchanged(p, torch.from_numpy(two.astype(np.float32)), labels, 0.7).numpy() > 0.7
    assert (out == (labels > 0)).all()


def test_an_unknown_choice_names_those_there_are():
    with pytest.raises(InputError, match="no choice 'none'") as caught:
        choice.choice_of("none")
    assert "pieces-1" in caught.value.hint


def test_a_choice_needs_the_input_it_was_learned_with():
    from insitu.models.architectures import build
    from insitu.models.network import Network

    card = {"input": "support", "choice": "pieces-1"}
    with pytest.raises(InputError, match="another input than contrast"):
        Network(build("resunet"), "x", card)


def test_the_shipped_choice_finds_discs_on_a_film_and_nothing_without_them():
    from insitu.models import load
    from insitu.train.held_out import labels_of

    model = load("resunet-mixed-2")
    assert model.choice is not None
    rng = np.random.default_rng(3)
    empty = rng.normal(1000, 60, (256, 256))
    truth = np.zeros((256, 256), np.bool_)
    for y, x, r in ((60, 60, 14), (150, 90, 18), (90, 190, 12), (200, 200, 16)):
        truth |= disc(y, x, r, 256)
    soft = ndimage.gaussian_filter(truth.astype(float), 1.5)
    found = labels_of((empty - 400 * soft).astype(np.uint16), model)
    assert found.max() == 4
    both, either = ((found > 0) & truth).sum(), ((found > 0) | truth).sum()
    assert both / either > 0.85
    assert labels_of(empty.astype(np.uint16), model).max() <= 1
