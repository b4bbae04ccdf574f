import json
import math

import numpy as np
import pytest

from angioshare.errors import DataError
from angioshare.metrics.compare import UNITS, compare
from angioshare.metrics.overlap import cldice, dice
from angioshare.metrics.surface import ahd_voxel, assd_mm, bahd_mm, bahd_voxel, hd95_mm

SPACING = (0.5, 0.6, 1.4)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    G = np.zeros((12, 12, 8), np.uint8)
    G[3:6, 4:7] = 1
    S = np.roll(G, 2, axis=1)
    S[9, 9, 1] = 1
    return G, S


def test_each_number_is_that_of_its_own_function(pair):
    values = compare(*pair, SPACING)
    assert values["dice"] == dice(*pair)
    assert values["cldice"] == cldice(*pair)
    assert values["bahd_voxel"] == bahd_voxel(*pair)
    assert values["bahd_mm"] == bahd_mm(*pair, SPACING)
    assert values["ahd_voxel"] == ahd_voxel(*pair)
    assert values["hd95_mm"] == hd95_mm(*pair, SPACING)
    assert values["assd_mm"] == assd_mm(*pair, SPACING)
    assert values["prediction_ml"] == pytest.approx(73 * 0.42 / 1000)


def test_keys_are_the_promised_ones_in_the_promised_order(pair):
    assert list(compare(*pair, SPACING)) == list(UNITS)
    assert list(UNITS)[:7] == ["dice", "cldice", "bahd_voxel", "bahd_mm", "ahd_voxel", "hd95_mm", "assd_mm"]


def test_an_empty_prediction_gives_null_distances_and_valid_json(pair):
    values = compare(pair[0], pair[0] * 0, SPACING)
    assert values["dice"] == values["cldice"] == 0
    assert [values[name] for name in UNITS if name.endswith(("_mm", "_voxel"))] == [None] * 5
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_two_empty_masks_are_a_perfect_match(pair):
    values = compare(pair[0] * 0, pair[0] * 0, SPACING)
    assert values["dice"] == values["cldice"] == 1
    assert all(values[name] == 0 for name in UNITS if name.endswith(("_mm", "_voxel")))


def test_grids_that_differ_are_refused(pair):
    with pytest.raises(DataError, match="one grid"):
        compare(pair[0], pair[1][:, :, :5], SPACING)


def test_no_number_is_ever_nan(pair):
    values = [value for value in compare(*pair, SPACING).values() if value is not None]
    assert all(math.isfinite(value) for value in values)
