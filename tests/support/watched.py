"""What tests of synthesizers watch them with: progress that counts or stops, engines of gradients and of releases."""

import numpy as np

from angioshare.errors import BudgetExceeded
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.release import private_mean
from angioshare.privacy.selection import Draw
from angioshare.progress import SilentProgress
from angioshare.synthesis.plain import PlainEngine


class Counting(SilentProgress):
    """Counts the steps that it is told of, and keeps the notes."""

    def __init__(self):
        self.steps, self.notes = 0, []

    def advance(self, note="", steps=1):
        self.steps += steps
        self.notes.append(note)


class Stop(Exception):
    """What a kill stands for."""


class StopAfter(SilentProgress):
    """Raises `Stop` when it is told so often that something is finished, however many steps that counts as."""

    def __init__(self, left):
        self.left = left

    def advance(self, note="", steps=1):
        self.left -= steps > 0
        if self.left <= 0:
            raise Stop


class GradientSpy(PlainEngine):
    """A plain engine that keeps what it saw, draws whom the test names, and has a budget of so many draws."""

    def __init__(self, critic, n, batch, *, units=None, affordable=None):
        super().__init__(critic, n, batch, seed=0)
        self.critic, self.units, self.affordable, self.closed = critic, units, affordable, False
        self.draws, self.weights, self.real, self.groups, self.synthetic = [], [], [], [], []

    def draw(self):
        if len(self.draws) == self.affordable:
            raise BudgetExceeded("epsilon would pass 1")
        self.weights.append([weight.detach().clone() for weight in self.critic.parameters()])
        self.draws.append(super().draw() if self.units is None else Draw(np.array(self.units)))
        return self.draws[-1]

    def step_gradient(self, draw, real, groups, synthetic, real_loss, synthetic_loss):
        assert draw is self.draws[-1]
        self.real.append(real.clone())
        self.groups.append(groups)
        self.synthetic.append(len(synthetic))
        super().step_gradient(draw, real, groups, synthetic, real_loss, synthetic_loss)

    def close(self):
        self.closed = True


class Spies:
    """Stands for the private engine's factory: makes one spy, and keeps what it was asked for."""

    def __init__(self, n, batch=6, **of_the_spy):
        self._n, self._batch, self._of_the_spy = n, batch, of_the_spy
        self.asked, self.spy = None, None

    def __call__(self, critic, synthetic, steps_done, rows_per_patch=1):
        assert self.spy is None
        self.asked = (synthetic, steps_done, rows_per_patch)
        self.spy = GradientSpy(critic, self._n, self._batch, **self._of_the_spy)
        return self.spy


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
