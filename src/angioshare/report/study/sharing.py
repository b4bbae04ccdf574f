"""The two walls of a study's page: the same as those of a run's page (`report.sharing`), around what a study adds.

One takes out, the other looks again at the result and knows nothing of the first.
"""

from dataclasses import replace

from angioshare.report import sharing
from angioshare.report.content import ReportContent, SourceInfo
from angioshare.report.study.content import StudyContent


def shareable_study(content: StudyContent) -> StudyContent:
    """Drop whatever is unprotected and say in words what was dropped.

    Args:
        content: Anything, usually the content of the internal page.

    Returns:
        A content that `page.shareable_study_page` takes.
    """
    kept = sharing.shareable(content.report)
    kept = replace(kept, left_out=(*kept.left_out, *_views(content)))
    return replace(content, report=kept, views=())


def unprotected_in_study(content: StudyContent) -> tuple[str, ...]:
    """Name, in words, everything in `content` that must not leave the house; empty if it may be shared.

    Guarantees:
        Whatever `report.sharing.unprotected_items` guarantees of the report, and no error map; no text of a setting,
        trained or not, holds a path.
    """
    return (
        *sharing.unprotected_items(content.report),
        *sharing.unprotected_items(by_setting(content)),
        *_views(content),
    )


def by_setting(content: StudyContent) -> ReportContent:
    """The study with its settings as sources: their titles and statements alone, no number and no picture."""
    sources = [
        SourceInfo(
            name=setting.name,
            title=setting.title,
            kind=setting.kind,
            synthesizer=setting.synthesizer,
            trained_on=setting.trained_on,
        )
        for setting in content.settings
        if setting.statement is not None
    ]
    statements = {setting.name: setting.statement for setting in content.settings if setting.statement is not None}
    return ReportContent(
        title=content.report.title,
        sources=sources,
        statements=statements,
        cohort_statement=content.report.cohort_statement,
    )


def _views(content: StudyContent) -> tuple[str, ...]:
    return (f"error maps ({len(content.views)})",) if content.views else ()
