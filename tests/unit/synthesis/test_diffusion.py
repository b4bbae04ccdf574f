import os
import re
import textwrap
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import distributed
from watched import Counting, Spies, Stop, StopAfter

from angioshare.config import SourceSettings, load_config
from angioshare.errors import BudgetExceeded, DataError, SettingsError
from angioshare.models.denoiser import Preconditioning, draw_by_heun, noise_levels
from angioshare.patches.extract import PatchSettings
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.synthesis.diffusion import Diffusion, DiffusionSettings
from angioshare.synthesis.diffusion_network import denoising_network, initialise, with_loss
from angioshare.synthesis.diffusion_rows import NoiseLevels, as_data, noisy_rows, secret_normal, seeded_normal
from angioshare.synthesis.paces import denoising, simulating
from angioshare.synthesis.plain import PlainEngine
from angioshare.synthesis.registry import build
from angioshare.team import Team

SMALL = {
    "features": 4, "levels": 1, "batch": 6, "copies": 3, "learning_rate": 1e-3, "ema": 0.5, "checkpoint_every": 2,
    "site": "demo-1", "simulated_subjects": 1, "first_iterations": 0, "first_batch": 5, "sampler_steps": 3,
}  # fmt: skip


def diffusion(unit="patch", provenance="unprotected", **changes):
    settings = DiffusionSettings(**{**SMALL, "iterations": 6, **changes})
    patches = PatchSettings(size=16, vessel=10, random=10)
    return Diffusion(settings, Context(patches=patches, unit=unit, provenance=provenance))


def fit(synthesizer, real, folder, engine=None, seed=1, progress=None):
    folder.mkdir(exist_ok=True)
    synthesizer.fit(real, engine, seed=seed, folder=folder, progress=progress or SilentProgress())
    return synthesizer.load(folder, real)


# The formulas


@pytest.mark.parametrize(
    ("sigma", "skip", "out", "scale_in", "noise", "weight"),
    [
        (1.0, 0.2, 0.4472135955, 0.894427191, 0.0, 5.0),
        (0.5, 0.5, 0.3535533906, 1.4142135624, -0.1732867951, 8.0),
        (80.0, 3.906097e-05, 0.4999902347, 0.0124997559, 1.0955066587, 4.00015625),
    ],
)
def test_preconditioning_has_the_values_of_table_1(sigma, skip, out, scale_in, noise, weight):
    c, at = Preconditioning(sigma_data=0.5), torch.tensor(sigma, dtype=torch.float64)
    found = [float(part(at)) for part in (c.skip, c.out, c.scale_in, c.noise, c.weight)]
    assert found == pytest.approx([skip, out, scale_in, noise, weight], rel=1e-6, abs=1e-12)
    assert found[4] * found[1] ** 2 == pytest.approx(1)


def test_the_score_of_a_row_is_the_weighted_loss_of_the_denoiser():
    torch.manual_seed(0)
    network, c = denoising_network(8, 4, 1).double(), Preconditioning(0.5)
    clean, sigma = torch.rand(7, 2, 8, 8).double() * 2 - 1, torch.rand(7).double() * 3 + 0.01
    noisy = clean + sigma.view(-1, 1, 1, 1) * torch.randn(7, 2, 8, 8)
    rows = torch.cat((c.inputs(noisy, sigma), c.target(clean, noisy, sigma)), 1)
    squared = (c.denoise(network, noisy, sigma) - clean).square().sum((1, 2, 3))
    assert torch.allclose(with_loss(network)(rows).flatten(), c.weight(sigma) * squared)


