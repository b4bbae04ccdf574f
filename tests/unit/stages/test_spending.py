"""What all runs on a cohort spent together, stated for both units."""

import pytest

from angioshare.config import Config
from angioshare.errors import LedgerError
from angioshare.privacy.calibration import auto_delta
from angioshare.privacy.events import StepEvent
from angioshare.privacy.ledger import Ledger
from angioshare.rundir import write_json
from angioshare.stages.run import Run
from angioshare.stages.spending import ACCOUNT, SCANS, cohort_statement

SUBJECTS = {f"sub-{number}": f"{number:04x}" for number in range(41)}


@pytest.fixture
def stated(tmp_path):
    def make(*private, bound=""):
        sources = [
            {"name": f"s{index}", "synthesizer": "wgan", "pairs": 10, "privacy": {"noise_multiplier": 9.0, **one}}
            for index, one in enumerate(private)
        ]
        config = Config.model_validate({"patches": {"vessel": 500, "random": 500}, "sources": sources})
        path = tmp_path / "ledger.jsonl"
        run = Run(tmp_path / "run", config, tmp_path / "cohort", (), path, tmp_path / "state")
        run.private.mkdir(parents=True, exist_ok=True)
        write_json(run.private / SCANS, SUBJECTS)
        with Ledger.open(path, subjects=SUBJECTS) as ledger:
            if bound:
                write_json(run.private / ACCOUNT, {"ledger": ledger.id if bound == "this one" else bound})
            event = StepEvent(unit="subject", sampling_probability=0.1, noise_multiplier=9.0, patches_per_subject=1000)
            ledger.reserve(event, "run", 10)
        return cohort_statement(run)

    return make


@pytest.mark.parametrize(
    ("private", "patch", "subject"),
    [
        ([{"unit": "subject", "delta": 0.01}], auto_delta(41_000), 0.01),
        ([{"unit": "subject", "delta": 0.01}, {"unit": "patch", "delta": 2e-5}], 2e-5, 0.01),
        ([{"unit": "patch", "delta": 1e-6}, {"unit": "patch"}], 1e-6, 1e-6),
        ([{"unit": "subject"}], auto_delta(41_000), auto_delta(41_000)),
    ],
)
def test_no_unit_is_stated_at_a_delta_of_one_over_its_number(stated, private, patch, subject):
    found = stated(*private)
    assert (found.patch.delta, found.subject.delta) == (patch, subject)
    assert found.patch.delta < 1 / 41_000


def test_what_a_run_cost_is_not_read_off_another_ledger(stated):
    private = {"unit": "subject", "delta": 0.01}
    assert stated(private, bound="this one").subject.epsilon > 0
    with pytest.raises(LedgerError, match="is another one"):
        stated(private, bound="0123456789abcdef")
