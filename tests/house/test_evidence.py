from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def evidence(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import evidence

    return evidence


def grid(values):
    """Scores of seeds (rows) and subjects (columns)."""
    return {(seed, f"sub-{name}"): float(x) for seed, row in enumerate(values, 1) for name, x in enumerate(row)}


def test_a_spread_is_over_subjects_and_its_range_over_seeds(evidence):
    found = evidence.spread(grid([[0.2, 0.4], [0.4, 0.8]]) | {(2, "sub-9"): None})
    assert (found.mean, found.low, found.high) == pytest.approx((0.45, 0.3, 0.6))
    assert found.sd == pytest.approx(0.3 / 2**0.5)  # subjects 0.3 and 0.6
    assert str(found) == "0.450 ± 0.212 [0.300, 0.600] (1 undefined)"
    assert str(evidence.spread({})) == "-"
    assert str(evidence.spread({(1, "sub-1"): None})) == "undefined (1)"


def test_a_gain_that_is_the_same_everywhere_is_certain(evidence):
    found = evidence.paired(grid([[0.5, 0.7], [0.6, 0.9]]), grid([[0.4, 0.6], [0.5, 0.8]]))
    assert (found.low, found.mean, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert (found.word, found.seeds, found.subjects) == ("higher", 2, 2)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_gain_that_hangs_on_one_seed_or_one_subject_is_not_certain(evidence, axis):
    gains = np.zeros((3, 3))
    gains[(slice(None), 0) if axis else (0, slice(None))] = 0.9
    found = evidence.paired(grid(gains), grid(np.zeros((3, 3))))
    assert found.mean == pytest.approx(0.3)
    assert found.word == "not higher"


def test_what_only_one_of_both_has_is_left_out(evidence):
    one, other = grid([[0.5, 0.7], [0.6, 0.9]]), grid([[0.4, 0.6]]) | {(3, "sub-0"): 0.1, (3, "sub-1"): 0.1}
    assert evidence.paired(one, other).seeds == 1
    assert evidence.paired(one, dict.fromkeys(one)) is None
    assert evidence.paired(one, {}) is None


def test_intervals_hold_the_truth_about_as_often_as_they_say(evidence, monkeypatch):
    # 5 seeds, 5 subjects; false alarm below 1e-4 where 90 % of intervals hold it
    monkeypatch.setattr(evidence, "RESAMPLES", 400)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(80):
        gains = 0.1 + rng.normal(size=(5, 1)) + rng.normal(size=(1, 5)) + rng.normal(size=(5, 5))
        found = evidence.paired(grid(gains), grid(np.zeros((5, 5))))
        held += found.low <= 0.1 <= found.high
    assert held >= 60


def test_only_the_marked_part_of_a_page_is_written(evidence, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- one -->\nold\n<!-- end of one -->\nb\n<!-- two -->\nkept\n<!-- end of two -->\n")
    evidence.write_part(page, "one", evidence.markdown(["x"], [["a|b"]]))
    assert "| a/b |" in page.read_text()
    assert "old" not in page.read_text()
    assert page.read_text().endswith("<!-- end of one -->\nb\n<!-- two -->\nkept\n<!-- end of two -->\n")
    with pytest.raises(SystemExit, match="lacks the marks"):
        evidence.write_part(page, "three", "text")
