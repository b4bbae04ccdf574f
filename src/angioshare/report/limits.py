"""What the guarantee does not protect, in plain words, drawn from the statements themselves."""

from angioshare.report.content import ReportContent
from angioshare.report.tables import epsilon_words, role

WEAK_EPSILON = 20.0
"""Above this, a bound is called no meaningful protection: likelihoods may differ by e to the 20th."""


def weak(epsilon: float) -> bool:
    """Whether a bound is too large to mean anything; infinity is.

    Example:
        >>> weak(3.0), weak(101.0)
        (False, True)
    """
    return not epsilon <= WEAK_EPSILON


def limits(content: ReportContent) -> list[str]:
    """List what the guarantee does not protect.

    Args:
        content: Where the statements stand.

    Returns:
        Sentences for people who never met differential privacy, the most important first.
    """
    roles = {source.name: role(source, content.statements) for source in content.sources}
    private = [source for source in content.sources if roles[source.name] == "private"]
    found = []
    for source in private:
        statement = content.statements[source.name]
        if weak(statement.subject.epsilon):
            found.append(
                f"A person is not protected by “{source.title}”. One patch of a scan has epsilon "
                f"{epsilon_words(statement.patch)} at delta {statement.patch.delta:.3g}, but each subject gave many "
                f"patches: for all of them together the bound is epsilon {epsilon_words(statement.subject)}, which "
                "rules out nothing."
            )
    found += [
        f"Nobody is protected by “{source.title}”: it was trained without privacy. Keep it in the house."
        for source in content.sources
        if roles[source.name] == "non-private"
    ]
    found += [
        "Subjects who chose or tested the segmenters (validation and test) trained no source, but the scores and the "
        "choice of the best segmenter come from them: the guarantee does not cover them.",
        "Bounds add up. Whoever holds several releases of this cohort faces their sum: see the statement of the whole "
        "cohort.",
        "That the cohort exists, how many subjects it has, and settings that people chose after they had seen the data "
        "are not hidden.",
        "What is true of people in general is not hidden, and is not meant to be: where vessels run, what a disease "
        "does to them. The guarantee is about taking part.",
        "A bound on paper is as good as the program and the machine that kept it: secret random numbers, noise in "
        "floating point, an honest ledger.",
    ]
    return found + _own_words(content)


def _own_words(content: ReportContent) -> list[str]:
    """What the statements themselves name as not covered, and every reason to trust them less."""
    without = ("real", "shuffled", "non-private")
    guaranteed = {s.name for s in content.sources if role(s, content.statements) not in without}
    statements = [content.statements[source.name] for source in content.sources if source.name in content.statements]
    named = [content.statements[name] for name in content.statements if name in guaranteed]
    named += [content.cohort_statement] if content.cohort_statement else []
    uncovered = list(dict.fromkeys(words for one in named for words in one.not_covered if words != "nothing"))
    caveats = list(dict.fromkeys(words for statement in [*statements, *named] for words in statement.caveats))
    found = [f"In the words of the statements, not covered: {'; '.join(uncovered)}."] if uncovered else []
    return found + [f"A caveat of the statements: {words}." for words in caveats]
