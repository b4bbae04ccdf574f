"""What stands below each figure of a study: what was trained on what, how many seeds, what a mark means.

All of it is made from the content that is shown, so a page that leaves the house tells no more than its figures do.
"""

from collections.abc import Iterable, Sequence

from angioshare.metrics.fidelity import metric_key
from angioshare.report.study import published
from angioshare.report.study.content import Setting, StudyContent, in_order
from angioshare.report.study.fidelity import distance_name
from angioshare.report.study.places import family_title
from angioshare.report.study.tradeoff import SCALES, unplaced
from angioshare.report.study.views import ErrorView

ERRORS = "Red: vessel, and found; green: found, but no vessel; yellow: vessel, but missed."

AXIS = (
    "Below each place stand the noise multiplier and epsilon for one patch and for one subject (∞: no bound; rounded "
    "upwards; of several seeds, the largest)."
)


def caption_2(content: StudyContent, settings: Sequence[Setting]) -> str:
    """Of the samples."""
    return (
        "Image patches, each above its vessel label: some pairs of the first seed of every setting, drawn by a public "
        "seed and not picked. "
        f"{made_from(settings)} Above each column: noise multiplier and both bounds. The paper's Figure 2 shows the "
        "same for its epsilons."
    )


def caption_3(content: StudyContent) -> str:
    """Of the scores at the own site."""
    return (
        f"{segmenters(content, content.sites[:1])} Tested on whole volumes of {subjects(content, content.sites[0])}. "
        "A: a point is the mean over subjects of one seed; box: quartiles and median, whiskers reach all seeds. "
        "B and C: the seed whose segmenter had the best Dice on validation subjects; a point is a subject, the bar "
        f"their mean, whiskers one SD. {UNDEFINED} {AXIS} {_published_dice(0)}"
    )


def caption_4(content: StudyContent, view: ErrorView) -> str:
    """Of the error maps at one site."""
    return (
        f"Subject {view.subject} at {view.site}: above, axial slice {view.large.number} (it holds the largest "
        f"cross-section of a vessel) with errors; below, the vessel tree from above, each ray in the colour of its "
        f"commonest class. {ERRORS} Each segmenter was trained on the pairs of the setting's seed with the best Dice "
        f"on validation subjects. {made_from(content.settings)} The Dice is that of this subject."
    )


def caption_5(content: StudyContent) -> str:
    """Of the scores at second sites."""
    sites = content.sites[1:]
    where = "; ".join(subjects(content, site) for site in sites)
    return (
        f"{segmenters(content, sites)} The same segmenters as in Figure 3, tested on {where}, from which nothing was "
        "learned. A point is a subject, the bar their mean, whiskers one SD, for the seed whose segmenter had the "
        f"best Dice on validation subjects of the own site. {UNDEFINED} {AXIS} {_published_dice(1)}"
    )


def caption_6(content: StudyContent, network: str) -> str:
    """Of the distances to real patches."""
    counts = {record.value for record in content.report.records if record.metric == "fidelity_patches" and record.value}
    patches = f"{max(counts):,.0f} patches a set at most" if counts else "patches"
    name = distance_name(network)
    beside = (
        "Published FID against training patches: "
        f"{published.FID_WITHOUT_PRIVACY:g} without privacy, "
        + " and ".join(f"{fid:g} at its epsilon {epsilon:g}" for epsilon, fid in published.FID.values())
        + " (one patch)"
    )
    comparable = (
        "; diamonds stand at the same noise multiplier."
        if network == "inception"
        else f"; these are of another network (FID Inception) and cannot be compared with {name}."
    )
    return (
        f"{name}: Frechet distance between images (without labels) of {patches}, by the features of the network "
        f"“{network}”. A: of the pairs of each point and real patches, those it was trained on (circles) and those of "
        "test subjects (triangles); B: the second minus the first. A source that knows nothing of these very people "
        "(the simulator) shows in B what chance and the choice of subjects give. “real” compares training patches with "
        "other patches of the same subjects: in A, what distance sets of this size have anyway; in B, what copying the "
        "training subjects gives. A source that lies in B clearly above the simulator, towards “real”, has come nearer "
        f"to its training subjects than to other people. {_runs(content, metric_key('frechet', network, 'train'))} "
        f"{AXIS} {beside}{comparable}"
    )


def caption_7(setting: Setting, view: ErrorView, seed: int) -> str:
    """Of the best private point."""
    return (
        f"Subject {view.subject} at {view.site}, segmenter trained on pairs of “{setting.title}”, seed {seed}, made "
        f"from {setting.trained_on}: of all private points the one with the best Dice on validation subjects (a choice "
        f"that its guarantee does not cover); epsilon {setting.epsilon_shown('patch')} for one patch and "
        f"{setting.epsilon_shown('subject')} for one subject. A: the slice with the largest cross-section of a vessel; "
        "B: the slice with most cross-sections no larger than the median; C: the whole tree along three axes. "
        f"{ERRORS} The paper's Figure 7 shows its best private model (its epsilon {published.BEST_EPSILON:g} for one "
        "patch)."
    )


