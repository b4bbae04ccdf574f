import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from angioshare.simulator.prior import DEMO_WIDE
from angioshare.synthesis.calibration.features import GROUPS, NAMES
from angioshare.synthesis.calibration.lessons import places

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FLAGS = ("--prior", "demo-wide", "--lessons", "60", "--size", "16", "--measured", "20", "--thin", "1", "--json")


@pytest.fixture
def ablation(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ablation

    return ablation


@pytest.fixture
def known(tmp_path):
    """Lessons whose rim tells the first parameter; all other features are noise, and one subject cannot be measured."""
    shares = places(DEMO_WIDE, 60)
    rng = np.random.default_rng(0)
    found = rng.standard_normal((60, 1, len(NAMES))) + 0.1 * rng.standard_normal((60, 4, len(NAMES)))
    rim = [NAMES.index(name) for name in GROUPS["rim"]]
    found[..., rim] = shares[:, None, :1] + 0.01 * found[..., rim]
    found[7] = np.nan
    folder = tmp_path / "demo-wide-60-16-20"
    folder.mkdir()
    save_file({"features": found.astype(np.float32)}, folder / "lessons.safetensors")
    return tmp_path


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_the_group_that_alone_tells_a_parameter_is_missed_more_than_any_other(ablation, known, capsys):
    page = known / "page.md"
    ablation.main(["--out", str(known), *FLAGS, "--epsilons", "inf,0.5", "--write", str(page)])
    rows = {(row["epsilon"], row["left_out"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert set(rows) == {(epsilon, left_out) for epsilon in ("inf", "0.5") for left_out in ("", *GROUPS)}
    whole = rows["inf", ""]
    lost = {group: whole["by_kind"]["anatomy"] - rows["inf", group]["by_kind"]["anatomy"] for group in GROUPS}
    assert lost["rim"] > 0.05
    assert lost["rim"] > 2 * max(value for group, value in lost.items() if group != "rim")
    assert rows["0.5", ""]["features"] < whole["features"] < 1
    mean, low, high = rows["inf", "rim"]["lost"]["parameters"]
    assert low < mean < high
    assert mean == pytest.approx(whole["parameters"] - rows["inf", "rim"]["parameters"])
    assert "| rim | infinity |" in page.read_text()


def test_noise_of_a_release_falls_with_epsilon_and_subjects(ablation):
    assert ablation.noise_std("inf", 12) == 0
    assert ablation.noise_std("1", 12) > ablation.noise_std("3", 12) > ablation.noise_std("3", 24) > 0
