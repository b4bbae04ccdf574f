"""Figures 6 and 8: distances of synthetic to real patches, and how alike the patches of a point are."""

from collections.abc import Mapping, Sequence

from angioshare.metrics.fidelity import metric_key
from angioshare.report.study import published
from angioshare.report.study.charts import Chart, Group, Line, Panel, Series, extent, value_axis
from angioshare.report.study.content import Setting, StudyContent, in_order
from angioshare.report.study.places import PUBLISHED_COLOUR, side_by_side
from angioshare.report.study.scores import middles, series_of

TRAIN, TEST = "#1B7837", "#2166AC"
"""Colours of distances to training and to test patches."""


def networks(content: StudyContent) -> list[str]:
    """Names of the feature networks that a Frechet distance was measured with, in order."""
    metrics = dict.fromkeys(record.metric for record in content.report.records if record.stage == "fidelity")
    found = []
    for metric in metrics:
        name = "inception" if metric == "fid_train" else metric.removeprefix("fd_").removesuffix("_train")
        if metric == metric_key("frechet", name, "train"):
            found.append(name)
    return [name for name in found if not name.startswith("infinity_")]


def distance_name(network: str) -> str:
    """What a Frechet distance of a network may be called.

    Example:
        >>> distance_name("inception"), distance_name("scattering")
        ('FID', 'FD-scattering')
    """
    return "FID" if network == "inception" else f"FD-{network}"


def figure_6(content: StudyContent, network: str) -> Chart:
    """Frechet distance to training and test patches, and their difference, a mark for each run.

    Args:
        content: Where the numbers stand.
        network: A name that `networks` gave.
    """
    name = distance_name(network)
    keys = {against: metric_key("frechet", network, against) for against in ("train", "test", "difference")}
    settings = [one for one in _own_images(content) if content.numbers(one, keys["train"])]
    x, places = side_by_side(settings)
    pair = (
        _runs(content, settings, keys["train"], places, -0.13, f"{name} against training patches", TRAIN, "o"),
        _runs(content, settings, keys["test"], places, 0.13, f"{name} against test patches", TEST, "^"),
    )
    beside = _published_fid(settings, places) if network == "inception" else ()
    both = [*pair, *beside]
    axis, _ = value_axis(name, extent(both), share=False, missing=False)
    groups = {one.name: _group(content, one, keys["difference"], places[one.name]) for one in settings}
    series = series_of(content, settings, groups, "mean")
    below, _ = value_axis("test minus training", extent(series), share=False, missing=False, positive=False)
    panels = (
        Panel(title=f"A. {name} of synthetic and real patches", x=x, y=axis, series=tuple(both), width=0.22),
        Panel(title="B. Difference: test minus training", x=x, y=below, series=series, lines=(_zero(),)),
    )
    words = "; ".join(f"{panel.title}: {middles(panel)}" for panel in panels)
    return Chart(rows=tuple((panel,) for panel in panels), words=words + ".")


def figure_8(content: StudyContent) -> Chart:
    """Mean SSIM of all pairs of patches of one run: mean and SD over runs."""
    settings = [one for one in _own_images(content) if content.numbers(one, "ssim_mean")]
    x, places = side_by_side(settings)
    groups = {one.name: _group(content, one, "ssim_mean", places[one.name]) for one in settings}
    series = series_of(content, settings, groups, "mean")
    words = f"published: above this for its epsilon < {published.SSIM_EPSILON:g} (one patch)"
    line = Line(title=words, colour=PUBLISHED_COLOUR, y=published.SSIM_COLLAPSED, dashed=True)
    axis, _ = value_axis("mean SSIM of pairs of patches", [*extent(series), line.y], share=True, missing=False)
    panel = Panel(title="SSIM between patches of one run", x=x, y=axis, series=series, lines=(line,))
    return Chart(rows=((panel,),), words=f"Mean SSIM: {middles(panel)}.", row_inches=3.6)


def _own_images(content: StudyContent) -> list[Setting]:
    """All settings but shuffled labels, whose images are the real ones again."""
    return [setting for setting in in_order(content.settings) if setting.role != "shuffled"]


def _group(content: StudyContent, setting: Setting, metric: str, x: float) -> Group:
    """One number a run."""
    found = content.numbers(setting, metric)
    return Group(x=x, names=tuple(f"seed {content.seeds[point]}" for point in found), values=tuple(found.values()))


def _runs(
    content: StudyContent,
    settings: Sequence[Setting],
    metric: str,
    places: Mapping[str, float],
    shift: float,
    title: str,
    colour: str,
    marker: str,
) -> Series:
    """The runs of all settings, a little beside their places."""
    groups = tuple(_group(content, one, metric, places[one.name] + shift) for one in settings)
    return Series(title=title, colour=colour, groups=groups, look="mean", marker="^" if marker == "^" else "o")


def _published_fid(settings: Sequence[Setting], places: Mapping[str, float]) -> tuple[Series, ...]:
    """The paper's FID against training patches, beside the settings of its noise multipliers."""
    groups = []
    for setting in settings:
        if setting.role == "non-private":
            name, value = "published, without privacy", published.FID_WITHOUT_PRIVACY
        elif setting.role == "private" and setting.noise_multiplier in published.FID:
            epsilon, value = published.FID[setting.noise_multiplier]
            name = f"published (its epsilon {epsilon:g} for one patch)"
        else:
            continue
        groups.append(Group(x=places[setting.name], names=(name,), values=(value,)))
    title = "published FID against training patches, same noise multiplier"
    made = Series(title=title, colour=PUBLISHED_COLOUR, groups=tuple(groups), look="mark", marker="D")
    return (made,) if groups else ()


def _zero() -> Line:
    return Line(title="no difference", colour="#8a919c", y=0.0, dashed=True)
