"""What may stand on a page that leaves the house, and the check that nothing else does.

Two separate pieces on purpose: `shareable` takes things out, `unprotected_items` looks for what should not be there.
A page is only written when the second finds nothing, whatever the first did.

What counts as safe is an allow-list: public things, differentially private things whose statement stands beside them,
settings without files, paths and subjects, versions of known packages. Scores on real subjects, loss curves, error
maps, wall times and real patches are unprotected. Titles cannot be taken out, so a run asks `telling` before it begins.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from angioshare.privacy.unit import PrivacyStatement
from angioshare.records import Record
from angioshare.report.content import ReportContent, Samples

VERSIONS_TO_SHARE = frozenset(
    {"angioshare", "python", "torch", "numpy", "scipy", "dp-accounting", "cryptography", "nibabel", "safetensors"}
    | {"pydantic", "scikit-image", "matplotlib", "jinja2", "plotly", "edt", "connected-components-3d"}
)
"""Packages whose version may be told; host names, users and devices are thereby left out."""

_BEFORE = r"""(?:^|[\s"'=(\[,:])(?:file:)?"""
_PATH = re.compile(_BEFORE + r"(?:/{1,3}\w|~[/\\\w]|\.{1,2}[/\\]|[A-Za-z]:[\\/]|\\\\\w)", re.MULTILINE)
"""In settings and versions, which may lose a line too many."""

_PATH_IN_WORDS = re.compile(
    _BEFORE + r"(?:/\w[^\s/]*/|/{2,3}\w|~(?:[A-Za-z_][\w.-]*)?[/\\]|\.{1,2}[/\\]|[A-Za-z]:[\\/]|\\\\\w)", re.MULTILINE
)
"""In titles, which may speak of `~20 subjects` and of `Siemens /GE scanners`."""

_FILE = re.compile(
    r"""(?<![\w-]) (?: (?:file|config) ["']? \s* =
                     | features ["']? \s* = \s*+ \\?+ ["']?+
                       (?! \[ | (?:scattering|inception|\d+) (?:[\\"'\s,}\]]|$) ) )""",
    re.MULTILINE | re.VERBOSE,
)
"""Settings whose value is a file's name, as a line of their own or within a text; feature networks may have a name."""

_SUBJECT = re.compile(r"(?<![A-Za-z0-9])sub[-_][A-Za-z0-9]", re.IGNORECASE)
_SUBJECT_IN_WORDS = re.compile(r"(?<![A-Za-z0-9])sub[-_](?!\d+(?:\.\d+)?[ -]?(?:mm|T)\b)[A-Za-z]*\d", re.IGNORECASE)
"""A digit tells `sub-A0` from `sub-sampled`; ids without one are known by the cohort's list."""

_IN_WORDS = "a path or a subject in a title or description"


def shareable(content: ReportContent) -> ReportContent:
    """Drop whatever is unprotected and say in words what was dropped (`left_out`).

    Args:
        content: Anything, usually the content of the internal page.

    Returns:
        A content that `page.shareable_page` takes.

    Example:
        >>> shareable(ReportContent(title="A report", sources=[], stage_seconds={"train": 3.0})).left_out
        ('time per stage',)
    """
    records = tuple(r for r in content.records if _record_may_leave(r, content))
    kept_sites = {record.site for record in records}
    return replace(
        content,
        records=records,
        sites=tuple(site for site in content.sites if site in kept_sites),
        samples=tuple(s for s in content.samples if _samples_may_leave(s, content)),
        error_maps=(),
        curves=(),
        embeddings=(),
        settings_toml="\n".join(_without_telltale(line) for line in content.settings_toml.splitlines()),
        environment={name: value for name, value in content.environment.items() if _version_may_leave(name, value)},
        stage_seconds={},
        left_out=(*content.left_out, *unprotected_items(content)),
    )


def unprotected_items(content: ReportContent) -> tuple[str, ...]:
    """Name, in words, everything in `content` that must not leave the house; empty if it may be shared.

    Guarantees:
        A content without such items holds no number or picture of provenance `"unprotected"`, none called `"dp"`
        without a private statement, no real patch, no error map, curve, embedding or wall time, no path in its text, no
        file's name in its settings, and no subject in either. What a text told once stays on the list: it cannot be
        taken out, and who the subjects are is no longer known behind the filter.
    """
    numbers = Counter(f"{r.stage}: {r.metric}" for r in content.records if not _record_may_leave(r, content))
    found = [f"{metric} ({count} numbers)" for metric, count in sorted(numbers.items())]
    found += [f"sample pairs of {s.title}" for s in content.samples if not _samples_may_leave(s, content)]
    found += [f"error maps ({len(content.error_maps)})"] if content.error_maps else []
    found += [f"training curves ({len(content.curves)})"] if content.curves else []
    found += [f"t-SNE of real patches ({len(content.embeddings)})"] if content.embeddings else []
    found += ["time per stage"] if content.stage_seconds else []
    found += [
        f"environment: {name}" for name, value in content.environment.items() if not _version_may_leave(name, value)
    ]
    found += ["settings that hold a file, a path or a subject"] if _tells(content.settings_toml) else []
    found += [_IN_WORDS] if _IN_WORDS in content.left_out or telling(_texts(content), _subjects(content)) else []
    return tuple(found)


def telling(texts: Iterable[str], subjects: Iterable[str] = ()) -> list[str]:
    """Those texts that no page to share may show: they hold a path, or the id of a subject.

    Args:
        texts: Titles and descriptions.
        subjects: BIDS ids, as far as they are known; an id with a digit is found without.

    Example:
        >>> telling(["~20 subjects", "Scans of /srv/clinic", "Without SUB-A0", "Without sub Anna"], ["sub-Anna"])
        ['Scans of /srv/clinic', 'Without SUB-A0', 'Without sub Anna']
    """
    labels = "|".join(re.escape(subject.removeprefix("sub-")) for subject in set(subjects))
    known = re.compile(rf"(?<![A-Za-z0-9])sub[-_ ]?(?:{labels})(?![A-Za-z0-9])", re.IGNORECASE) if labels else None
    return [
        text
        for text in texts
        if _PATH_IN_WORDS.search(text) or _SUBJECT_IN_WORDS.search(text) or (known and known.search(text))
    ]


def _statements(content: ReportContent) -> list[PrivacyStatement]:
    """Every statement that the page would print."""
    found = [*content.statements.values(), content.cohort_statement, *(s.statement for s in content.samples)]
    return [statement for statement in found if statement is not None]


def _private(statement: PrivacyStatement | None) -> bool:
    """Whether there is a statement and it stands."""
    return statement is not None and statement.private


def _record_may_leave(record: Record, content: ReportContent) -> bool:
    """Whether a number may leave: public, or under the guarantee of the source that it speaks of.

    A score on a real subject is under no source's guarantee, whatever it is called; nor is what the work cost.
    """
    if record.metric in ("wall_time", "peak_memory"):
        return False
    if record.provenance == "dp":
        scored = bool(record.subject) or record.stage in ("segment", "evaluate")
        return not scored and _private(content.statements.get(record.trained_on))
    return record.provenance == "public"


def _samples_may_leave(samples: Samples, content: ReportContent) -> bool:
    """Whether pairs may leave; real ones and merely shuffled ones never do, whatever they are called.

    Nor do a public cohort's own: its licence may not allow it.
    """
    if content.source(samples.source).kind in ("real", "shuffled", "public"):
        return False
    return samples.provenance == "public" or (samples.provenance == "dp" and _private(samples.statement))


def _version_may_leave(name: str, value: str) -> bool:
    """Whether an entry of the environment is the version of a known package."""
    return name.lower().replace("_", "-") in VERSIONS_TO_SHARE and not _PATH.search(value)


def _tells(settings: str) -> bool:
    """Whether settings hold a file, a path of a machine or the id of a subject."""
    return any(pattern.search(settings) for pattern in (_FILE, _PATH, _SUBJECT))


def _without_telltale(line: str) -> str:
    """Exchange a line of settings that tells of a machine or a subject for a comment."""
    return "# (left out: a line that holds a file, a path or a subject)" if _tells(line) else line


def _subjects(content: ReportContent) -> set[str]:
    """Ids of subjects, as far as the content still speaks of them."""
    return {record.subject for record in content.records} - {""} | {shown.subject for shown in content.error_maps}


def _texts(content: ReportContent) -> list[str]:
    """Free text of the page beside the settings."""
    return [
        content.title,
        *content.sites,
        *(text for source in content.sources for text in (source.name, source.title, source.trained_on)),
        *(samples.title for samples in content.samples),
        *(statement.sentence() for statement in _statements(content)),
    ]
