"""Where training becomes unusable: the bar, which settings stand above it, and up to which noise.

`DEFINITION` says it in words; `thresholds` computes it from records.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from angioshare.metrics.interval import paired_difference
from angioshare.report.study.content import Setting, StudyContent

DEFINITION = (
    "A private setting is usable at a site if the Dice of its segmenters, mean over subjects and then over seeds, lies "
    "above the bar. The bar is the highest of three: half of the Dice without privacy (the same synthesizer without "
    "noise), the best Dice of what costs no privacy (simulator, untaught reader, public cohort alone), and the Dice of "
    "real patches with shuffled labels. The threshold is the largest noise multiplier up to which every setting is "
    "usable. A mean may lie above the bar by chance: where the 95 % interval of the difference from the bar over "
    "subjects (paired, mean over seeds each) is not wholly above 0, a setting is usable by its mean alone, not told "
    "apart from the bar."
)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a private setting must exceed.

    Attributes:
        dice: The Dice.
        reason: Which of the three it is, in words.
        scores: The same for each subject, mean over seeds.
    """

    dice: float
    reason: str
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """One private setting at one site.

    Attributes:
        setting: Which.
        means: Mean over subjects of each seed.
        usable: Whether their mean exceeds the bar.
        above: How many seeds exceed it by themselves.
        apart: Whether it lies above the bar beyond chance: the 95 % interval of the difference over subjects (paired,
            each the mean over seeds) is above 0; never with fewer than two subjects, or without a bar.
    """

    setting: Setting
    means: tuple[float, ...]
    usable: bool
    above: int
    apart: bool

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return fmean(self.means)


@dataclass(frozen=True, kw_only=True, eq=False)
class Threshold:
    """The answer for one family at one site.

    Attributes:
        family: Settings that differ in noise alone.
        site: Test site.
        bar: What had to be exceeded; None where nothing was measured to hold against.
        verdicts: From least noise to most.
        last_usable: The setting at the threshold; None if none is usable from the least noise on.
        first_unusable: The next noisier setting; None if all are usable.
        strays: Settings above the threshold that are usable nevertheless.
    """

    family: str
    site: str
    bar: Bar | None
    verdicts: tuple[Verdict, ...]
    last_usable: Setting | None
    first_unusable: Setting | None
    strays: tuple[Setting, ...]

    @property
    def usable(self) -> tuple[Setting, ...]:
        """Settings up to the threshold, from least noise to most."""
        settings = [verdict.setting for verdict in self.verdicts]
        return tuple(settings[: settings.index(self.last_usable) + 1]) if self.last_usable is not None else ()


def thresholds(content: StudyContent) -> list[Threshold]:
    """Find where training becomes unusable, for each family and site that has scores.

    Args:
        content: Settings and records.

    Returns:
        One answer for each family of private settings and each site, families first.
    """
    families: dict[str, list[Setting]] = {}
    for setting in content.with_role("private"):
        if setting.noise_multiplier is not None:
            families.setdefault(setting.family, []).append(setting)
    found = []
    for family, settings in families.items():
        for site in content.sites:
            measured = [setting for setting in settings if content.seed_means(setting, "dice", site)]
            if measured:
                found.append(_threshold(content, family, list(reversed(measured)), site))
    return found


def _threshold(content: StudyContent, family: str, settings: Sequence[Setting], site: str) -> Threshold:
    """Settings from least noise to most; the first that fails ends what is usable."""
    bar = _bar(content, settings[0], site)
    verdicts = tuple(_verdict(content, setting, site, bar) for setting in settings)
    usable = [verdict.usable for verdict in verdicts]
    fails = usable.index(False) if False in usable else len(usable)
    return Threshold(
        family=family,
        site=site,
        bar=bar,
        verdicts=verdicts,
        last_usable=settings[fails - 1] if fails else None,
        first_unusable=settings[fails] if fails < len(settings) else None,
        strays=tuple(verdict.setting for verdict in verdicts[fails:] if verdict.usable),
    )


def _verdict(content: StudyContent, setting: Setting, site: str, bar: Bar | None) -> Verdict:
    means = tuple(content.seed_means(setting, "dice", site))
    floor = bar.dice if bar is not None else 0.0
    return Verdict(
        setting=setting,
        means=means,
        usable=fmean(means) > floor,
        above=sum(mean > floor for mean in means),
        apart=bar is not None and _apart(content.subject_means(setting, "dice", site), bar.scores),
    )


def _apart(scores: Mapping[str, float], bar: Mapping[str, float]) -> bool:
    """Whether scores lie above the bar's on the same subjects, by the interval of their difference."""
    subjects = sorted(scores.keys() & bar.keys())
    found = paired_difference([scores[one] for one in subjects], [bar[one] for one in subjects], seed=0)
    return found.low > 0  # NaN, and so False, below two subjects


def _bar(content: StudyContent, setting: Setting, site: str) -> Bar | None:
    """The highest of what was measured; None if neither simulator nor a training without noise was."""
    bars = []
    plain = reference(content, setting, site)
    if plain is not None:
        dice, scores = _mean(content, plain, site), content.subject_means(plain, "dice", site)
        halves = {subject: score / 2 for subject, score in scores.items()}
        bars.append(Bar(dice=dice / 2, reason=f"half of the Dice without privacy ({dice:.3f})", scores=halves))
    for role in ("simulator", "public", "shuffled"):
        best = _best(content, [one for one in content.settings if one.role == role], site)
        if best is not None and (bars or role != "shuffled"):
            alone = " alone" if role == "public" else ""
            free = f"the Dice of the {best.synthesizer.replace('-', ' ')}{alone}, which costs no privacy"
            reason = free if role != "shuffled" else "the Dice of real patches with shuffled labels"
            scores = content.subject_means(best, "dice", site)
            bars.append(Bar(dice=_mean(content, best, site), reason=reason, scores=scores))
    return max(bars, key=lambda bar: bar.dice, default=None)


def reference(content: StudyContent, setting: Setting, site: str) -> Setting | None:
    """The best without privacy: of the same synthesizer where it was trained without noise, else of any."""
    plain = [one for one in content.with_role("non-private") if content.seed_means(one, "dice", site)]
    return _best(content, [one for one in plain if one.synthesizer == setting.synthesizer] or plain, site)


def _best(content: StudyContent, settings: Iterable[Setting], site: str) -> Setting | None:
    """The setting with the largest Dice at a site; None if none was measured."""
    measured = [one for one in settings if content.seed_means(one, "dice", site)]
    return max(measured, key=lambda one: _mean(content, one, site), default=None)


def _mean(content: StudyContent, setting: Setting, site: str) -> float:
    return fmean(content.seed_means(setting, "dice", site))
