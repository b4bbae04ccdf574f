"""Where training becomes unusable: constructed cases, and what the page says of each."""

from dataclasses import replace

import pytest
from made_study import RIVALS, SITES, a_setting, made_study, with_records

from angioshare.privacy.unit import public_knowledge
from angioshare.report.study.threshold import thresholds
from angioshare.report.study.words import study_words, threshold_words


def at_home(content):
    return thresholds(content)[0]


def ends(content):
    """Noise of the last usable and of the first unusable setting at the own site."""
    one = at_home(content)
    return tuple(
        setting.noise_multiplier if setting is not None else None for setting in (one.last_usable, one.first_unusable)
    )


def rivals(**changes):
    return {name: value for name, value in (RIVALS | changes).items() if value is not None}


CASES = {
    "some usable": ({0.4: 0.5, 0.8: 0.4, 1.2: 0.2, 2.0: 0.05}, {}, (0.8, 1.2)),
    "none usable": ({0.4: 0.2, 0.8: 0.1}, {}, (None, 0.4)),
    "all usable": ({0.4: 0.5, 0.8: 0.4}, {}, (0.8, None)),
    "usable again out of order": ({0.4: 0.5, 0.8: 0.2, 1.2: 0.4}, {}, (0.4, 0.8)),
    "only out of order": ({0.4: 0.2, 0.8: 0.4}, {}, (None, 0.4)),
    "the simulator is the bar": ({0.4: 0.5, 0.8: 0.4}, {"simulator": 0.45}, (0.4, 0.8)),
    "shuffled labels are the bar": ({0.4: 0.5, 0.8: 0.4}, {"shuffled": 0.45}, (0.4, 0.8)),
    "no training without noise": ({0.4: 0.5, 0.8: 0.2}, {"plain": None}, (0.4, 0.8)),
    "one noise": ({1.0: 0.5}, {}, (1.0, None)),
}


@pytest.mark.parametrize(("noisy", "changes", "wanted"), CASES.values(), ids=CASES)
def test_the_threshold_of_a_constructed_case(noisy, changes, wanted):
    assert ends(made_study(noisy, rivals=rivals(**changes))) == wanted


@pytest.mark.parametrize(
    ("changes", "dice", "reason"),
    [({}, 0.3, "half of the Dice"), ({"simulator": 0.45}, 0.45, "simulator"), ({"shuffled": 0.45}, 0.45, "shuffled")],
)
def test_the_bar_is_the_highest_of_three(changes, dice, reason):
    bar = at_home(made_study(rivals=rivals(**changes))).bar
    assert bar.dice == pytest.approx(dice, abs=0.01)
    assert reason in bar.reason


def test_a_public_cohort_alone_is_a_bar_too():
    study = made_study(rivals=rivals(public=0.55))
    settings = [
        replace(one, kind="public", synthesizer="public-cohort", statement=public_knowledge(("pairs",)))
        if one.name == "public"
        else one
        for one in study.settings
    ]
    bar = at_home(replace(study, settings=settings)).bar
    assert bar.dice == pytest.approx(0.55, abs=0.01)
    assert bar.reason == "the Dice of the public cohort alone, which costs no privacy"


def test_of_two_that_cost_no_privacy_the_better_one_is_the_bar():
    study = made_study(rivals=rivals(untaught=0.55))
    settings = [
        replace(one, kind="simulator", synthesizer="untaught-reader", statement=public_knowledge(("pairs",)))
        if one.name == "untaught" else one
        for one in study.settings
    ]  # fmt: skip
    bar = at_home(replace(study, settings=settings)).bar
    assert bar.dice == pytest.approx(0.55, abs=0.01)
    assert bar.reason == "the Dice of the untaught reader, which costs no privacy"


def test_without_anything_to_hold_against_there_is_no_threshold():
    study = made_study(rivals=rivals(plain=None, simulator=None))
    assert at_home(study).bar is None
    assert "No threshold can be told" in threshold_words(at_home(study))


def test_a_dice_at_the_bar_is_not_above_it():
    study = made_study({1.0: 0.5}, rivals={"simulator": 0.5}, seeds=1)
    records = [replace(r, value=0.5) if r.metric == "dice" else r for r in study.report.records]
    assert ends(with_records(study, records)) == (None, 1.0)


