"""The plan of a study: which runs it is made of, as frozen settings read from YAML or TOML; unknown keys are errors.

A plan names a base (a shipped preset or a settings file), what is changed in it, and a grid over its sources. U-Net
settings are no axis of the grid but lists inside each point (`unets`): a second point with other U-Nets would train the
same synthesizer again, and charge the cohort again.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from angioshare.config import Config, explain, load_config, preset_names
from angioshare.errors import SettingsError
from angioshare.settings import Settings

PLANS = "angioshare.study"
"""Package that holds the shipped plans, one TOML file each in its folder `plans`."""


class GridSettings(Settings):
    """Points that vary one source of the base."""

    source: str = Field(description="Name of a source of the base settings.")
    title: str = Field("", max_length=40, description="What tables call it; the source's name if left out.")
    noise_multipliers: tuple[float, ...] = Field((), description="One point for each; give these or epsilons.")
    epsilons: tuple[float, ...] = Field((), description="One point for each, the noise calibrated to it.")
    vary: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="Dotted key of the source -> its values, for example settings.iterations."
    )
    seeds: int | None = Field(None, ge=1, le=1000, description="Seeds of these points; the plan's number if left out.")

    @field_validator("vary")
    @classmethod
    def _values(cls, vary: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, values in vary.items():
            if not values or key.split(".")[0] not in ("settings", "privacy", "pairs"):
                raise ValueError(f"{key!r} must be pairs, settings.KEY or privacy.KEY, with one value or more")
        return vary

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.noise_multipliers and self.epsilons:
            raise ValueError("give noise_multipliers or epsilons, not both; write a second grid entry for the other")
        return self


class JobSettings(Settings):
    """What one job asks of a cluster; left out, the profile decides. A local run looks at none of it."""

    memory_mb: int | None = Field(None, ge=1, description="Memory in MB.")
    minutes: int | None = Field(None, ge=1, description="Wall time in minutes.")
    gpus: int = Field(0, ge=0, le=64, description="GPUs.")


class PlanSettings(Settings):
    """Everything that a study does."""

    title: str = Field("AngioShare study", max_length=120, description="Title of the study.")
    preset: str | None = Field(None, description="Shipped settings that every point starts from. This or config.")
    config: Path | None = Field(None, description="Settings file (TOML) that every point starts from.")
    changes: tuple[str, ...] = Field((), alias="set", description="key=value on top of the base, as `--set` takes it.")
    unets: dict[str, Any] = Field(default_factory=dict, description="Keys of segmentation that replace the base's.")
    cohort: Path | None = Field(None, description="The private cohort; relative to this file, or given by --cohort.")
    second_sites: tuple[Path, ...] = Field((), description="Further test cohorts.")
    public_cohort: Path | None = Field(None, description="Labelled scans that anybody may have.")
    seed: int = Field(0, ge=0, lt=2**31, description="Public seed: the points' seeds are seed, seed + 1, ...")
    seeds: int = Field(1, ge=1, le=1000, description="Seeds of every point.")
    baselines: tuple[str, ...] = Field((), description="Sources of the base that are run as they are, once a seed.")
    grid: tuple[GridSettings, ...] = Field((), description="What is varied.")
    cores: int = Field(1, ge=1, le=256, description="Cores, and threads, of one job.")
    learn: JobSettings = Field(default_factory=JobSettings, description="Jobs that prepare, train and sample.")
    measure: JobSettings = Field(default_factory=JobSettings, description="Jobs that train U-Nets and evaluate.")

    @model_validator(mode="after")
    def _base_and_points(self) -> Self:
        if (self.preset is None) == (self.config is None):
            raise ValueError(f"give exactly one of preset and config; presets are {', '.join(preset_names())}")
        if not self.grid and not self.baselines:
            raise ValueError("a study needs a grid entry or a baseline; add one")
        return self

    def base(self) -> Config:
        """The settings that every point starts from.

        Raises:
            SettingsError: They cannot be read, or a change does not fit.
        """
        whole = load_config(preset=self.preset, file=self.config, changes=self.changes)
        if not self.unets:
            return whole
        tree = whole.model_dump(exclude_none=True)
        tree["segmentation"] |= self.unets
        return checked_config(tree, "unets")


def checked_config(tree: dict[str, Any], what: str) -> Config:
    """Settings from a tree; `what` says in errors which part of the plan made it."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(f"{what}: {explain(error)}") from error


def plan_names() -> list[str]:
    """Names of the shipped plans.

    Example:
        >>> plan_names()
        ['kossen2022', 'kossen2022-small', 'tradeoff-small']
    """
    folder = resources.files(PLANS) / "plans"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_plan(name: str) -> PlanSettings:
    """Read a shipped plan by its name, or a plan file; paths in a file are relative to it.

    Raises:
        SettingsError: There is no such plan, a key is unknown, or a value is out of bounds.

    Example:
        >>> plan = load_plan("kossen2022")
        >>> len(plan.grid[1].noise_multipliers), plan.grid[1].seeds or plan.seeds
        (7, 5)
    """
    if name in plan_names():
        text = (resources.files(PLANS) / "plans" / f"{name}.toml").read_text(encoding="utf-8")
        return _parsed(tomllib.loads(text), f"plan {name}")
    file = Path(name)
    if not file.is_file():
        raise SettingsError(
            f"plan {name!r} does not exist; give a YAML or TOML file, or one of {', '.join(plan_names())}"
        )
    plan = _parsed(_tree(file), str(file))
    here = file.resolve().parent
    found = {
        key: here / path for key in ("config", "cohort", "public_cohort") if (path := getattr(plan, key)) is not None
    }
    return plan.model_copy(update={**found, "second_sites": tuple(here / site for site in plan.second_sites)})


def _tree(file: Path) -> Any:
    """The content of a plan file."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".toml":
            return tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read plan {file}: {error}") from error
    try:
        import yaml
    except ImportError as error:
        raise SettingsError(f"{file}: YAML needs the extra: pip install -e '.[study]'; or write TOML") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"plan {file} is no YAML: {error}") from error


def _parsed(tree: Any, name: str) -> PlanSettings:
    try:
        return PlanSettings.model_validate(tree)
    except ValidationError as error:
        clauses = explain(error).replace("see `angioshare config show`", f"known are {', '.join(known_keys())}")
        raise SettingsError(f"{name}: {clauses}") from error


def known_keys() -> list[str]:
    """Keys of a plan as they are written in a file.

    Example:
        >>> "set" in known_keys(), "changes" in known_keys()
        (True, False)
    """
    return [field.alias or name for name, field in PlanSettings.model_fields.items()]


def to_toml(plan: PlanSettings) -> str:
    """The resolved plan as TOML, without any path of the machine."""
    paths = {"cohort", "second_sites", "public_cohort", "config"}
    return tomli_w.dumps(plan.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=paths))
