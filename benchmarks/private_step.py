"""Claim: a private critic step costs a small multiple of a plain one, and far less than a loop over single patches."""

import torch

from angioshare.models.critic import convolution_critic
from angioshare.privacy.clipping import ClippedGradients
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.plan import PrivacyPlan
from angioshare.synthesis import losses
from timing import arguments, interleaved, tell

SIZE, BATCH = 96, 32


def steps(features: int) -> dict[str, object]:
    """Plain, private and looped steps of one critic on the same patches."""
    critic = convolution_critic(SIZE, features)
    plan = PrivacyPlan(
        unit="patch", n_units=BATCH, n_subjects=1, patches_per_subject=BATCH, sampling_probability=1.0,
        noise_multiplier=1.0, steps=10_000,
    )  # fmt: skip
    engine = PrivateEngine(plan=plan, critic=critic, synthetic_rows=BATCH, ledger=None, run="benchmark")
    real, synthetic = torch.randn(2, BATCH, 2, SIZE, SIZE)

    def plain() -> None:
        critic.zero_grad()
        scores = critic(torch.cat((real, synthetic))).flatten()
        (scores[BATCH:].mean() - scores[:BATCH].mean()).backward()

    def private() -> None:
        engine.step_gradient(engine.draw(), real, None, synthetic, losses.critic_real, losses.critic_synthetic)

    def loop() -> None:
        clipped = ClippedGradients(critic, 1.0)
        clipped.clipped_sum_by_loop(real, torch.arange(BATCH), losses.critic_real)
        clipped.clipped_sum_by_loop(synthetic, torch.arange(BATCH), losses.critic_synthetic)

    return {"plain step": plain, "private step": private, "loop over single patches": loop}


if __name__ == "__main__":
    options = arguments(__doc__, rounds=3)
    torch.set_num_threads(1)
    for features in (16, 32):
        title = f"{__doc__.strip()} f = {features}, B = {BATCH} real + {BATCH} synthetic, one thread"
        tell(title, interleaved(steps(features), options.rounds), "plain step", options.json)