@pytest.mark.parametrize("raised", range(4))
def test_more_dice_never_lowers_the_threshold(raised):
    noisy = {0.4: 0.5, 0.8: 0.28, 1.2: 0.4, 2.0: 0.05}
    better = {noise: dice + 0.3 * (n == raised) for n, (noise, dice) in enumerate(noisy.items())}
    before, after = (ends(made_study(each))[0] for each in (noisy, better))
    assert after >= before


def test_each_site_has_its_own_threshold():
    study = made_study()
    records = [
        replace(r, value=0.01) if (r.metric, r.site) == ("dice", SITES[1]) and r.trained_on == "private-2-seed0" else r
        for r in study.report.records
    ]
    worse = with_records(study, records)
    assert [one.last_usable.noise_multiplier for one in thresholds(worse)] == [0.8, 0.4]
    assert "usable at site-1 up to noise 0.8, at site-2 up to noise 0.4" in " ".join(study_words(worse))


def test_the_training_without_noise_of_the_same_synthesizer_is_what_counts():
    study = made_study(rivals=rivals(simulator=None))
    other = replace(a_setting("other"), synthesizer="another", points=study.settings[0].points)
    assert at_home(replace(study, settings=[*study.settings, other])).bar.dice == pytest.approx(0.3, abs=0.01)


def test_a_setting_that_was_not_evaluated_says_nothing():
    study = made_study()
    lost = with_records(study, [r for r in study.report.records if not r.trained_on.startswith("private-3")])
    assert ends(lost) == (0.8, 2.0)
    assert thresholds(with_records(study, [])) == []


def judged(private, free, **more):
    """The verdict on one private setting whose subjects have these Dice, beside a simulator whose have those."""
    study = made_study({1.0: 0.5}, rivals={"simulator": 0.5}, subjects=len(private), **more)
    told = {"private-1": private, "simulator": free}

    def value(record):
        return told[record.trained_on.rpartition("-seed")[0]][int(record.subject[-1])]

    records = [replace(r, value=value(r)) for r in study.report.records if (r.metric, r.site) == ("dice", SITES[0])]
    found = at_home(with_records(study, records))
    return found.verdicts[0], threshold_words(found)


@pytest.mark.parametrize(
    ("private", "free", "apart"),
    [
        ([0.9, 0.2, 0.2, 0.2], [0.3, 0.3, 0.3, 0.3], False),
        ([0.4, 0.4, 0.4, 0.4], [0.3, 0.3, 0.3, 0.3], True),
        ([0.91, 0.51, 0.31, 0.11], [0.9, 0.5, 0.3, 0.1], True),
        ([0.31, 0.11, 0.91, 0.51], [0.9, 0.5, 0.3, 0.1], False),
        ([0.9], [0.1], False),
    ],
    ids=["one subject lifts the mean", "all above", "all above, pair by pair", "the same in another order", "alone"],
)
def test_a_usable_setting_is_told_apart_from_the_bar_by_its_subjects(private, free, apart):
    verdict, words = judged(private, free)
    assert verdict.usable
    assert verdict.apart == apart
    assert ("At noise 1 it is usable by its mean alone, not told apart from the bar" in words) != apart


def test_what_is_not_usable_is_not_said_to_be_usable_by_its_mean():
    verdict, words = judged([0.2, 0.2], [0.3, 0.3])
    assert (verdict.usable, verdict.apart) == (False, False)
    assert "by its mean" not in words


def test_half_of_the_dice_without_privacy_is_half_of_it_on_every_subject():
    study = made_study({1.0: 0.4}, rivals={"plain": 0.6}, subjects=4)
    told = {r.subject: 0.2 * (1 + int(r.subject[-1])) for r in study.report.records if r.metric == "dice"}

    def value(record):
        whole = told[record.subject]
        return whole if record.trained_on.startswith("plain") else whole / 2 + 0.01

    records = [replace(r, value=value(r)) for r in study.report.records if r.metric == "dice"]
    found = at_home(with_records(study, records))
    assert found.bar.scores == pytest.approx({name: dice / 2 for name, dice in told.items() if name[4] == "0"})
    assert found.verdicts[0].apart


