"""What may stand on a page that leaves the house, and the check that nothing else does.

Two separate pieces on purpose: `shareable` takes things out, `unprotected_items` looks for what should not be there.
A page is only written when the second finds nothing, whatever the first did.

What counts as safe is an allow-list: public things, differentially private things whose statement stands beside them,
settings without paths and subjects, versions of known packages. Scores on real subjects, loss curves, error maps,
wall times and real patches are unprotected.
"""

import re
from collections import Counter
from dataclasses import replace

from angioshare.privacy.unit import PrivacyStatement
from angioshare.records import Record
from angioshare.report.content import ReportContent, Samples

VERSIONS_TO_SHARE = frozenset(
    {"angioshare", "python", "torch", "numpy", "scipy", "dp-accounting", "cryptography", "nibabel", "safetensors"}
    | {"pydantic", "scikit-image", "matplotlib", "jinja2", "plotly", "edt", "connected-components-3d"}
)
"""Packages whose version may be told; host names, users and devices are thereby left out."""

_PATH = re.compile(r"""(?:^|[\s"'=(\[,:])(?:file:)?(?:/{1,3}\w|~[/\\\w]|[A-Za-z]:[\\/]|\\\\\w)""", re.MULTILINE)
_SUBJECT = re.compile(r"\bsub-[A-Za-z0-9]+")


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
        without a private statement, no real patch, no error map, curve, embedding or wall time, no absolute path in its
        text, and no subject in its settings.
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
    found += ["settings that hold a path or a subject"] if _tells(content.settings_toml) else []
    found += ["a path in a title or description"] if any(_PATH.search(text) for text in _texts(content)) else []
    return tuple(found)


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
    """Whether pairs may leave; real and merely shuffled ones never do, whatever they are called."""
    if content.source(samples.source).kind in ("real", "shuffled"):
        return False
    return samples.provenance == "public" or (samples.provenance == "dp" and _private(samples.statement))


def _version_may_leave(name: str, value: str) -> bool:
    """Whether an entry of the environment is the version of a known package."""
    return name.lower().replace("_", "-") in VERSIONS_TO_SHARE and not _PATH.search(value)


def _tells(settings: str) -> bool:
    """Whether settings hold a path of a machine or the id of a subject."""
    return bool(_PATH.search(settings) or _SUBJECT.search(settings))


def _without_telltale(line: str) -> str:
    """Exchange a line of settings that tells of a machine or a subject for a comment."""
    return "# (left out: a line that holds a path or a subject)" if _tells(line) else line


def _texts(content: ReportContent) -> list[str]:
    """Free text of the page beside the settings."""
    return [
        content.title,
        *content.sites,
        *(text for source in content.sources for text in (source.name, source.title, source.trained_on)),
        *(samples.title for samples in content.samples),
        *(statement.sentence() for statement in _statements(content)),
    ]
