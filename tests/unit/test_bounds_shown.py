"""An epsilon that is printed before a run is never below the one that was calculated."""

import json

import pytest

from angioshare.cli.main import main
from angioshare.config import parse_config
from angioshare.privacy.unit import Guarantee, PrivacyStatement
from angioshare.stages import train
from angioshare.stages.run import Run

PRIVATE = 'sources = [{name = "a", synthesizer = "wgan", privacy = {noise_multiplier = 4}}]'


def test_what_a_source_would_spend_is_rounded_upwards(tmp_path, monkeypatch):
    both = {
        unit: Guarantee(unit=unit, epsilon=epsilon, delta=1e-5, relation="add-or-remove-one", method="PLD")
        for unit, epsilon in (("patch", 1.00049), ("subject", float("inf")))
    }
    statement = PrivacyStatement(accountant="a", released=("pairs",), not_covered=("nothing",), **both)
    monkeypatch.setattr(train, "training_size", lambda run: (3, 60))
    monkeypatch.setattr(train, "predicted", lambda *_: statement)
    run = Run(tmp_path, parse_config(PRIVATE, name="t"), tmp_path, (), None, tmp_path)
    assert train.outlook_of_source(run, "a")["spends"] == "epsilon 1.01 per patch, infinity per subject"


@pytest.mark.parametrize("noise", ["0.9", "2.4"])
def test_a_budget_shows_no_epsilon_below_the_calculated_one(capsys, noise):
    call = [
        "budget",
        "--units",
        "1000",
        "--batch",
        "10",
        "--steps",
        "50",
        "--delta",
        "1e-5",
        "--noise-multiplier",
        noise,
    ]
    assert main([*call, "--json"]) == 0
    exact = json.loads(capsys.readouterr().out)
    assert main(call) == 0
    shown = dict(line.split("\t")[:2] for line in capsys.readouterr().out.splitlines())
    for key in ("epsilon_pld", "epsilon_rdp"):
        assert exact[key] <= float(shown[key]) < 1.01 * exact[key]
        assert len(shown[key].replace(".", "").lstrip("0")) == 3
    assert shown["noise_multiplier"] == noise