def test_input_and_target_have_unit_variance_at_every_noise_level():
    clean = 0.5 * torch.randn(4000, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    for sigma in (0.01, 0.5, 20.0):
        levels, about = NoiseLevels(mean=float(np.log(sigma)), std=1e-9), Preconditioning(0.5)
        pairs = torch.cat((clean[:, :1], (clean[:, 1:] + 1) / 2), 1)
        rows = noisy_rows(pairs, levels, about, seeded_normal(2, "rows"))
        assert rows[:, :2].std().item() == pytest.approx(1, abs=0.02)  # 128,000 numbers: ten standard errors
        assert rows[:, 3:].std().item() == pytest.approx(1, abs=0.02)
        assert torch.allclose(rows[:, 2], torch.tensor(sigma).log() / 4)


def test_noise_levels_fall_from_the_first_to_zero():
    levels = noise_levels(18)
    assert levels[0] == pytest.approx(80)
    assert levels[-2:] == [pytest.approx(0.002), 0.0]
    assert all(a > b for a, b in pairwise(levels))
    with pytest.raises(SettingsError, match="must be 0"):
        draw_by_heun(lambda x, sigma: x, torch.zeros(1, 2, 4, 4), [2.0, 1.0])


def test_the_sampler_is_of_second_order():
    """Of N(0, s^2) data the flow is known: x shrinks by s / sqrt(s^2 + sigma_max^2)."""
    s, start = 0.5, torch.ones(1, 1, 1, 1, dtype=torch.float64)
    exact = 80 * s / np.sqrt(s**2 + 80**2)
    errors = [
        abs(draw_by_heun(lambda x, sigma: s**2 / (s**2 + sigma**2) * x, start, noise_levels(n)).item() - exact)
        for n in (20, 40, 80)
    ]
    assert errors[0] < 0.03
    assert all(a / b > 3.3 for a, b in pairwise(errors))


@torch.no_grad()
def test_the_network_begins_at_zero_and_reads_the_noise_level():
    """A normalisation of single channels would take the level away: 0.01 would be left of 0.35."""
    network = denoising_network(32, 8, 0)
    initialise(network, torch.Generator().manual_seed(1))
    rows = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert network(rows).abs().max() == 0
    torch.nn.init.normal_(network[-1].weight, generator=torch.Generator().manual_seed(3))
    inner = (slice(None), slice(None), slice(14, 18), slice(14, 18))  # away from the border's zeros
    other = rows.clone()
    other[:, 2] += 0.5
    change = (network(rows) - network(other))[inner].abs().mean() / network(rows)[inner].abs().mean()
    assert change > 0.1


# Rows and units


def clean_of(rows):
    """The pair that a row hides: y = c_skip x + c_out t."""
    c, sigma = Preconditioning(0.5), (4 * rows[:, 2, 0, 0]).exp()
    wide = (slice(None), None, None, None)
    noisy = rows[:, :2] / c.scale_in(sigma)[wide]
    return c.skip(sigma)[wide] * noisy + c.out(sigma)[wide] * rows[:, 3:]


def spied(synthesizer, real, folder, units=None, seed=1):
    """Train once with a spy as if privately."""
    spies = Spies(len(real), units=units)
    fit(synthesizer, real, folder, spies, seed)
    assert spies.asked == (0, 0, 3)
    assert set(spies.spy.synthetic) == {0}
    return spies.spy


def test_each_step_has_a_fresh_draw_and_shows_each_patch_under_several_noises(real, tmp_path):
    spy = spied(diffusion(), real, tmp_path / "a")
    assert len(spy.draws) == len({id(draw) for draw in spy.draws}) == diffusion().schedule().steps == 6
    assert spy.closed
    for draw, rows, groups in zip(spy.draws, spy.real, spy.groups, strict=True):
        assert groups is None
        expected = as_data(torch.from_numpy(real.pairs(draw.indices))).repeat_interleave(3, dim=0)
        assert torch.allclose(clean_of(rows), expected, atol=1e-3)
        assert len(rows[:, 2, 0, 0].unique()) == 3 * len(draw.indices)


def test_rows_of_a_subject_keep_its_group(real, tmp_path):
    spy = spied(diffusion(unit="subject", subjects=2), real, tmp_path / "a", units=[0, 1])
    rows, groups = spy.real[0], spy.groups[0]
    assert groups.tolist() == [0] * 9 + [1] * 9  # three patches of each, three copies of each patch
    known = as_data(torch.from_numpy(real.pairs(np.arange(24))))
    for row, group in zip(clean_of(rows), groups, strict=True):
        nearest = int((known - row).square().sum((1, 2, 3)).argmin())
        assert real.subject[nearest] == group


def test_neither_rows_nor_noise_of_a_private_run_follow_the_seed(real, tmp_path):
    first, again = (spied(diffusion(), real, tmp_path / name, units=[3, 8]).real[0] for name in "ab")
    assert torch.allclose(clean_of(first), clean_of(again), atol=1e-3)
    assert not torch.equal(first[:, 2], again[:, 2])
    assert secret_normal()(4).tolist() != secret_normal()(4).tolist()
    assert secret_normal()(0).shape == (0,)
    drawn = secret_normal()(20_000)
    assert abs(drawn.mean()) < 0.05  # seven standard errors
    assert drawn.std().item() == pytest.approx(1, abs=0.035)


def test_a_plain_run_has_other_noise_at_each_step_and_the_same_for_the_same_seed(real, tmp_path, monkeypatch):
    seen = []

    class Seeded(PlainEngine):
        def step_gradient(self, draw, rows, *others):
            seen.append(rows)
            super().step_gradient(draw, rows, *others)

    monkeypatch.setattr("angioshare.synthesis.loop.PlainEngine", Seeded)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fit(diffusion(iterations=2), real, tmp_path / name, seed=seed)
    first, second, again, _, other, _ = (rows[:, 2, 0, 0].tolist() for rows in seen)
    assert first == again
    assert not set(first) & (set(second) | set(other))


def test_copies_change_neither_the_steps_nor_the_units_that_are_charged():
    for copies in (1, 32):
        assert diffusion(copies=copies).schedule() == diffusion().schedule()
    assert (diffusion().schedule().steps, diffusion().schedule().units) == (6, 6)
    of_subjects = diffusion(unit="subject", subjects=2).schedule()
    assert (of_subjects.units, of_subjects.patches_per_unit) == (2, 3)


# Training


def private(real, folder, **changes):
    """Train with the real engine; gives the trained model, its statement and what the ledger says."""
    folder.mkdir()
    plan = PrivacyPlan(
        unit="patch", n_units=24, n_subjects=2, patches_per_subject=12, sampling_probability=6 / 24,
        noise_multiplier=2.0, steps=6, delta=1e-3, **changes,
    )  # fmt: skip
    ledger = Ledger.open(folder / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"})
    engines = []

    def factory(critic, synthetic, steps_done, rows_per_patch):
        engines.append(
            PrivateEngine(
                plan=plan, critic=critic, synthetic_rows=synthetic, ledger=ledger, run="r",
                steps=plan.steps - steps_done, rows_per_patch=rows_per_patch,
            )
        )  # fmt: skip
        return engines[0]

    with ledger:
        trained = fit(diffusion(provenance="dp"), real, folder, factory)
        return trained, engines[0].statement(), sum(spend.steps for spend in ledger.spends()), plan


def test_a_private_training_charges_each_step_once_and_gives_pairs(real, tmp_path):
    trained, statement, steps, plan = private(real, tmp_path / "a")
    assert steps == plan.steps == 6
    assert statement.private
    assert statement.patch.epsilon == pytest.approx(plan.predicted().patch.epsilon)
    pairs = trained.sample(70, seed=3)
    assert pairs.provenance == "dp"
    assert pairs.image.shape == pairs.label.shape == (70, 16, 16)
    assert np.allclose(pairs.image.min((1, 2)), -1)
    assert np.allclose(pairs.image.max((1, 2)), 1)
    assert set(np.unique(pairs.label)) <= {0, 1}
    assert np.array_equal(pairs.image, trained.sample(70, seed=3).image)
    assert not np.array_equal(pairs.image, trained.sample(70, seed=4).image)


def test_a_spent_budget_stops_the_training_and_keeps_what_was_learned(real, tmp_path):
    whole = private(real, tmp_path / "a")[1].patch.epsilon
    trained, statement, steps, plan = private(real, tmp_path / "b", epsilon_budget=0.8 * whole)
    assert 0 < steps < plan.steps
    assert statement.patch.epsilon <= 0.8 * whole
    assert len(trained.sample(2, seed=0)) == 2
    with pytest.raises(BudgetExceeded):
        private(real, tmp_path / "c", epsilon_budget=1e-3 * whole)


@pytest.mark.parametrize("steps_before", [1, 3, 5])
def test_a_resumed_training_ends_as_an_uninterrupted_one(real, tmp_path, steps_before):
    whole = fit(diffusion(), real, tmp_path / "whole").sample(3, seed=0)
    other = fit(diffusion(), real, tmp_path / "other", seed=2).sample(3, seed=0)
    folder = tmp_path / "broken"
    with pytest.raises(Stop):
        fit(diffusion(), real, folder, progress=StopAfter(steps_before))
    assert not (folder / "generator.safetensors").exists()
    resumed = fit(diffusion(), real, folder).sample(3, seed=0)
    assert np.array_equal(whole.image, resumed.image)
    assert not np.array_equal(whole.image, other.image)


def test_the_first_training_reads_the_simulator_alone_and_is_kept(real, tmp_path):
    synthesizer, progress = diffusion(first_iterations=4, iterations=1), Counting()
    spies = Spies(len(real))
    fit(synthesizer, real, tmp_path / "a", spies, progress=progress)
    subject = round(simulating(1) / denoising(5, 16, 4))
    assert progress.steps == synthesizer.work() == subject + 4 + 4  # 18 rows of the second for 5 of the first
    first = tmp_path / "a" / "simulated"
    learned = synthesizer.load(first, real)._network  # the average after the simulated patches
    assert all(torch.equal(a, b) for a, b in zip(spies.spy.weights[0], learned.parameters(), strict=True))
    kept = (first / "generator.safetensors").stat().st_mtime_ns
    (tmp_path / "a" / "checkpoint.safetensors").unlink()
    fit(synthesizer, real, tmp_path / "a", Spies(len(real)), progress=(again := Counting()))
    assert (first / "generator.safetensors").stat().st_mtime_ns == kept
    assert again.steps == synthesizer.work()


def test_a_bright_bar_and_its_label_are_learned(real, tmp_path):
    """Whatever else it draws, where it draws a label the image is brighter."""
    settings = {"features": 8, "levels": 2, "iterations": 150, "batch": 12, "copies": 1, "learning_rate": 5e-3}
    pairs = fit(diffusion(**settings, ema=0.95, checkpoint_every=250, sampler_steps=12), real, tmp_path / "a").sample(
        32, seed=0
    )
    share = pairs.label.mean()
    assert 0.03 < share < 0.4  # the bars cover an eighth
    assert pairs.image[pairs.label == 1].mean() - pairs.image[pairs.label == 0].mean() > 0.7


def test_the_first_training_has_its_own_settings():
    synthesizer = diffusion(unit="subject", subjects=2, first_iterations=4, first_copies=2, first_learning_rate=0.1)
    second, first = synthesizer._course(), synthesizer._first_course()
    assert (second.iterations, second.batch, second.levels.copies, second.learning_rate) == (6, 6, 3, 1e-3)
    assert (first.iterations, first.batch, first.levels.copies, first.learning_rate) == (4, 5, 2, 0.1)
    assert (second.unit, second.patches_per_unit) == ("subject", 3)
    assert (first.unit, first.patches_per_unit) == ("patch", 1)


PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "diffusion.md"


def test_the_settings_and_presets_of_the_page_can_be_built():
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n|^\n)+", page, re.MULTILINE)
    sources = [
        SourceSettings.model_validate(one)
        for block in blocks
        if "[[sources]]" in block
        for one in tomllib.loads(textwrap.dedent(block))["sources"]
    ]
    assert len(sources) == 1
    asked = [(source, PatchSettings()) for source in sources]
    names = set(re.findall(r"--preset (\S+?)[`\s]", page))
    assert len(names) == 2
    for config in (load_config(preset=name) for name in names):
        asked += [(source, config.patches) for source in config.sources if source.synthesizer == "diffusion"]
    assert len(asked) == 3
    for source, patches in asked:
        build(source.synthesizer, source.settings, Context(patches=patches))


def test_what_cannot_be_is_refused():
    with pytest.raises(SettingsError, match=r"patches\.size=16 cannot be halved 5 times"):
        diffusion(levels=5)
    with pytest.raises(SettingsError, match="site 'nowhere'"):
        diffusion(site="nowhere")


def test_a_network_that_diverged_is_named(real, tmp_path):
    with pytest.raises(DataError, match=r"generator\.safetensors.*lower learning_rate"):
        fit(diffusion(iterations=1, learning_rate=1.0, ema=0.0), real, tmp_path / "a", Broken).sample(2, seed=0)


class Broken(PlainEngine):
    """Gives gradients that are no numbers."""

    def __init__(self, critic, synthetic, steps_done, rows_per_patch):
        super().__init__(critic, 24, 6, seed=0)
        self.critic = critic

    def step_gradient(self, *step):
        for weight in self.critic.parameters():
            weight.grad = torch.full_like(weight, float("nan"))


def work(rank, folder, real):
    torch.set_num_threads(1)
    os.environ.pop("OMP_NUM_THREADS", None)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    plan = PrivacyPlan(
        unit="patch", n_units=24, n_subjects=2, patches_per_subject=12, sampling_probability=0.25,
        noise_multiplier=2.0, steps=6, delta=1e-3,
    )  # fmt: skip
    for name, factory in (
        ("plain", None),
        ("private", lambda critic, synthetic, done, rows_per_patch: PrivateEngine(
            plan=plan, critic=critic, synthetic_rows=0, ledger=None, run="r", rows_per_patch=rows_per_patch)),
    ):  # fmt: skip
        mine = folder / name
        mine.mkdir(exist_ok=True)
        Team().wait()
        diffusion(first_iterations=2).fit(real, factory, seed=1, folder=mine, progress=SilentProgress())
        pairs = diffusion().load(mine, real).sample(2, seed=0)
        np.save(folder / f"{name}-{rank}.npy", pairs.image)
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_one_model(real, tmp_path):
    multiprocessing.spawn(work, (tmp_path, real), nprocs=2)
    for name in ("plain", "private"):
        first, second = (np.load(tmp_path / f"{name}-{rank}.npy") for rank in range(2))
        assert np.isfinite(first).all()
        assert np.array_equal(first, second)
