"""All contenders by the name that `--peers` knows them by."""

from peers import Contender, by_hand, fastdp_step, opacus_steps, ours

PLAIN, OURS = "plain", "ours"
PLAIN_WHOLE, OWN_WHOLE, OURS_WHOLE = "plain-whole", "own-whole", "ours-whole"
FASTDP, HOOKS = "fastdp", "opacus-hooks"

CONTENDERS = {
    PLAIN: Contender("PyTorch, not private", by_hand.plain, clips=False),
    OURS: Contender("AngioShare", ours.private, group_norm=False, slack=ours.slack),
    FASTDP: Contender("fastDP BK-MixOpt", fastdp_step.book_keeping),
    HOOKS: Contender("Opacus hooks", opacus_steps.hooks, keeps_rows=True),
    "opacus-ghost": Contender("Opacus ghost clipping", opacus_steps.ghost, keeps_rows=True),
    "vmap": Contender("torch.func vmap(grad)", by_hand.vmap, keeps_rows=True),
    "loop": Contender("loop over single patches", by_hand.loop),
    PLAIN_WHOLE: Contender("PyTorch, not private", by_hand.plain, whole=True, clips=False),
    OWN_WHOLE: Contender("AngioShare, not private", ours.plain, whole=True, group_norm=False, clips=False),
    OURS_WHOLE: Contender("AngioShare", ours.private, whole=True, group_norm=False, slack=ours.slack),
}

OTHERS = tuple(name for name in CONTENDERS if name not in (PLAIN, OURS, PLAIN_WHOLE, OWN_WHOLE, OURS_WHOLE))
"""Measured where they are asked for; the rest always is."""


def yardstick(name: str) -> str:
    """The step without privacy that a contender is compared with."""
    return PLAIN_WHOLE if CONTENDERS[name].whole else PLAIN