def test_subjects_are_means_over_seeds():
    study = made_study(seeds=3, spread=0.1)
    setting = study.settings[0]
    spread = study.spread(setting, "dice", SITES[0])
    found = study.subject_means(setting, "dice", SITES[0])
    for place, subject in enumerate(spread[0].subjects):
        assert found[subject] == pytest.approx(sum(one.values[place] for one in spread) / 3)


@pytest.mark.parametrize(("dice", "chance"), [((0.9, 0.1), True), ((0.5, 0.4), False)])
def test_the_strictest_usable_setting_is_not_praised_for_chance(dice, chance):
    study = made_study({1.0: 0.5}, rivals={"simulator": 0.3})
    records = [
        replace(r, value=dice[int(r.subject[-1]) > 0]) if r.metric == "dice" and r.trained_on.startswith("p") else r
        for r in study.report.records
    ]
    assert ("is so by its mean alone and bounds one patch" in study_words(with_records(study, records))[-1]) == chance


def words_of(case, **more):
    noisy, changes, _ = CASES[case]
    return " ".join(study_words(made_study(noisy, rivals=rivals(**changes), **more)))


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("some usable", "Training is usable up to noise 0.8 (epsilon 6.25 for one patch, 6250 for one subject)"),
        ("some usable", "it falls with every step of more noise"),
        ("some usable", "No usable setting protects a person in any meaningful way"),
        ("none usable", "None of its private settings is usable: the best mean is 0.20"),
        ("none usable", "WGAN is usable at no site with any of its noises"),
        ("all usable", "WGAN is usable with all of its noises at site-1 and site-2"),
        ("some usable", "WGAN becomes unusable at the same step of noise at site-1 and site-2"),
        ("none usable", "no useful pairs with a guarantee come out of this study"),
        ("all usable", "All its private settings are usable"),
        ("all usable", "beyond the largest noise that was tried, noise 0.8"),
        ("usable again out of order", "noise 1.2 lies above the bar again, out of order"),
        ("usable again out of order", "it falls in 1 of 2 steps"),
        ("only out of order", "Already with the least noise it is not usable"),
        ("one noise", "WGAN was evaluated at noise 1"),
        ("the simulator is the bar", "the Dice of the simulator, which costs no privacy"),
    ],
)
def test_the_page_says_what_the_numbers_say(case, said):
    assert said in words_of(case)


def test_one_seed_alone_is_said_to_be_one_seed_alone():
    words = words_of("some usable", seeds=1)
    assert "nothing is known of the spread over seeds" in words
    assert "(one seed)" in words
    assert "SD" not in words


def test_a_dice_that_noise_does_not_change_is_not_called_a_fall_or_a_spread():
    words = " ".join(study_words(made_study({1.0: 0.0, 2.0: 0.0}, spread=0.0)))
    assert "it does not change with noise" in words
    assert "All its seeds give the same Dice" in words
    assert "it never falls with more noise" in " ".join(study_words(made_study({1.0: 0.4, 2.0: 0.5})))


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ({0.4: 0.5, 0.8: 0.49999}, "it does not change with noise"),
        ({0.4: 0.5, 0.8: 0.49999, 1.2: 0.3}, "it falls in 1 of 2 steps of more noise"),
        ({0.4: 0.5, 0.8: 0.49, 1.2: 0.48}, "it falls with every step of more noise"),
    ],
)
def test_a_fall_that_print_does_not_show_is_none(levels, said):
    study = made_study(levels, seeds=1)
    told = {f"private-{n}-seed0": dice for n, dice in enumerate(levels.values(), 1)}
    records = [replace(r, value=told.get(r.trained_on, r.value)) for r in study.report.records if r.metric == "dice"]
    assert said in " ".join(study_words(with_records(study, records)))


def test_seeds_that_disagree_about_the_bar_are_named():
    words = words_of("some usable", spread=0.15)
    assert "Seeds disagree about the bar" in words
    assert "of 3 at noise 0.8" in words


def test_an_unfinished_study_says_so_first_and_one_without_private_points_last():
    unfinished = made_study(missing={"real-seed0": ["evaluate"]})
    assert study_words(unfinished)[0].startswith("The study is not finished: 1 of 24 points")
    assert study_words(made_study({}))[-1].startswith("No private setting was evaluated yet")
