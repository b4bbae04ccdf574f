"""What the trade-off figure shows, in words, from the numbers: also where nothing is usable, all is, or seeds lack."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev

from angioshare.report.limits import weak
from angioshare.report.study.captions import listed
from angioshare.report.study.content import Role, Setting, StudyContent
from angioshare.report.study.threshold import Threshold, Verdict, thresholds

SAME = 0.0005
"""Dice that differ by no more are the same in print."""

RIVALS: tuple[Role, ...] = ("real", "non-private", "simulator", "public", "shuffled")
"""What has no noise, in the order of a sentence."""


def study_words(content: StudyContent) -> list[str]:
    """Say what the study found.

    Args:
        content: Settings and records.

    Returns:
        Sentences in order, a paragraph each: what is missing, then for each site the ceiling and floor, the fall with
        noise, and the threshold; last what the usable settings protect.
    """
    found = thresholds(content)
    paragraphs = _unfinished(content)
    for site in content.sites:
        here = [one for one in found if one.site == site]
        paragraphs += [_rivals(content, site), *(_family(one) for one in here)]
    if not found:
        return [*paragraphs, "No private setting was evaluated yet, so there is no trade-off to speak of."]
    return [*paragraphs, *_sites_differ(content, found), *_protection(found)]


def _unfinished(content: StudyContent) -> list[str]:
    """Which settings rest on fewer seeds than planned."""
    if not content.missing:
        return []
    points = sum(len(setting.points) for setting in content.settings)
    return [
        f"The study is not finished: {len(content.missing)} of {points} points lack a stage. What follows rests on "
        "what is there, and may change."
    ]


def _rivals(content: StudyContent, site: str) -> str:
    """Ceiling and floor at a site."""
    parts = [
        f"{_quoted(setting)} {_mean_words(means)}"
        for role in RIVALS
        for setting in content.with_role(role)
        if (means := content.seed_means(setting, "dice", site))
    ]
    if not parts:
        return f"At {site}, nothing without noise was evaluated yet."
    return f"At {site}, segmenters reach these Dice: {'; '.join(parts)}."


def _family(one: Threshold) -> str:
    """How a family does with noise, and its threshold."""
    least, most = one.verdicts[0], one.verdicts[-1]
    if len(one.verdicts) == 1:
        alone = f"{_setting_words(least.setting)} alone: Dice {_verdict_words(least)}"
        fall = f"At {one.site}, {one.family} was evaluated at {alone}."
    else:
        fall = (
            f"At {one.site}, with noise, {one.family} goes from Dice {_verdict_words(least)} at "
            f"{_setting_words(least.setting)} to {_verdict_words(most)} at {_setting_words(most.setting)}; "
            f"{_steps(one.verdicts)}."
        )
    return " ".join([fall, threshold_words(one), *_spread_words(one)])


def _steps(verdicts: Sequence[Verdict]) -> str:
    """Whether more noise always meant less Dice."""
    falls = sum(before.mean - after.mean > SAME for before, after in pairwise(verdicts))
    steps = len(verdicts) - 1
    if falls == steps:
        return "it falls with every step of more noise" if steps > 1 else "it falls with more noise"
    if all(abs(after.mean - before.mean) <= SAME for before, after in pairwise(verdicts)):
        return "it does not change with noise"
    if not falls:
        return "it never falls with more noise, so no trade-off shows in this range"
    return f"it falls in {falls} of {steps} steps of more noise"


def threshold_words(one: Threshold) -> str:
    """Say up to which noise a family is usable at a site, in all cases: none, some, all, or nothing to compare with."""
    if one.bar is None:
        return (
            "No threshold can be told: neither a training without noise nor anything that costs no privacy was "
            "evaluated, so there is nothing to hold the Dice against."
        )
    bar = f"the bar of {one.bar.dice:.3f}, {one.bar.reason}"
    if one.last_usable is None:
        best = max(one.verdicts, key=lambda verdict: verdict.mean)
        words = f"None of its private settings is usable: the best mean is {best.mean:.3f}, not above {bar}"
        words = words if not one.strays else f"Already with the least noise it is not usable: not above {bar}"
    elif one.first_unusable is None:
        words = (
            f"All its private settings are usable, above {bar}: the threshold lies beyond the largest noise that was "
            f"tried, {_setting_words(one.last_usable)}"
        )
    else:
        words = (
            f"Training is usable up to {_setting_words(one.last_usable)} and unusable from "
            f"{_setting_words(one.first_unusable)} on, where it falls below {bar}"
        )
    if one.strays:
        noises = " and ".join(stray.noise_shown for stray in one.strays)
        words += f"; that noise {noises} lies above the bar again, out of order, tells how uncertain this is"
    return " ".join([words + ".", *_chance_words(one)])


def _chance_words(one: Threshold) -> list[str]:
    """Which settings are usable by their mean alone."""
    alone = [verdict.setting.noise_shown for verdict in one.verdicts if verdict.usable and not verdict.apart]
    if not alone:
        return []
    return [
        f"At noise {listed(alone)} it is usable by its mean alone, not told apart from the bar: the 95 % interval of "
        "the difference over subjects is not wholly above 0."
    ]


def _spread_words(one: Threshold) -> list[str]:
    """How far seeds lie apart, or that there is one alone."""
    several = [verdict for verdict in one.verdicts if len(verdict.means) > 1]
    if not several:
        return [
            "There is one seed for each of them, so nothing is known of the spread over seeds: read this with care."
        ]
    widest = max(several, key=lambda verdict: max(verdict.means) - min(verdict.means))
    if max(widest.means) - min(widest.means) <= SAME:
        return ["All its seeds give the same Dice, to three digits."]
    words = (
        f"Seeds lie farthest apart at noise {widest.setting.noise_shown}: from {min(widest.means):.3f} to "
        f"{max(widest.means):.3f}."
    )
    mixed = [verdict for verdict in several if one.bar is not None and 0 < verdict.above < len(verdict.means)]
    if mixed:
        cases = ", ".join(f"{v.above} of {len(v.means)} at noise {v.setting.noise_shown}" for v in mixed)
        words += f" Seeds disagree about the bar ({cases} above it), so the threshold is no sharp line there."
    return [words]


def _sites_differ(content: StudyContent, found: Sequence[Threshold]) -> list[str]:
    """Whether training becomes unusable earlier at a second site."""
    families = dict.fromkeys(one.family for one in found)
    told = []
    for family in families:
        ends = {one.site: _end(one) for one in found if one.family == family and one.bar is not None}
        if len(ends) < 2:
            continue
        beyond = any(one.family == family and one.first_unusable is not None for one in found)
        if not any(ends.values()):
            told.append(f"{family} is usable at no site with any of its noises.")
        elif not beyond:
            told.append(f"{family} is usable with all of its noises at {listed(ends)}.")
        elif len(set(ends.values())) == 1:
            told.append(f"{family} becomes unusable at the same step of noise at {listed(ends)}.")
        else:
            told.append(
                f"{family} is usable "
                + ", ".join(f"at {site} {_end_words(end)}" for site, end in ends.items())
                + ": segmenters that learned from noisy pairs do not fare alike at all sites."
            )
    return [" ".join(told)] if told else []


def _end(one: Threshold) -> float:
    """Largest usable noise; 0 where there is none."""
    return (one.last_usable.noise_multiplier or 0.0) if one.last_usable is not None else 0.0


def _end_words(end: float) -> str:
    return f"up to noise {end:.4g}" if end else "with none of its noises"


def _protection(found: Sequence[Threshold]) -> list[str]:
    """What the usable settings protect."""
    usable = {setting.name: setting for one in found if one.bar is not None for setting in one.usable}
    if not usable:
        return ["Since no private setting is usable, no useful pairs with a guarantee come out of this study."]
    settings = list(usable.values())
    low = min(settings, key=lambda setting: setting.epsilon("patch"))
    apart = any(v.apart for one in found if low in one.usable for v in one.verdicts if v.setting is low)
    chance = "" if apart else "is so by its mean alone and "
    words = (
        f"The strictest setting that is usable at any site, {_setting_words(low)}, {chance}bounds one patch by epsilon "
        f"{low.epsilon_shown('patch')} and one subject by epsilon {low.epsilon_shown('subject')}."
    )
    if all(weak(setting.epsilon("patch")) for setting in settings):
        words += " No usable setting protects a person, or even a patch, in any meaningful way."
    elif all(weak(setting.epsilon("subject")) for setting in settings):
        words += " No usable setting protects a person in any meaningful way."
    return [words + " This is for one run; all runs on the cohort together cost more, see the statement of the cohort."]


def _setting_words(setting: Setting) -> str:
    """Noise with both bounds."""
    return (
        f"noise {setting.noise_shown} (epsilon {setting.epsilon_shown('patch')} for one patch, "
        f"{setting.epsilon_shown('subject')} for one subject)"
    )


def _verdict_words(verdict: Verdict) -> str:
    return _mean_words(verdict.means)


def _mean_words(means: Sequence[float]) -> str:
    """Mean over seeds, with SD where there are several."""
    if len(means) == 1:
        return f"{means[0]:.3f} (one seed)"
    return f"{fmean(means):.3f} (SD {stdev(means):.3f} over {len(means)} seeds)"


def _quoted(setting: Setting) -> str:
    return f"“{setting.title}”"
