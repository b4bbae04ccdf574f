import json
import math
import stat

import pytest

from angioshare.errors import DataError
from angioshare.records import Record, read_records, write_records
from angioshare.rng import seed_for


def test_records_survive_a_round_trip_and_are_private(tmp_path):
    path = tmp_path / "results.json"
    records = [Record(stage="evaluate", metric="dice", value=0.5, subject="sub-1", provenance="public")]
    write_records(path, records)
    assert read_records(path) == records
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_what_is_undefined_is_null(tmp_path, value):
    write_records(tmp_path / "r.json", [Record(stage="s", metric="m", value=value)])
    assert json.loads((tmp_path / "r.json").read_text())[0]["value"] is None


def test_a_missing_file_is_no_records_and_a_strange_one_is_refused(tmp_path):
    assert read_records(tmp_path / "none.json") == []
    (tmp_path / "r.json").write_text('[{"nix": 1}]')
    with pytest.raises(DataError, match=r"r\.json"):
        read_records(tmp_path / "r.json")


def test_streams_of_other_purposes_have_other_seeds():
    seeds = {seed_for(seed, purpose) for seed in range(50) for purpose in ("z", "weights", "rows")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
