"""The rules, flat: what a budget leaves of each method, from public numbers alone, and which one comes first.

One number decides: the noise on every number of the mean over units, as a share of the bound C on one unit. For T
releases that keep the budget together it is

    noise = sigma / (q N), and at least about sqrt(T) / (mu N)

(sigma: noise multiplier, q N: expected draw, mu: of the Gaussian mechanism with this epsilon and delta). Large draws
come near the second, whatever their size. What a method can bear is its own affair:

- A calibrated simulator is told, of what tells simulated sites apart, 62 % at a noise of 1/4, 34 % at 1/2 and 13 % at 1
  (10 numbers, 240 simulated subjects, each judged by the others; docs/how-to/choose-a-method.md). A segmenter asks for
  more: by its Dice on one cohort, the release was not worth its epsilon at a noise of 0.31, nor at 0.12, against the
  simulator alone (docs/results/utility-earlier.md). Less noise was not measured, but for patches, where there is hardly
  any: it was worth it, with an earlier prior at epsilon 1 and with today's at 0.1 (docs/results/utility.md, once each).
- A network moves along millions of weights. The published one, with draws of 32 patches, learnt at 0.003 and below, and
  nothing at 0.01 and above (docs/results/tradeoff.md, noise 0.1 and 0.3). For the same network begun on the simulator
  these bounds are taken over. What they learn is another matter: where all were measured, U-Nets of the simulator alone
  were far better, also without any noise (docs/results/utility.md, once each).
- A steered reader, told 16 numbers once, beat the simulator alone at 0.05 and 0.12 and not at 0.31 or 0.59 (that page,
  one cohort). Nothing between 0.12 and 0.31 was measured: where it ceases to pay is a guess.
- The bounds of all other methods are arithmetic, not measured.

Whatever nobody has seen beat the simulator alone stands behind it, which costs nothing. Where there is a public cohort,
a reader that has learnt from it costs nothing either, and is harder to beat: with one, on one cohort, a steered reader
at epsilon 3 was not told apart from it, in one training each, and a taught one (for patches) was 0.02 of Dice better
(docs/results/utility.md, public cohort).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from angioshare.synthesis.registry import PUBLIC, PUBLIC_COHORT

Verdict: TypeAlias = Literal["good", "weak", "public", "hopeless", "refused"]
"""Well within what the method bears; noise nearly drowns it; nothing private is read; drowned; cannot be had."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is known of a method beforehand.

    Attributes:
        good: Noise up to which it works well.
        hopeless: Noise from which on it tells nothing.
        basis: What these bounds were measured on; empty where they are arithmetic.
        why: A sentence on it.
        earned: Whether it was seen to beat the simulator alone.
        beside: Whether it was seen to beat what a public cohort gives for nothing.
    """

    good: float
    hopeless: float
    why: str
    basis: str = ""
    earned: bool = False
    beside: bool = False


RULES: dict[str, Rule] = {
    "taught-reader": Rule(
        good=0.055,
        hopeless=0.1,
        basis="by the Dice on one cohort at 0.053 and below; from there on a guess",
        earned=True,
        beside=True,
        why=(
            "A U-Net that begins with what simulated pairs have taught it learns from patches what this site's readers "
            "call an artery, and labels simulated scans. On the rendered cohort of development (12 subjects of 1,000 "
            "patches, 3 seeds, voxel known) it kept 0.951 of real training's Dice at epsilon 1 per patch and 0.93 at "
            "0.1, the simulator alone 0.90. Believe the report's comparison."
        ),
    ),
    "steered-reader": Rule(
        good=0.12,
        hopeless=0.2,
        basis="by the Dice on one cohort at 0.05, 0.12 and 0.31; between the last two a guess",
        earned=True,
        why=(
            "Sixteen released numbers move a U-Net of simulated sites, which labels simulated scans. On the rendered "
            "cohort of development (12 subjects, 3 seeds, voxel known) it kept 0.92 of real training's Dice at epsilon "
            "8 per subject, 0.91 at 3 and 0.90 at 1, the simulator alone 0.90: it beat that at 8 and 3 and not at 1. "
            "Believe the report's comparison."
        ),
    ),
    "calibrated": Rule(
        good=1 / 20,
        hopeless=1 / 10,
        basis="by the Dice on one cohort",
        earned=True,
        why=(
            "One release of a few numbers; all else is simulated, so it cannot show what the simulator cannot draw. On "
            "the rendered cohort of development (12 subjects, 3 seeds, earlier priors) it kept 0.79 of real training's "
            "Dice at epsilon 1 per subject and 0.78 at 3, less than the simulator alone (0.81); before that 0.89 "
            "at 1 per patch, the simulator alone 0.77. Told the voxel's size, the simulator alone kept 0.87 and it "
            "0.85 at 1 per subject (3 seeds); with today's prior the simulator alone kept 0.88 and it 0.91 at 0.1 per "
            "patch (one seed). Believe the report's comparison."
        ),
    ),
    "evolution": Rule(
        good=1 / 8,
        hopeless=1 / 3,
        why=(
            "Votes spread over many prototypes, so they bear less noise than the calibrated simulator's few numbers. "
            "On the rendered cohort of development (12 subjects, 3 seeds) it kept 0.90 of real training's Dice at "
            "epsilon 1 per subject, and so did the simulator alone."
        ),
    ),
    "feature-matching": Rule(
        good=1 / 8,
        hopeless=1 / 3,
        why=(
            "One noisy mean of learnt features, which generated or simulated pairs are made to match. On the rendered "
            "cohort of development (one run) it kept 0.76 of real training's Dice at epsilon 1 per subject, the "
            "simulator alone 0.88."
        ),
    ),
    "wgan-pretrained": Rule(
        good=0.003,
        hopeless=0.01,
        basis="as measured without the first training",
        why=(
            "It begins from the simulator, which is free, and spends the budget on what the simulator lacks. On the "
            "rendered cohort of development (one short run at 0.01) it kept 0.39 of real training's Dice at epsilon 1 "
            "per patch, the simulator alone 0.88."
        ),
    ),
    "diffusion": Rule(
        good=0.003,
        hopeless=0.01,
        why="A network as well; it asks for large draws and a GPU.",
    ),
    "wgan": Rule(
        good=0.003,
        hopeless=0.01,
        basis="measured",
        why=(
            "The published method, from random weights: the faithful baseline. On the rendered cohort of development "
            "(one short run) it kept 0.07 of real training's Dice without any noise, the simulator alone 0.88."
        ),
    ),
    "pate-gan": Rule(
        good=0.1,
        hopeless=0.3,
        why="Ten teachers vote at every step, however many patches they learnt from: votes drown.",
    ),
    "privgan": Rule(
        good=0.003,
        hopeless=0.01,
        why="Several generators against an inner adversary, which is no guarantee.",
    ),
}
"""Method -> rule, among equals in order of preference."""

_UNKNOWN = Rule(good=0.0, hopeless=0.01, why="There is no rule for it here.")

RIVALS = ("real", "shuffled", PUBLIC_COHORT)
"""No methods at all: ceiling, floor, and what a public cohort gives by itself."""


def rule_of(method: str) -> Rule:
    """The rule of a method; a careful one where there is none."""
    return RULES.get(method, _UNKNOWN)


def judged(method: str, noise: float) -> Verdict:
    """Say what is left of a method under noise.

    Example:
        >>> judged("calibrated", 0.04), judged("calibrated", 0.08), judged("wgan", 0.02)
        ('good', 'weak', 'hopeless')
    """
    rule = rule_of(method)
    if noise >= rule.hopeless:
        return "hopeless"
    return "good" if noise <= rule.good else "weak"


def place(method: str, verdict: Verdict, *, public: bool = False) -> tuple[int, int]:
    """Where a method stands: the lower, the better.

    Methods that were seen to beat the simulator alone come first where they work, then where they work a little, then
    the simulator alone, which costs nothing. Behind it stands what nobody has seen beat it, and last what drowns.
    With a public cohort (`public`) it has to be seen to beat what that gives for nothing, a reader of both before all.

    Example:
        >>> place("taught-reader", "good") < place("calibrated", "weak") < place("simulator", "public")
        True
        >>> place("simulator", "public") < place("wgan-pretrained", "good") < place("calibrated", "hopeless")
        True
        >>> place("untaught-reader", "public", public=True) < place("steered-reader", "good", public=True)
        True
    """
    earned = rule_of(method).beside if public else rule_of(method).earned
    group = {
        "good": 0 if earned else 3,
        "weak": 1 if earned else 4,
        "public": 2,
        "hopeless": 5,
        "refused": 6,
    }[verdict]
    order = [*RULES, *(("untaught-reader", *PUBLIC) if public else PUBLIC)]
    return group, order.index(method) if method in order else len(order)


def numbers_for(signal: float, usual: int, most: int) -> int:
    """How many numbers a calibrated simulator should release: the usual few, more where noise is faint, or all.

    Their list as a whole is bounded, so a longer one is hardly noisier in its first numbers, which say most: three to
    twenty told the same up to a signal of 6. Beyond 16, twenty told a little more than ten did; thousands of patches
    let all of them pass.

    Args:
        signal: mu N.
        usual: What is released by default.
        most: What can be released at most.

    Example:
        >>> numbers_for(3.2, 8, 20), numbers_for(30.0, 8, 20), numbers_for(1000.0, 8, 20)
        (8, 16, 20)
    """
    if signal >= 100:
        return most
    return usual if signal < 16 else min(2 * usual, most)


def told(signal: float) -> float:
    """About what share of what tells sites apart a release at a signal mu N tells.

    A smooth curve within 6 % of what was measured (see the module): 13 % at 1, 34 % at 2, 62 % at 4, 87 % at 16.

    Example:
        >>> [round(told(signal), 2) for signal in (1.0, 2.0, 4.0, 6.0, 16.0)]
        [0.12, 0.3, 0.57, 0.72, 0.92]
    """
    return float(signal**1.6 / (signal**1.6 + 7))
