"""What the paper printed (see `tables.CITATION`), for the figures that have a counterpart there.

Its epsilon is for one patch and assumes a fresh batch at every noisy step; its program used each batch five times (see
`tables.PUBLISHED_NOTE`). Whatever stands beside ours is therefore called published, with the epsilon as printed.
"""

from angioshare.report.tables import PUBLISHED

SITES = ("its test subjects", "its second site")
"""The paper's sites, in our order."""

BEST_NOISE, BEST_EPSILON = 0.65, 7.4
"""Of the best private model; it was stopped after 29 of 50 epochs."""

UNUSABLE_EPSILON, UNUSABLE_DICE = 5.0, 0.61
"""Below this epsilon, training became unstable, with a Dice below that."""

FID_WITHOUT_PRIVACY = 62.0

FID = {0.8: (5.7, 244.0), 0.65: (10.2, 228.0)}
"""Noise multiplier to epsilon and FID against training patches, after 50 epochs."""

SSIM_COLLAPSED, SSIM_EPSILON = 0.98, 2.0
"""Below this epsilon, the mean SSIM of generated patches lay above that."""


def dice(role: str, site: int) -> float | None:
    """Published Dice of a role at our first or second site; None where there is none.

    Example:
        >>> dice("private", 0), dice("non-private", 1), dice("real", 0), dice("private", 2)
        (0.75, 0.88, None, None)
    """
    found = PUBLISHED.get(role)
    return found.dice[site] if found is not None and site < len(found.dice) else None
