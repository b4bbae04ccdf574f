"""One frozen tree of settings: what a run does, whole. Read from TOML; unknown keys are errors.

`angioshare config show` prints it with the sentence of each field. The resolved tree stands beside every output.
"""

import tomllib
from collections.abc import Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, ValidationError, model_validator

from angioshare.cohort.split import SplitSettings
from angioshare.errors import SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.privacy.unit import PrivacyUnit
from angioshare.segmentation.settings import SegmentationSettings
from angioshare.settings import Settings
from angioshare.synthesis.registry import SYNTHESIZERS

PRESETS = "angioshare.presets"
"""Package that holds the shipped settings, one TOML file each."""


MOST_NOISE = 1e4
"""Noise multiplier above which nothing is left of what was released."""


class PrivacySettings(Settings):
    """How a source is protected. All of it is public knowledge."""

    unit: PrivacyUnit = Field("patch", description="What one neighbour adds or removes: patch or subject.")
    noise_multiplier: float | None = Field(
        None, gt=0, le=MOST_NOISE, description="Noise standard deviation / clip norm; give this or epsilon."
    )
    epsilon: float | None = Field(
        None, gt=0, le=1e4, description="Target for the unit; the noise is calibrated to it. Give this or the noise."
    )
    clip_norm: float = Field(1.0, gt=0, le=1e4, description="Bound C on one unit's gradient, L2.")
    delta: float | None = Field(
        None, gt=0, lt=1, description="Chance that the bound fails; default min(1e-5, 0.1 / units). Below 1 / units."
    )
    budget: float | None = Field(
        None, gt=0, description="Epsilon of all runs on the cohort, with no step that would pass it; None: no bound."
    )
    keeps_plan: bool = Field(
        False, description="No more steps than planned, whatever a kill has lost; with a target epsilon always so."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.noise_multiplier is None) == (self.epsilon is None):
            raise ValueError("give exactly one of noise_multiplier and epsilon")
        return self


class SourceSettings(Settings):
    """One source of training pairs: a synthesizer or a rival, private or not."""

    name: str = Field(pattern=r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$", max_length=40, description="Its name in every result.")
    title: str = Field("", max_length=80, description="Its name in tables and figures.")
    synthesizer: str = Field(description=f"Registry name: {', '.join(SYNTHESIZERS)}.")
    pairs: int = Field(41_000, ge=1, description="Pairs that are drawn from it.")
    seed: int = Field(0, description="Seed of initial weights and z; never of selection or noise in a private run.")
    privacy: PrivacySettings | None = Field(None, description="None trains without any privacy.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings of the synthesizer.")

    @property
    def shown(self) -> str:
        """Title, or the name where there is none."""
        return self.title or self.name


class EvaluationSettings(Settings):
    """What is measured on real subjects."""

    mapped_subjects: int = Field(1, ge=0, description="Subjects of each site whose error maps are drawn.")
    sample_grid: int = Field(8, ge=1, le=64, description="Pairs of each source that the report shows.")
    features: str = Field(
        "scattering", description="Feature network of distances between patches: scattering, inception, or a file."
    )
    fidelity_patches: int = Field(
        2000, ge=0, le=100_000, description="Patches of each source that are compared with real ones; 0 compares none."
    )
    embedded_patches: int = Field(
        300, ge=0, le=2000, description="Patches of each source that the report's t-SNE shows; 0 draws none."
    )
    similarity_patches: int = Field(
        1000, ge=0, le=10_000, description="Patches of each source whose SSIM is taken pair by pair; 0 takes none."
    )


class Config(Settings):
    """Everything that a run does."""

    title: str = Field("AngioShare run", max_length=120, description="Title of the report.")
    seed: int = Field(0, description="Seed of patch places, U-Nets and figures. Public.")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="Where networks run: cpu, cuda, cuda:1, ...")
    threads: int = Field(0, ge=0, le=256, description="Threads of tensor operations; 0 leaves the library's choice.")
    workers: int = Field(1, ge=1, le=256, description="Processes that train U-Nets or simulate side by side.")
    split: SplitSettings = Field(default_factory=SplitSettings, description="Which subjects train, validate, test.")
    patches: PatchSettings = Field(default_factory=PatchSettings, description="Where patches are cut, and how many.")
    sources: tuple[SourceSettings, ...] = Field(min_length=1, description="Sources of training pairs.")
    segmentation: SegmentationSettings = Field(
        default_factory=SegmentationSettings, description="The U-Nets that are trained on every source."
    )
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings, description="What is measured.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source.name for source in self.sources]
        if len({name.casefold() for name in names}) != len(names):  # each has a folder, and some disks know no case
            raise ValueError(f"source names {names} must differ, and not in case alone; rename one")
        return self


