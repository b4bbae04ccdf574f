"""A plan expanded into points: each one run of the pipeline on one source, with settings of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from angioshare.config import Config, SourceSettings
from angioshare.errors import SettingsError
from angioshare.study.plan import GridSettings, PlanSettings, checked_config


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a study.

    Attributes:
        name: Name of its run folder. It carries no settings; these stand in the folder's `config.toml`.
        keeper: The first point of the same seed: it cuts the patches that all points of the seed share.
        config: Everything that its run does.
    """

    name: str
    keeper: str
    config: Config

    @property
    def source(self) -> SourceSettings:
        """The one source that it trains and measures."""
        return self.config.sources[0]

    @property
    def private(self) -> bool:
        """Whether its training charges the cohort's ledger."""
        return self.source.privacy is not None

    @property
    def in_turn(self) -> bool:
        """Whether its training must not run beside another one that charges: a budget goes to whoever comes first."""
        return self.source.privacy is not None and self.source.privacy.budget is not None


def expand(plan: PlanSettings) -> tuple[Point, ...]:
    """Every point of a plan: baselines first, then the grid, seed by seed.

    New seeds and new values at the end of a list leave the names of earlier points as they are, so that a study can
    be extended.

    Raises:
        SettingsError: A grid entry names no source of the base, or a value does not fit.

    Example:
        >>> from angioshare.study.plan import load_plan
        >>> points = expand(load_plan("kossen2022"))
        >>> sum(point.source.synthesizer == "wgan" for point in points), points[0].name
        (36, 'real-seed0')
    """
    base = plan.base()
    entries = [*(GridSettings(source=name) for name in plan.baselines), *plan.grid]
    labelled = _labels([entry.source for entry in entries])
    found: list[Point] = []
    keepers: dict[int, str] = {}
    for entry, label in zip(entries, labelled, strict=True):
        settings = list(_settings(base, entry))
        for index, source in enumerate(settings, 1):
            for seed in range(plan.seed, plan.seed + (entry.seeds or plan.seeds)):
                name = f"{label}-{index}-seed{seed}" if len(settings) > 1 else f"{label}-seed{seed}"
                keeper = keepers.setdefault(seed, name)
                found.append(Point(name=name, keeper=keeper, config=_config(plan, base, source, seed, name)))
    return tuple(found)


def _labels(sources: list[str]) -> list[str]:
    """A name for each entry: its source, numbered from the second entry on that has the same."""
    return [
        name if name not in sources[:position] else f"{name}-x{sources[: position + 1].count(name)}"
        for position, name in enumerate(sources)
    ]


def _settings(base: Config, entry: GridSettings) -> Iterator[dict[str, Any]]:
    """The source's settings at every combination of what is varied."""
    held = {source.name: source for source in base.sources}
    if entry.source not in held:
        raise SettingsError(f"grid source {entry.source!r} is none of the base; choose one of {', '.join(held)}")
    axes: dict[str, tuple[Any, ...]] = dict(entry.vary)
    if entry.noise_multipliers:
        axes["privacy.noise_multiplier"] = entry.noise_multipliers
    if entry.epsilons:
        axes["privacy.epsilon"] = entry.epsilons
    for values in product(*axes.values()):
        tree = held[entry.source].model_dump(exclude_none=True)
        for key, value in zip(axes, values, strict=True):
            _put(tree, key, value)
        if axes or entry.title:
            varied = [
                f"{key.rpartition('.')[2].replace('_', ' ')} {value}" for key, value in zip(axes, values, strict=True)
            ]
            tree["title"] = ", ".join([entry.title or entry.source, *varied])[:80]
        yield tree


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key; noise and epsilon replace each other."""
    *groups, last = key.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
    if groups == ["privacy"]:
        rivals = {"noise_multiplier": "epsilon", "epsilon": "noise_multiplier"}
        tree.pop(rivals.get(last, ""), None)
    tree[last] = value


def _config(plan: PlanSettings, base: Config, source: dict[str, Any], seed: int, name: str) -> Config:
    """A point's settings: one source, one seed, and no processes of its own beside the engine's jobs."""
    tree = base.model_dump(exclude_none=True)
    tree |= {"seed": seed, "sources": [source | {"seed": seed}], "workers": 1, "threads": plan.cores}
    return checked_config(tree | {"title": f"{plan.title}: {name}"[:120]}, f"point {name}")
