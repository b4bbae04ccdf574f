"""What tests of synthesizers watch them with: progress that counts or stops, and an engine of releases."""

from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.release import private_mean
from angioshare.progress import SilentProgress


class Counting(SilentProgress):
    """Counts the steps that it is told of."""

    def __init__(self):
        self.steps = 0

    def advance(self, note="", steps=1):
        self.steps += steps


class Stop(Exception):
    """What a kill stands for."""


class StopAfter(SilentProgress):
    """Raises `Stop` at a step."""

    def __init__(self, left):
        self.left = left

    def advance(self, note="", steps=1):
        self.left -= steps
        if self.left <= 0:
            raise Stop


class Releases:
    """Releases real noisy means, charged in a ledger; keeps the vectors, and what was charged when noise was drawn."""

    def __init__(self, ledger, units, *, unit="subject", subjects=2, patches_per_subject=12, noise_multiplier=1.0):
        self.ledger, self.vectors, self.charged = ledger, [], []
        self.plan = PrivacyPlan(
            unit=unit, n_units=units, n_subjects=subjects, patches_per_subject=patches_per_subject,
            sampling_probability=1.0, noise_multiplier=noise_multiplier, delta=1e-3,
        )  # fmt: skip

    def mean(self, vectors):
        engines = self

        class Watching(GaussianNoise):
            def add_to(self, value, std):
                engines.charged.append(sum(spend.steps for spend in engines.ledger.spent_by("run")))
                return super().add_to(value, std)

        self.vectors.append(vectors)
        return private_mean(vectors, self.plan, self.ledger, "run", noise=Watching())