def preset_names() -> list[str]:
    """Names of the shipped settings.

    Example:
        >>> "kossen2022" in preset_names()
        True
    """
    return sorted(
        entry.name.removesuffix(".toml") for entry in resources.files(PRESETS).iterdir() if entry.name.endswith(".toml")
    )


def preset_text(name: str) -> str:
    """The TOML text of a shipped preset.

    Raises:
        SettingsError: There is no such preset.
    """
    if name not in preset_names():
        raise SettingsError(f"preset {name!r} does not exist; choose one of {', '.join(preset_names())}")
    return (resources.files(PRESETS) / f"{name}.toml").read_text(encoding="utf-8")


def load_config(*, preset: str | None = None, file: Path | None = None, changes: Sequence[str] = ()) -> Config:
    """Read settings from a preset or a file, with changes on top.

    Args:
        preset: Name of a shipped preset. Give this or `file`.
        file: A TOML file.
        changes: `key=value` with dotted keys; numbers in keys index lists, values are TOML, else text.

    Raises:
        SettingsError: A key is unknown, a value out of bounds, the file is no TOML.

    Example:
        >>> load_config(preset="demo", changes=["patches.vessel=7"]).patches.vessel
        7
    """
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read settings {file}: {error}; give the path of a TOML file") from error
    else:
        text = preset_text(preset or "demo")
    name = str(file) if file is not None else f"preset {preset}"
    return parse_config(text, name=name, changes=changes)


def parse_config(text: str, *, name: str, changes: Sequence[str] = ()) -> Config:
    """Read settings from TOML text; `name` says in errors where it came from."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name} is no TOML: {error}") from error
    for change in changes:
        _apply(tree, change)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(f"{name}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Say which field, which value and which bound, one clause each."""
    clauses = []
    for part in error.errors():
        place = ".".join(str(step) for step in part["loc"]) or "settings"
        value = "" if part["type"] in ("missing", "extra_forbidden") else f" (value {str(part['input'])[:80]})"
        cure = "unknown key; see `angioshare config show`" if part["type"] == "extra_forbidden" else part["msg"]
        clauses.append(f"{place}: {cure}{value}")
    return "; ".join(clauses)


def _apply(tree: dict[str, Any], change: str) -> None:
    """Put one `a.b=value` into the tree."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise SettingsError(f"--set {change!r} must read key=value, for example patches.vessel=200")
    node: Any = tree
    steps = key.strip().split(".")
    for step, following in pairwise(steps):
        node = _child(node, step, following, key)
    if isinstance(node, list):
        node[_index(node, steps[-1], key)] = toml_value(text)
    elif isinstance(node, dict):
        node[steps[-1]] = toml_value(text)
    else:
        raise SettingsError(f"--set {key}: there is nothing below {'.'.join(steps[:-1])}")


def _child(node: Any, step: str, following: str, key: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, step, key)]
    if not isinstance(node, dict):
        raise SettingsError(f"--set {key}: there is nothing below {step}")
    return node.setdefault(step, [] if following.isdigit() else {})


def _index(node: list[Any], step: str, key: str) -> int:
    """A position in a list, by number or, for sources, by name."""
    for position, entry in enumerate(node):
        if isinstance(entry, dict) and entry.get("name") == step:
            return position
    if step.isdigit() and int(step) < len(node):
        return int(step)
    names = [entry.get("name", position) for position, entry in enumerate(node) if isinstance(entry, dict)]
    raise SettingsError(f"--set {key}: {step!r} is no entry of the list; choose one of {names or range(len(node))}")


def toml_value(text: str) -> Any:
    """A TOML value, or plain text where it is none."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def to_toml(config: Config) -> str:
    """The resolved settings as TOML; fields that are None are left out.

    Example:
        >>> parse_config(to_toml(load_config(preset="demo")), name="copy") == load_config(preset="demo")
        True
    """
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def describe(model: type[Settings] = Config, prefix: str = "") -> list[tuple[str, str, str]]:
    """Every field as (dotted key, default, sentence), groups opened."""
    rows: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        default = "" if field.is_required() else str(field.get_default(call_default_factory=True))
        inner = [
            kind
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(kind, type) and issubclass(kind, Settings)
        ]
        rows.append((f"{prefix}{name}", "" if inner else default, field.description or ""))
        for kind in inner:
            rows += describe(kind, f"{prefix}{name}.")
    return rows
