import numpy as np
import pytest

from angioshare.errors import SettingsError
from angioshare.simulator.parameters import (
    SimulatorParameters,
    bounds,
    describe,
    flatten,
    from_vector,
    to_vector,
    unflatten,
)
from angioshare.simulator.sites import SITES


@pytest.mark.parametrize(("name", "info"), describe().items())
def test_every_parameter_carries_a_unit_a_range_a_source_and_a_sentence(name, info):
    assert info.unit in {"1", "mm", "ms", "deg", "cm/s", "voxel"}
    assert info.low < info.high
    assert info.low <= flatten(SimulatorParameters())[name] <= info.high
    assert info.source.split()[-1].isdigit()
    assert info.says.endswith(".")


def test_no_field_escapes_the_description():
    fields = [f"{g}.{n}" for g, member in SimulatorParameters().model_dump().items() for n in member]
    assert fields == list(describe())


@pytest.mark.parametrize("site", SITES)
def test_flattening_and_back_changes_nothing(site):
    assert unflatten(flatten(SITES[site])) == SITES[site]


def test_a_vector_and_back_changes_nothing():
    names = list(describe())
    middle = bounds(names).mean(axis=1)
    parameters = from_vector(middle, names)
    assert to_vector(from_vector(to_vector(parameters, names), names), names) == pytest.approx(
        to_vector(parameters, names)
    )


def test_a_vector_outside_the_ranges_is_clipped_to_them():
    names = list(describe())
    for sign, column in ((-1, 0), (1, 1)):
        vector = np.full(len(names), sign * 1e9)
        assert to_vector(from_vector(vector, names), names) == pytest.approx(bounds(names)[:, column])


def test_only_the_named_parameters_change():
    changed = flatten(unflatten({"reader.thickness": 1.9}, SITES["site-2"]))
    before = flatten(SITES["site-2"])
    assert {name for name in before if before[name] != changed[name]} == {"reader.thickness"}


@pytest.mark.parametrize(
    ("values", "word"), [({"tree.nothing": 1.0}, "does not exist"), ({"tree.density": 99.0}, "4.0")]
)
def test_a_wrong_name_or_value_is_refused_with_the_reason(values, word):
    with pytest.raises(SettingsError, match=word):
        unflatten(values)