def caption_8(content: StudyContent) -> str:
    """Of the similarity of patches."""
    settings = [one for one in content.settings if content.numbers(one, "ssim_mean") and one.role != "shuffled"]
    return (
        "Structural similarity (Wang et al. 2004), mean over all pairs of images of one point: near 1, all its patches "
        f"are alike (mode collapse); best is that of real patches. {_runs(content, 'ssim_mean')} "
        f"{made_from(settings)} {AXIS} Published: above {published.SSIM_COLLAPSED:g} for its epsilon below "
        f"{published.SSIM_EPSILON:g} (one patch), less for larger ones."
    )


def caption_s2(settings: Sequence[Setting], view: ErrorView) -> str:
    """Of the error maps of the strictest settings at a second site."""
    return (
        f"Subject {view.subject} at {view.site}, a second site, for the {len(settings)} settings with most noise: "
        f"axial slice {view.large.number} with errors and the vessel tree from above. {ERRORS} bAHD counts distances: "
        "a few stray voxels far away weigh more than many missed ones, so a segmenter that finds next to nothing may "
        "look better by bAHD than one that finds more; the counts above the pictures tell the two apart. The paper's "
        f"Figure S2 shows this for its strictest models. {made_from(settings)}"
    )


def caption_tradeoff(content: StudyContent) -> str:
    """Of the trade-off figure."""
    left = {one.title for scale in SCALES for one in unplaced(content, scale)}
    missing = f" Without a finite number on an axis, and so not on it: {', '.join(sorted(left))}." if left else ""
    where = "; ".join(subjects(content, site) for site in content.sites)
    return (
        f"{segmenters(content, content.sites)} A row for each test site ({where}); along x, noise multiplier, epsilon "
        "for one patch and epsilon for one subject, all rising to the right with what is revealed. A point is the mean "
        "over subjects of one seed; box: quartiles and median over seeds, whiskers reach all. Lines are means over "
        f"seeds of what has no noise. Shaded: beyond the threshold (see below).{missing} Violet: published, at the "
        "epsilon for one patch that the paper prints; it prints none for a subject."
    )


UNDEFINED = "A cross on top marks scores that are undefined, because nothing was predicted."


def made_from(settings: Iterable[Setting]) -> str:
    """What each source itself was made from, those alike together."""
    origins: dict[str, dict[str, None]] = {}
    for setting in in_order(settings):
        if setting.role != "real":
            origins.setdefault(setting.trained_on, {})[f"“{family_title(setting)}”"] = None
    parts = [f"{listed(names)}, made from {origin}" for origin, names in origins.items()]
    return f"Sources: {'; '.join(parts)}." if parts else ""


def listed(names: Iterable[str]) -> str:
    """Names in a sentence.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def segmenters(content: StudyContent, sites: Sequence[str]) -> str:
    """What the segmenters with scores at any of these sites were trained on, and how many seeds were scored."""
    settings = measured(content, sites)
    seeds = seeds_words(len(content.scored(one, sites)) for one in settings)
    return (
        "U-Nets trained on the pairs of each point and chosen by Dice on validation subjects. "
        f"{made_from(settings)} {seeds.capitalize()} a setting."
    )


def subjects(content: StudyContent, site: str) -> str:
    """How many subjects a site has, with its name."""
    counts = {len(one.subjects) for setting in content.settings for one in content.spread(setting, "dice", site)}
    count = max(counts, default=0)
    return f"{count} subject{'' if count == 1 else 's'} of {site}"


def measured(content: StudyContent, sites: Sequence[str]) -> list[Setting]:
    """Settings with a Dice at any of these sites."""
    return [one for one in content.settings if content.scored(one, sites)]


def seeds_words(counts: Iterable[int]) -> str:
    """How many seeds settings have, in words; a setting without any does not count.

    Example:
        >>> seeds_words([3, 3, 0]), seeds_words([1, 3]), seeds_words([1]), seeds_words([])
        ('3 seeds', '1 to 3 seeds', 'one seed', 'no seed')
    """
    found = set(counts) - {0}
    if not found:
        return "no seed"
    low, high = min(found), max(found)
    if high == 1:
        return "one seed"
    return f"{high} seeds" if low == high else f"{low} to {high} seeds"


def _runs(content: StudyContent, metric: str) -> str:
    """What a mark is, where it is a number of stage `fidelity`; the figures of these leave shuffled labels out."""
    seeds = seeds_words(len(content.numbers(one, metric)) for one in content.settings if one.role != "shuffled")
    return f"A point is a seed ({seeds} a setting), the bar their mean, whiskers one SD over seeds."


def _published_dice(site: int) -> str:
    """The paper's Dice at one of its sites."""
    plain, best = published.dice("non-private", site), published.dice("private", site)
    words = (
        f"Published ({published.SITES[site]}): {plain:.2f} without privacy, {best:.2f} for the best private model, at "
        f"its epsilon {published.BEST_EPSILON:g} for one patch"
    )
    if site == 0:
        return (
            f"{words}; unstable and below {published.UNUSABLE_DICE:g} for its epsilon below "
            f"{published.UNUSABLE_EPSILON:g}. The paper prints bAHD as a picture only."
        )
    return f"{words}. The paper prints bAHD as a picture only."
