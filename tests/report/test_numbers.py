from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insitu.report.numbers import counted, mean_interval, percent, poisson_interval, said, within


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.8134, "2.81"),
        (0.02, "0.0200"),
        (0, "0"),
        (12, "12"),
        (12345, "12\u202f345"),
        (-3.456, "−3.46"),
        (1.5e-7, "1.50·10⁻⁷"),
        (3e9, "3.00·10⁹"),
        (float("nan"), "unknown"),
        (float("inf"), "unknown"),
        (None, "unknown"),
        (np.float32("nan"), "unknown"),
    ],
)
def test_numbers_are_said_with_the_digits_they_have(value, text):
    assert said(value) == text


def test_a_unit_stays_with_its_number():
    assert said(2.0, "nm") == "2.00\u00a0nm"
    assert said(2, "frames") == "2\u00a0frames"
    assert said(None, "nm") == "unknown"


@pytest.mark.parametrize(
    ("value", "low", "high", "texts"),
    [
        (2.8134, 2.71, 2.91, ("2.81\u00a0nm", "2.71 to 2.91")),
        (281.34, 260, 300, ("281\u00a0nm", "260 to 300")),
        (0.0312, 0.0301, 0.0323, ("0.0312\u00a0nm", "0.0301 to 0.0323")),
        (4025.1, 2832.3, 5550.8, ("4\u202f000\u00a0nm", "2\u202f800 to 5\u202f600")),
        (2.8, 2.8, 2.8, ("2.80\u00a0nm", "2.80 to 2.80")),
        (2.8, None, 3.0, ("2.80\u00a0nm", "")),
        (float("nan"), 1, 2, ("unknown", "")),
        (-1.5, -2.0, -1.0, ("−1.50\u00a0nm", "−2.00 to −1.00")),
    ],
)
def test_an_interval_decides_the_digits(value, low, high, texts):
    assert within(value, low, high, "nm") == texts


@given(st.floats(), st.floats(), st.floats())
def test_nothing_that_is_no_number_is_ever_written(value, low, high):
    text = " ".join(within(value, low, high)) + said(value) + percent(value)
    assert not {"nan", "inf", "None"} & set(text.replace("·", " ").split())
    assert "nan" not in text


def test_shares_and_counts():
    assert [percent(v) for v in (0, 0.0004, 0.034, 0.5, 1, None)] == [
        "0\u00a0%", "under 0.1\u00a0%", "3.4\u00a0%", "50\u00a0%", "100\u00a0%", "unknown",
    ]  # fmt: skip
    assert [counted(n, "merger") for n in (0, 1, 2)] == ["0 mergers", "1 merger", "2 mergers"]


def test_the_poisson_interval_is_that_of_the_tables():
    assert poisson_interval(0) == (0, pytest.approx(3.689, abs=1e-3))
    assert poisson_interval(10) == (pytest.approx(4.795, abs=1e-3), pytest.approx(18.39, abs=1e-2))


def test_the_interval_of_a_mean_holds_the_mean_and_narrows_with_more_values():
    rng = np.random.default_rng(3)
    few, many = rng.normal(5, 1, 20), rng.normal(5, 1, 2000)
    (a, b), (c, d) = mean_interval(few), mean_interval(many)
    assert a < few.mean() < b
    assert d - c == pytest.approx(4 * 0.0224, rel=0.15)
    assert mean_interval(few[:2]) is None
    assert mean_interval(few) == (a, b)
