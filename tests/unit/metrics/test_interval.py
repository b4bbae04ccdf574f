import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angioshare.errors import DataError, SettingsError
from angioshare.metrics.interval import paired_difference, summarise

numbers = st.lists(st.floats(0, 1), min_size=2, max_size=12)


def test_mean_and_standard_deviation_of_a_hand_calculated_list():
    summary = summarise([1.0, 2.0, 4.0], seed=1)
    assert summary.mean == pytest.approx(7 / 3)
    assert summary.sd == pytest.approx(math.sqrt(7 / 3))
    assert (summary.n, summary.undefined) == (3, 0)


def test_undefined_values_are_left_out_and_counted():
    summary = summarise([0.5, None, math.nan, 0.7, math.inf], seed=1)
    assert summary.mean == pytest.approx(0.6)
    assert (summary.n, summary.undefined) == (2, 3)


def test_one_subject_has_a_mean_but_no_spread_and_none_has_neither():
    one, none = summarise([0.5], seed=1), summarise([None], seed=1)
    assert one.mean == 0.5
    assert all(math.isnan(value) for value in (one.sd, one.low, one.high, none.mean, none.sd))
    assert (none.n, none.undefined) == (0, 1)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = [0.1, 0.5, 0.55, 0.8, 0.9]
    assert summarise(values, seed=1) == summarise(values, seed=1)
    assert summarise(values, seed=1).low != summarise(values, seed=2).low


@given(values=numbers)
def test_the_interval_holds_the_mean_and_lies_within_the_values(values):
    summary = summarise(values, seed=3)
    assert min(values) - 1e-9 <= summary.low <= summary.mean + 1e-9
    assert summary.mean - 1e-9 <= summary.high <= max(values) + 1e-9


def test_the_interval_is_as_wide_as_the_normal_one_where_subjects_are_many():
    values = np.random.default_rng(5).normal(0, 1, 400).tolist()
    summary = summarise(values, seed=1)
    assert summary.high - summary.low == pytest.approx(2 * 1.96 * summary.sd / 20, rel=0.05)


def test_higher_confidence_gives_a_wider_interval():
    values = [0.1, 0.4, 0.5, 0.9]
    narrow, wide = (summarise(values, seed=1, confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_pairing_removes_what_both_methods_find_hard():
    first, second = [0.3, 0.6, 0.9], [0.2, 0.5, 0.8]
    difference = paired_difference(first, second, seed=1)
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)


def test_a_pair_with_an_undefined_member_is_undefined():
    difference = paired_difference([0.3, None, 0.5], [0.1, 0.2, None], seed=1)
    assert (difference.n, difference.undefined) == (1, 2)


def test_lists_of_different_length_and_absurd_confidence_are_refused():
    with pytest.raises(DataError, match="2 and 1 values"):
        paired_difference([1.0, 2.0], [1.0], seed=1)
    with pytest.raises(SettingsError, match=r"confidence=1.5.*0\.95"):
        summarise([1.0, 2.0], seed=1, confidence=1.5)
