"""Which few numbers of a subject are released, and what their noisy mean leaves open.

A subject's features are the mean of those of its patches. Over simulated subjects from all over a prior, which are
public, their principal directions are known. The first ones say most about a site, so those are released, each divided
by the root of its standard deviation: the others, in which a real site may differ from all simulated ones, would drown
otherwise. The noisy mean is shrunk towards the prior as far as the noise asks for.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from angioshare.errors import SettingsError
from angioshare.privacy.release import Release
from angioshare.privacy.unit import PrivacyUnit
from angioshare.synthesis.calibration.features import GROUPS, NAMES
from angioshare.types import FloatArray

WEIGHTS: dict[str, float] = {
    "amount": 1.0,
    "shape": 2.0,
    "contrast": 2.0,
    "rim": 2.0,
    "edge": 4.0,
    "clutter": 3.0,
    "tissue": 1.0,
    "grain": 1.0,
}
"""What a group of features counts for: a segmenter suffers most where the label is drawn in another way."""

_MOST = {"subject": 24.0, "patch": 60.0}
"""A feature of a unit counts at most so many weighted standard deviations between sites; patches scatter more."""

_RADIUS_QUANTILE = {"subject": 0.5, "patch": 0.995}
"""Share of simulated units that the bound of the release leaves as they are. Noise grows with the bound: at epsilon 1
and 3 a dozen subjects lose less by a vector cut to half the simulated sites' length than by the noise of a wide bound.
Thousands of patches drown that noise, and a narrow bound would move their mean."""

SPARE_LESSONS = 2
"""So many more simulated subjects than released numbers are needed at least."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """From features to released numbers, and back. Public.

    Attributes:
        centre: Mean (d,) over simulated subjects.
        scale: Standard deviation (d,) between them, divided by the group's weight.
        axes: Principal directions (d, k) of what is left, each divided by the root of its standard deviation.
        variance: Variance (k,) of simulated subjects along them, which is that standard deviation.
        radius: What a vector is divided by, so that a subject of the median site, or most patches, have a norm below 1.
        most: What bounds a single standardised feature.
    """

    centre: FloatArray
    scale: FloatArray
    axes: FloatArray
    variance: FloatArray
    radius: float
    most: float

    def vector(self, unit: FloatArray) -> FloatArray:
        """Turn one unit's features, (n, d) of its patches, into the numbers (k,) that are released.

        Guarantees:
            Every number is finite. The norm is not bounded here: `privacy.release` bounds it.
        """
        known = unit[np.isfinite(unit).all(axis=1)]
        if not len(known):
            return np.zeros(len(self.variance))
        standard = np.clip((known.mean(axis=0) - self.centre) / self.scale, -self.most, self.most)
        return np.asarray(standard @ self.axes / self.radius)

    def standard(self, patches: FloatArray) -> FloatArray:
        """Features (n, d) of patches along the principal directions (n, k), in the units of `targets`."""
        return np.asarray((patches - self.centre) / self.scale @ self.axes)

    def targets(self, release: Release, count: int, rng: np.random.Generator) -> FloatArray:
        """Draw what the cohort's mean may be (count, k), given a noisy one.

        Both the prior over sites and the noise are taken as normal, direction by direction.
        """
        noise = (release.noise_std * self.radius) ** 2
        trust = self.variance / (self.variance + noise)
        mean, spread = trust * release.mean * self.radius, np.sqrt(trust * noise)
        return np.asarray(mean + rng.standard_normal((count, len(mean))) * spread)

    def doubt(self, release: Release) -> float:
        """Share in [0, 1] of what is to be known of a site that noise leaves open: 0 without noise, 1 under too much.

        It follows from the noise alone, not from what was released.
        """
        noise = (release.noise_std * self.radius) ** 2
        return float(np.sum(self.variance * noise / (self.variance + noise)) / np.sum(self.variance))

    def digest(self) -> str:
        """Name what released numbers mean: those of another summary must not be taken for them."""
        return hashlib.sha256(np.round(self.axes / self.radius, 6).tobytes()).hexdigest()[:16]


def learn(lessons: FloatArray, numbers: int, unit: PrivacyUnit = "subject") -> Summary:
    """Learn from simulated subjects which numbers say most about a site.

    Args:
        lessons: Features of their patches, shape (subjects, patches, d); NaN rows are left out.
        numbers: How many numbers k are released, >= 1.
        unit: Whose numbers enter the mean: a subject's, or each patch's by itself. The bound is made for it.

    Raises:
        SettingsError: There are too few subjects for so many numbers.

    Example:
        >>> lessons = np.random.default_rng(0).standard_normal((12, 5, len(NAMES)))
        >>> learn(lessons, 3).vector(lessons[0]).shape
        (3,)
    """
    means = means_of(lessons)
    means = means[np.isfinite(means).all(axis=1)]
    if numbers > len(NAMES) or len(means) < numbers + SPARE_LESSONS:
        raise SettingsError(
            f"numbers={numbers} needs at least {numbers + SPARE_LESSONS} simulated subjects and as many features: "
            f"there are {len(means)} and {len(NAMES)}; lower numbers or raise lessons"
        )
    centre = means.mean(axis=0)
    scale = np.maximum(means.std(axis=0), 1e-6) / feature_weights()
    standard = (means - centre) / scale
    _, values, axes = np.linalg.svd(standard, full_matrices=False)
    spread = np.maximum(values[:numbers] / np.sqrt(len(means)), 1e-9)
    scaled = axes[:numbers].T / np.sqrt(spread)
    if unit == "patch":
        patches = lessons.reshape(-1, lessons.shape[2])
        standard = (patches[np.isfinite(patches).all(axis=1)] - centre) / scale
    radius = float(np.quantile(np.linalg.norm(standard @ scaled, axis=1), _RADIUS_QUANTILE[unit]))
    return Summary(
        centre=centre,
        scale=scale,
        axes=scaled,
        variance=spread,
        radius=max(radius, 1e-9),
        most=_MOST[unit],
    )


def means_of(lessons: FloatArray) -> FloatArray:
    """Mean features (subjects, d) of lessons (subjects, patches, d); NaN for a subject without a patch that speaks.

    Example:
        >>> means_of(np.array([[[1.0], [3.0]], [[np.nan], [2.0]]])).tolist()
        [[2.0], [2.0]]
    """
    known = np.asarray(np.isfinite(lessons).all(axis=2))
    total = np.where(known[:, :, None], lessons, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / known.sum(axis=1)[:, None])


def feature_weights() -> FloatArray:
    """The weight (d,) of each feature."""
    return np.array([WEIGHTS[group] for group, names in GROUPS.items() for _ in names])
