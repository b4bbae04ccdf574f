import json
import re
from dataclasses import replace

import pytest

from angioshare.cli.main import main
from angioshare.config import load_config, parse_config
from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.calibration import gaussian_mu
from angioshare.protocols import Context
from angioshare.stages.recommend import advice, advise, recommended_config
from angioshare.stages.recommend.known import Known
from angioshare.stages.recommend.plans import _planned, planned
from angioshare.stages.recommend.rules import RULES, judged, numbers_for, place, told
from angioshare.stages.recommend.times import seconds
from angioshare.synthesis.calibration.features import NAMES
from angioshare.synthesis.paces import reading
from angioshare.synthesis.registry import PUBLIC, SYNTHESIZERS, build

QUICK = ("calibrated", "simulator", "real", "shuffled")
WORTH = ("good", "weak", "hopeless")


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """Names of 20 subjects whose files are empty: whoever reads a voxel fails."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in (f"sub-{index:03d}" for index in range(20)):
        for path in (f"{name}/anat/{name}_angio", f"derivatives/labels/{name}/anat/{name}_label-vessel_mask"):
            (tmp_path / "cohort" / path).parent.mkdir(parents=True)
            (tmp_path / "cohort" / f"{path}.nii.gz").touch()
    return tmp_path / "cohort"


@pytest.fixture
def quick(monkeypatch):
    """Methods whose cost is accounted in no time."""
    monkeypatch.setattr(advice, "SYNTHESIZERS", {name: SYNTHESIZERS[name] for name in QUICK})


def known(subjects=12, patches=400, epsilon=1.0, unit="subject", delta=None):
    return Known(subjects=subjects, patches_per_subject=patches, epsilon=epsilon, unit=unit, delta=delta)


@pytest.mark.parametrize("method", RULES)
def test_more_noise_never_betters_a_verdict(method):
    found = [WORTH.index(judged(method, 10 ** (power / 10))) for power in range(-50, 20)]
    assert found == sorted(found)
    assert {found[0], found[-1]} == {0, 2}


def test_what_was_never_measured_stands_below_the_simulator_which_costs_nothing():
    assert place("calibrated", "weak") < place("simulator", "public") < place("evolution", "good")
    assert place("evolution", "good") < place("newcomer", "weak") < place("calibrated", "hopeless")


@pytest.mark.parametrize("method", ["wgan", "wgan-pretrained", "diffusion", "evolution", "feature-matching"])
def test_what_nobody_has_seen_beat_the_simulator_stands_behind_it_however_faint_the_noise(method):
    assert judged(method, 1e-6) == "good"
    assert place("simulator", "public") < place(method, "good") < place(method, "weak")


def test_a_release_tells_more_the_fainter_the_noise_and_never_all():
    shares = [told(signal / 4) for signal in range(1, 400)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.05
    assert 0.95 < shares[-1] < 1
    assert numbers_for(2.0, 6, 9) < numbers_for(20.0, 6, 9) <= 9


def test_a_subject_of_a_patch_budget_has_half_the_signal():
    assert known(unit="patch").signal("subject") == pytest.approx(known().signal("subject") / 2)
    assert known(unit="patch").signal("patch") == pytest.approx(400 * known().signal("subject"), rel=1e-9)


@pytest.mark.parametrize("unit", ["patch", "subject"])
def test_the_epsilon_for_a_signal_gives_that_signal(unit):
    one = known(unit=unit)
    assert one.signal("subject", one.epsilon_for(3.0, "subject")) == pytest.approx(3.0, rel=1e-3)
    assert known(subjects=1).epsilon_for(1e6, "subject") == float("inf")


def test_a_delta_of_one_over_units_is_refused():
    with pytest.raises(PrivacyError, match="publishing a unit outright"):
        known(delta=1 / 12)
    with pytest.raises(PrivacyError, match="4800 patch units"):
        known(unit="patch", delta=1e-3)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_an_absurd_epsilon_is_refused(epsilon):
    with pytest.raises(SettingsError, match="must be in"):
        known(epsilon=epsilon)


@pytest.mark.parametrize("method", [name for name in SYNTHESIZERS if name not in ("real", "shuffled", *PUBLIC)])
def test_every_method_of_the_registry_can_be_planned_or_says_why_not(method):
    row = advice._row(method, known(), load_config(preset="calibrated"))
    assert row.verdict in (*WORTH, "refused")
    assert len(row.reason) > 20
    assert (row.planned is None) == (row.verdict == "refused")


def test_a_dozen_subjects_get_the_calibrated_simulator_within_a_large_budget(cohort, quick):
    found = advise(cohort, epsilon=8.0)
    assert [row.method for row in found.rows] == ["calibrated", "simulator"]
    assert 7.9 < found.rows[0].statement.subject.epsilon <= 8.0
    assert found.rows[0].statement.patch.epsilon > 16  # a patch is protected by its subject, at more than its epsilon
    private = [source for source in found.config.sources if source.privacy]
    assert [(source.synthesizer, source.privacy.epsilon) for source in private] == [("calibrated", 8.0)]


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 3.0])
def test_too_small_an_epsilon_gets_the_simulator_alone(cohort, quick, epsilon):
    """At 1 and 3, a dozen subjects were measured: by Dice, the release was not worth its epsilon."""
    found = advise(cohort, epsilon=epsilon)
    assert [row.method for row in found.rows] == ["simulator", "calibrated"]
    assert found.rows[0].statement.subject.epsilon == 0
    assert [source.synthesizer for source in found.config.sources] == ["real", "simulator", "shuffled"]
    assert any("from epsilon 3.5" in sentence for sentence in found.expect)
    assert any("--known acquisition.voxel_i_mm" in sentence for sentence in found.expect)


def test_where_noise_is_too_much_the_method_that_lacks_least_is_named(cohort, monkeypatch):
    names = (*QUICK, "steered-reader", "wgan")
    monkeypatch.setattr(advice, "SYNTHESIZERS", {name: SYNTHESIZERS[name] for name in names})
    found = advise(cohort, epsilon=1.0)
    said = [sentence for sentence in found.expect if "would begin to pay" in sentence]
    assert len(said) == 1
    assert said[0].startswith("steered-reader would begin to pay from epsilon 1.")
    epsilon = float(re.search(r"from epsilon ([0-9.]+) per subject", said[0])[1])
    subjects = int(re.search(r"from ([0-9]+) training subjects on", said[0])[1])
    base, hopeless = load_config(preset="calibrated"), RULES["steered-reader"].hopeless
    for enough, less in (
        (replace(known(), epsilon=epsilon), replace(known(), epsilon=0.98 * epsilon)),
        (replace(known(), subjects=subjects), replace(known(), subjects=subjects - 1)),
    ):
        assert planned("steered-reader", enough, base).noise < hopeless <= planned("steered-reader", less, base).noise


def test_a_budget_of_a_patch_is_kept_through_its_subject_after_a_kill_too():
    one = planned("steered-reader", known(unit="patch", epsilon=3.0), load_config(preset="calibrated"))
    assert one.source.privacy.unit == "subject"
    assert one.source.privacy.epsilon is None
    assert one.plan.keeps_target


@pytest.mark.parametrize("epsilon", [1e-9, 9e-5, 1e5])
def test_an_epsilon_that_cannot_be_stated_is_refused(epsilon):
    with pytest.raises(SettingsError, match=r"must be in \[0.0001, 10000\]"):
        known(epsilon=epsilon)


def test_patches_that_no_generator_makes_are_refused_before_anything_is_planned():
    base = load_config(preset="calibrated", changes=["patches.size=40"])
    for method in ("wgan", "wgan-pretrained", "pate-gan", "privgan"):
        row = advice._row(method, known(unit="patch", epsilon=50.0), base)
        assert row.verdict == "refused"
        assert "fits no generator" in row.reason
    context = Context(patches=base.patches)
    build("feature-matching", {}, context)
    with pytest.raises(SettingsError, match="fits no generator"):
        build("feature-matching", {"draws": "generator"}, context)


def test_what_works_well_needs_no_cure(cohort, monkeypatch):
    monkeypatch.setattr(advice, "SYNTHESIZERS", {name: SYNTHESIZERS[name] for name in (*QUICK, "wgan")})
    assert not any("training subjects on" in sentence for sentence in advise(cohort, epsilon=9.0).expect)


@pytest.mark.parametrize("epsilon", [3.0, 8.0])
def test_a_patch_budget_is_kept_through_the_whole_subject(epsilon):
    """By a method that protects subjects alone."""
    one = planned("evolution", known(epsilon=epsilon, unit="patch", delta=1e-4), load_config(preset="calibrated"))
    assert 0.99 * epsilon < one.statement.patch.epsilon <= epsilon
    assert one.statement.subject.epsilon < epsilon / 2


@pytest.mark.parametrize("method", ["evolution", "steered-reader"])
def test_a_patch_budget_that_asks_for_more_noise_than_there_may_be_is_refused(method):
    """By a method that protects subjects alone, and so would need ten thousand times the bound."""
    asked = known(epsilon=1e-4, unit="patch", delta=1e-6)
    row = advice._row(method, asked, load_config(preset="calibrated"))
    assert row.verdict == "refused"
    assert re.search(r"noise_multiplier=\d+.*epsilon=0\.0001 for one patch.*at most 10000; raise epsilon", row.reason)


def test_pate_gan_on_patches_promises_nothing_for_a_subject():
    one = planned("pate-gan", known(epsilon=3.0, unit="patch", delta=1e-4), load_config(preset="calibrated"))
    assert one.unit == "patch"
    assert one.statement.patch.epsilon <= 3.0
    assert one.statement.subject.epsilon == float("inf")


def test_a_patch_budget_lets_all_numbers_pass(cohort, quick):
    found = advise(cohort, epsilon=1.0, unit="patch")
    source = next(source for source in found.config.sources if source.privacy)
    assert (source.synthesizer, source.settings["numbers"], source.privacy.unit) == ("calibrated", len(NAMES), "patch")
    assert 0.99 < found.rows[0].statement.patch.epsilon <= 1.0
    assert found.rows[0].statement.subject.epsilon > 20
    assert any("protects no person" in sentence for sentence in found.expect)


def test_thousands_of_patches_teach_a_reader_and_a_dozen_subjects_do_not(cohort, monkeypatch):
    methods = {name: SYNTHESIZERS[name] for name in ("calibrated", "taught-reader", "simulator")}
    monkeypatch.setattr(advice, "SYNTHESIZERS", methods)
    found = advise(cohort, epsilon=1.0, unit="patch")
    assert [row.method for row in found.rows] == ["taught-reader", "calibrated", "simulator"]
    assert 0.99 < found.rows[0].statement.patch.epsilon <= 1.0
    first = found.rows[0].planned
    assert (first.source.settings["batch"], first.source.settings["simulated_subjects"]) == (120, 144)
    assert found.rows[0].verdict == "good"
    assert 600 < found.rows[0].seconds < 3600
    subjects = advise(cohort, epsilon=1.0, unit="subject")
    assert {row.method: row.verdict for row in subjects.rows}["taught-reader"] == "hopeless"
    assert (
        planned("taught-reader", known(patches=10, unit="patch"), load_config(preset="calibrated")).schedule.units == 30
    )


def test_a_steered_reader_comes_first_for_a_dozen_people_where_a_cohort_has_shown_it(cohort, monkeypatch):
    methods = {name: SYNTHESIZERS[name] for name in ("calibrated", "steered-reader", "simulator")}
    monkeypatch.setattr(advice, "SYNTHESIZERS", methods)
    found = advise(cohort, epsilon=3.0, unit="subject")
    assert [(row.method, row.verdict) for row in found.rows][:2] == [
        ("steered-reader", "good"),
        ("simulator", "public"),
    ]
    assert found.rows[0].planned.source.settings["simulated_subjects"] == 144
    assert 1200 < found.rows[0].seconds < 3600
    assert "steered-reader" in [source.synthesizer for source in found.config.sources]
    found = advise(cohort, epsilon=1.0, unit="subject")
    assert found.rows[0].method == "simulator"
    assert {row.verdict for row in found.rows[1:]} == {"hopeless"}


def test_networks_are_hopeless_for_a_dozen_subjects(cohort):
    base = load_config(preset="calibrated")
    for method in ("wgan", "wgan-pretrained"):
        assert judged(method, planned(method, known(epsilon=8.0), base).noise) == "hopeless"


def test_what_is_not_registered_is_not_mentioned_and_a_stranger_is_trusted_little(cohort, monkeypatch):
    methods = {"stranger": SYNTHESIZERS["calibrated"], "simulator": SYNTHESIZERS["simulator"]}
    monkeypatch.setattr(advice, "SYNTHESIZERS", methods)
    monkeypatch.setitem(SYNTHESIZERS, "stranger", SYNTHESIZERS["calibrated"])
    found = advise(cohort, epsilon=1.0)
    assert [row.method for row in found.rows] == ["simulator", "stranger"]
    assert "no rule" in found.rows[1].reason
    assert "calibrated" not in found.toml


@pytest.mark.parametrize("patches", [400, 40_000])
def test_votes_of_ten_teachers_gain_nothing_from_more_patches(patches):
    one = planned("pate-gan", known(patches=patches, unit="patch", delta=1e-6), load_config(preset="calibrated"))
    assert one.unit == "patch"
    assert one.least_noise == pytest.approx(planned_teachers())
    assert judged("pate-gan", one.least_noise) == "hopeless"


def planned_teachers():
    """sqrt(steps) / mu, times the length of 32 votes, over 10 teachers."""
    return 200**0.5 / gaussian_mu(1.0, 1e-6) * 32**0.5 / 10


def test_very_many_patches_can_bear_the_pretrained_network():
    many = known(patches=120_000, unit="patch", epsilon=1.0, delta=1e-7)
    one = planned("wgan-pretrained", many, load_config(preset="calibrated"))
    assert judged("wgan-pretrained", one.noise) == "good"
    assert one.statement.patch.epsilon <= 1.0
    assert one.source.settings["batch"] >= 256


def test_settings_survive_a_file_and_changes_reach_them(cohort, quick):
    changes = ("patches.size=32", "split.test=2", "sources.calibrated.settings.lessons=20")
    found = advise(cohort, epsilon=8.0, changes=changes)
    assert parse_config(found.toml, name="copy") == found.config
    assert found.config == recommended_config(cohort, epsilon=8.0, changes=changes)[0]
    assert found.known.subjects == 15
    assert found.config.patches.size == 32
    assert found.config.sources[1].settings["lessons"] == 20


def test_what_the_protocol_says_reaches_every_source_that_simulates(cohort, quick, tmp_path, capsys):
    file, said = tmp_path / "plan.toml", ["--known", "acquisition.voxel_k_mm=1.4", "--known", "contrast.te_ms=[3, 4]"]
    assert main(["recommend", str(cohort), "--epsilon", "8", "--write", str(file), "--json", *said]) == 0
    assert not any("--known" in sentence for sentence in json.loads(capsys.readouterr().out)["expect"])
    narrow = {"acquisition.voxel_k_mm": 1.4, "contrast.te_ms": [3, 4]}
    kept = {source.synthesizer: source.settings.get("known") for source in load_config(file=file).sources}
    assert kept == {"real": None, "calibrated": narrow, "simulator": narrow, "shuffled": None}


@pytest.mark.parametrize("command", [["recommend", "{}", "--epsilon", "1"], ["run", "{}", "out"]])
def test_a_protocol_that_does_not_fit_the_prior_is_refused(cohort, quick, capsys, command):
    call = [word.format(cohort) for word in command]
    assert main([*call, "--known", "acquisition.voxel_k_mm=1000"]) == 2
    assert "voxel_k_mm from 1000" in capsys.readouterr().err


def test_the_command_answers_and_writes_settings_that_a_run_reads(cohort, quick, tmp_path, capsys):
    file = tmp_path / "plan.toml"
    call = ["recommend", str(cohort), "--epsilon", "8", "--unit", "subject", "--delta", "1/1000"]
    assert main([*call, "--json", "--write", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["recommended"], found["subjects"], found["patches"]) == ("calibrated", 12, 12_000)
    assert found["verdicts"][0]["epsilon"]["subject"] <= 8
    assert found["verdicts"][0]["numbers"] >= 1
    assert found["verdicts"][0]["statement"]["subject"]["delta"] == 1e-3
    assert found["settings"]["sources"][1]["privacy"]["delta"] == 1e-3
    assert load_config(file=file).model_dump(mode="json") == found["settings"]
    assert main([*call, "--write", str(file)]) == 2
    assert main(call) == 0
    assert parse_config(capsys.readouterr().out.partition("\n# ")[2].partition("\n")[2], name="shown")


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (["--unit", "subject"], 2, "Missing option"),
        (["--epsilon", "much"], 2, "is no number"),
        (["--epsilon", "0"], 2, "must be in"),
        (["--epsilon", "1", "--unit", "scan"], 2, "scan"),
        (["--epsilon", "1", "--delta", "0.5"], 4, "take 1e-05"),
        (["--epsilon", "1", "--set", "split.test=40"], 2, "split.test"),
    ],
)
def test_a_wrong_question_is_one_line_and_an_exit_code(cohort, quick, capsys, call, code, said):
    assert main(["recommend", str(cohort), *call]) == code
    spoken = capsys.readouterr()
    assert said in spoken.err
    assert spoken.out == ""


def test_a_run_without_settings_takes_what_is_recommended(cohort, quick, tmp_path, capsys):
    call = ["run", str(cohort), str(tmp_path / "out"), "--dry-run", "--json"]
    assert main([*call, "--epsilon", "8", "--unit", "subject"]) == 0
    spoken = capsys.readouterr()
    train = {row["item"]: row for row in json.loads(spoken.out)["stages"] if row["stage"] == "train"}
    assert list(train) == ["real", "calibrated", "simulator", "shuffled"]
    assert 7.9 < train["calibrated"]["epsilon"]["subject"] <= 8
    assert "calibrated" in spoken.err
    assert main(call) == 0
    train = [row["item"] for row in json.loads(capsys.readouterr().out)["stages"] if row["stage"] == "train"]
    assert train == ["real", "simulator", "shuffled"]  # epsilon 1 where nothing was asked: not worth it for a dozen
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [["--epsilon", "1"], ["--unit", "patch"], ["--delta", "1e-5"]])
def test_a_preset_and_a_budget_exclude_each_other(cohort, tmp_path, capsys, more):
    assert main(["run", str(cohort), str(tmp_path / "out"), "--preset", "kossen2022-small", *more]) == 2
    assert "give either" in capsys.readouterr().err


def test_a_preset_is_told_what_the_protocol_says(cohort, tmp_path):
    from angioshare.stages.folder import planned_run

    settings = advice.with_protocol(load_config(preset="calibrated"), {"acquisition.voxel_i_mm": 0.7})
    told = {one.synthesizer: one.settings.get("known") for one in settings.sources}
    assert told == {"real": None, "calibrated": {"acquisition.voxel_i_mm": 0.7}} | {
        "simulator": {"acquisition.voxel_i_mm": 0.7}, "shuffled": None
    }  # fmt: skip
    again = advice.with_protocol(settings, {"contrast.tr_ms": (22.0, 24.0)})
    assert again.sources[1].settings["known"] == {"acquisition.voxel_i_mm": 0.7, "contrast.tr_ms": (22.0, 24.0)}
    planned_run(tmp_path / "made", again, cohort, (), ledger=None, state=tmp_path / "state")
    call = ["run", str(cohort), str(tmp_path / "out"), "--preset", "calibrated", "--dry-run"]
    assert main([*call, "--known", "acquisition.voxel_i_mm=0.7"]) == 0


@pytest.mark.parametrize(
    ("preset", "known", "said"),
    [
        ("calibrated", "acquisition.voxel_i_mm=70", "must lie in"),
        ("calibrated", "voxel=0.7", "does not exist"),
        ("calibrated", "acquisition.voxel_i_mm", "parameter=value"),
    ],
)
def test_a_protocol_that_a_preset_cannot_take_is_refused(cohort, tmp_path, capsys, preset, known, said):
    assert main(["run", str(cohort), str(tmp_path / "out"), "--preset", preset, "--known", known]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_settings_in_which_nothing_simulates_take_no_protocol(cohort):
    config = load_config(preset="calibrated")
    real = config.model_copy(update={"sources": config.sources[:1]})
    with pytest.raises(SettingsError, match="sources that simulate"):
        advice.with_protocol(real, {"acquisition.voxel_i_mm": 0.7})


@pytest.mark.parametrize(("method", "unit"), [("taught-reader", "patch"), ("steered-reader", "subject")])
def test_the_time_counts_every_turn_in_which_labels_are_read(method, unit):
    base, one = load_config(preset="calibrated"), known(patches=1000, unit=unit)
    settings = planned(method, one, base).source.settings

    def in_turns(turns):
        return seconds(_planned(method, unit, {**settings, "label_turns": turns}, one, base))

    read = settings["simulated_subjects"] * settings["extent"] * 2 * base.patches.per_subject
    assert in_turns(3) - in_turns(1) == pytest.approx(reading(int(read), 96, 8), abs=0.2)
    assert read > 0


@pytest.mark.parametrize("epsilon", [0.01, 8.0])
@pytest.mark.parametrize("unit", ["patch", "subject"])
def test_with_a_public_cohort_there_are_a_reader_that_it_teaches_and_its_own_pairs(cohort, epsilon, unit):
    plain, _ = recommended_config(cohort, epsilon=epsilon, unit=unit)
    found, first = recommended_config(cohort, epsilon=epsilon, unit=unit, public_cohort=True)
    by_name = {source.synthesizer: source for source in found.sources}
    free = {"simulator", "untaught-reader", "public-cohort"}
    assert set(by_name) == {"real", "shuffled", first.method, *free}
    assert len(found.sources) == len(by_name)
    simulator = next(source for source in plain.sources if source.synthesizer == "simulator")
    untaught = by_name["untaught-reader"]
    assert untaught.settings["simulated_subjects"] == simulator.settings["subjects"]
    assert (untaught.pairs, untaught.settings["extent"]) == (simulator.pairs, simulator.settings["extent"])
    assert by_name["public-cohort"].pairs == untaught.pairs


def test_beside_a_public_cohort_comes_first_what_was_seen_to_beat_what_it_gives_for_nothing(cohort):
    methods = {}
    for unit in ("patch", "subject"):
        found = advise(cohort, epsilon=8.0, unit=unit, public_cohort=True)
        methods[unit] = [row.method for row in found.rows]
        assert found.config.sources[1].synthesizer == methods[unit][0]
        rows = {row.method: row.reason for row in found.rows}
        assert "Beside a public cohort it was not seen to earn its epsilon." in rows["steered-reader"]
        assert "Beside a public cohort" not in rows["taught-reader"]
    assert methods["patch"][:3] == ["taught-reader", "untaught-reader", "simulator"]
    assert methods["subject"][:2] == ["untaught-reader", "simulator"]
    words = " ".join(found.expect)
    assert "gives for nothing: keep it." in words
    assert "taught-reader would begin to pay" in words
    assert "steered-reader would" not in words


def test_the_command_takes_a_public_cohort(cohort, capsys):
    call = ["recommend", str(cohort), "--epsilon", "8", "--json"]
    assert main([*call, "--public-cohort", str(cohort)]) == 0
    assert json.loads(capsys.readouterr().out)["recommended"] == "untaught-reader"
    assert main([*call, "--public-cohort", str(cohort / "nowhere")]) == 3
