"""Where training becomes unusable: the bar, which settings stand above it, and up to which noise.

`DEFINITION` says it in words; `thresholds` computes it from records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from angioshare.report.study.content import Setting, StudyContent

DEFINITION = (
    "A private setting is usable at a site if the Dice of its segmenters, mean over subjects and then over seeds, lies "
    "above the bar. The bar is the highest of three: half of the Dice without privacy (the same synthesizer without "
    "noise), the best Dice of what costs no privacy (simulator, untaught reader), and the Dice of real patches with "
    "shuffled labels. The "
    "threshold is the largest noise multiplier up to which every setting is usable."
)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a private setting must exceed.

    Attributes:
        dice: The Dice.
        reason: Which of the three it is, in words.
    """

    dice: float
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """One private setting at one site.

    Attributes:
        setting: Which.
        means: Mean over subjects of each seed.
        usable: Whether their mean exceeds the bar.
        above: How many seeds exceed it by themselves.
    """

    setting: Setting
    means: tuple[float, ...]
    usable: bool
    above: int

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
    return Verdict(setting=setting, means=means, usable=fmean(means) > floor, above=sum(mean > floor for mean in means))


def _bar(content: StudyContent, setting: Setting, site: str) -> Bar | None:
    """The highest of what was measured; None if neither simulator nor a training without noise was."""
    bars = []
    plain = reference(content, setting, site)
    if plain is not None:
        bars.append(Bar(dice=plain / 2, reason=f"half of the Dice without privacy ({plain:.3f})"))
    for role in ("simulator", "shuffled"):
        found = [
            (fmean(means), one.synthesizer)
            for one in content.settings
            if one.role == role and (means := content.seed_means(one, "dice", site))
        ]
        if found and (bars or role == "simulator"):
            dice, best = max(found)
            free = f"the Dice of the {best.replace('-', ' ')}, which costs no privacy"
            bars.append(
                Bar(dice=dice, reason=free if role == "simulator" else "the Dice of real patches with shuffled labels")
            )
    return max(bars, key=lambda bar: bar.dice, default=None)


def reference(content: StudyContent, setting: Setting, site: str) -> float | None:
    """Dice without privacy: of the same synthesizer where it was trained without noise, else the best of any."""
    plain = [one for one in content.with_role("non-private") if content.seed_means(one, "dice", site)]
    same = [one for one in plain if one.synthesizer == setting.synthesizer]
    return max((fmean(content.seed_means(one, "dice", site)) for one in same or plain), default=None)
