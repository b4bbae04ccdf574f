"""Every synthesizer by name: one literal dict, filled by hand.

A line holds the module and class, so that naming a synthesizer loads only its own file.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from angioshare.errors import SettingsError
from angioshare.protocols import Context, Synthesizer

SYNTHESIZERS: dict[str, tuple[str, str]] = {
    "calibrated": ("angioshare.synthesis.calibrated", "Calibrated"),
    "diffusion": ("angioshare.synthesis.diffusion", "Diffusion"),
    "evolution": ("angioshare.synthesis.evolution", "Evolution"),
    "feature-matching": ("angioshare.synthesis.matching", "FeatureMatching"),
    "pate-gan": ("angioshare.synthesis.pategan", "PateGan"),
    "privgan": ("angioshare.synthesis.privgan", "PrivGan"),
    "steered-reader": ("angioshare.synthesis.steered", "SteeredReader"),
    "taught-reader": ("angioshare.synthesis.taught", "TaughtReader"),
    "wgan": ("angioshare.synthesis.wgan", "Wgan"),
    "wgan-pretrained": ("angioshare.synthesis.pretrained", "PretrainedWgan"),
    "real": ("angioshare.synthesis.rivals", "RealPairs"),
    "public-cohort": ("angioshare.synthesis.rivals", "PublicCohort"),
    "shuffled": ("angioshare.synthesis.rivals", "ShuffledLabels"),
    "simulator": ("angioshare.synthesis.rivals", "SimulatorAlone"),
    "untaught-reader": ("angioshare.synthesis.untaught", "UntaughtReader"),
}

PUBLIC_COHORT = "public-cohort"
"""The one whose pairs are scans of a public cohort as they are; none of its pairs stand on a run's public side."""

PUBLIC = ("simulator", "untaught-reader", PUBLIC_COHORT)
"""Synthesizers that read nothing of the cohort, the one to be preferred first: epsilon 0."""


def synthesizer_class(name: str) -> Any:
    """The class behind a name.

    Raises:
        SettingsError: There is none.

    Example:
        >>> synthesizer_class("wgan").__name__
        'Wgan'
    """
    if name not in SYNTHESIZERS:
        raise SettingsError(f"synthesizer {name!r} does not exist; choose one of {', '.join(sorted(SYNTHESIZERS))}")
    module, attribute = SYNTHESIZERS[name]
    return getattr(import_module(module), attribute)


def learns_from_public(name: str) -> bool:
    """Whether a synthesizer learns from a public cohort, too, where there is one.

    Example:
        >>> learns_from_public("taught-reader"), learns_from_public("simulator")
        (True, False)
    """
    return name == PUBLIC_COHORT or "public_share" in synthesizer_class(name).Settings.model_fields


def shows_public(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether scans of a public cohort are among the pairs of a synthesizer, so that there has to be one.

    Example:
        >>> shows_public("public-cohort", {}), shows_public("taught-reader", {}),
        (True, False)
        >>> shows_public("taught-reader", {"public_scans": 0.5})
        True
    """
    return name == PUBLIC_COHORT or bool(settings.get("public_scans"))


def build(name: str, settings: dict[str, Any], context: Context) -> Synthesizer:
    """Build a synthesizer from its settings as they stand in a settings file.

    Raises:
        SettingsError: The name or a setting is wrong.
    """
    kind = synthesizer_class(name)
    try:
        built: Synthesizer = kind(kind.Settings.model_validate(settings), context)
    except ValidationError as error:
        clauses = "; ".join(
            f"{'.'.join(map(str, part['loc']))}={str(part['input'])[:80]}: {part['msg']}" for part in error.errors()
        )
        raise SettingsError(
            f"settings of synthesizer {name!r}: {clauses}; change them in the source's settings"
        ) from error
    return built


TRAINED_TOGETHER = ("wgan", "wgan-pretrained", "diffusion")
"""Synthesizers whose critic steps several processes can share; the leader trains the others alone."""
