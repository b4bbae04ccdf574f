"""The step of fastDP: one backward pass with book-keeping, each layer by the cheaper of two norms ("BK-MixOpt").

Source: Bu et al. (2023), Differentially private optimization on large model at small cost, ICML.
"""

import contextlib
import sys
import warnings

import torch

from angioshare.synthesis.losses import critic_real
from peers import Idle, Missing, Step, Task

warnings.filterwarnings("ignore", "Using a non-full backward hook", FutureWarning)


def book_keeping(task: Task) -> Step:
    """`fastDP.PrivacyEngine` at its fastest: MixOpt, and no ordinary gradient but that of the first layer."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # written for an older torch: deprecated calls, which still work
            from fastDP import PrivacyEngine
    except ModuleNotFoundError as error:
        raise Missing(
            f"no module {error.name}: fastDP is not on PyPI; take the folder fastDP of its public repository "
            "awslabs/fast-differential-privacy onto PYTHONPATH, and install transformers, which it imports"
        ) from error
    optimizer = Idle(task.critic)
    with contextlib.redirect_stdout(sys.stderr):  # it tells its settings by print
        engine = PrivacyEngine(
            task.critic,
            batch_size=len(task.real),
            sample_size=1_000_000,
            epochs=1,
            noise_multiplier=task.noise_multiplier,
            max_grad_norm=task.clip_norm,
            clipping_mode="MixOpt",
            clipping_fn="Abadi",
            clipping_style="all-layer",
            origin_params=["0.weight"],
        )
    engine.attach(optimizer)

    def step() -> None:
        torch.autograd.backward(critic_real(task.critic(task.real).flatten()).mean())
        optimizer.step()

    return step
