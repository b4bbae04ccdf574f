"""Where a cohort's ledger stands, and what was spent on it."""

from collections.abc import Mapping
from pathlib import Path

from angioshare.cohort.cohort import Cohort, open_cohort
from angioshare.cohort.fingerprint import fingerprint
from angioshare.errors import LedgerError, SettingsError
from angioshare.privacy.calibration import auto_delta
from angioshare.privacy.chain import Line, problems, spent
from angioshare.privacy.events import Spend
from angioshare.privacy.ledger import Ledger, read_lines
from angioshare.privacy.registry import BESIDE, Registry
from angioshare.privacy.statements import deltas_for, state
from angioshare.privacy.unit import PrivacyStatement
from angioshare.rundir import read_json, write_json
from angioshare.stages.run import Run, read_identity

SCANS = "scans.json"
"""Digests of the cohort's scans, on the private side of a run."""

ACCOUNT = "ledger.json"
"""Id of the ledger that a run is charged in, on its private side; another one knows nothing of these charges."""

DIGEST_KEY = b"angioshare scan digest, keyed anew by each ledger"
"""Makes digests comparable between runs; a ledger stores none of them, only fingerprints under its own salt."""


def scan_digests(cohort: Cohort) -> dict[str, str]:
    """Digest of each subject's scan, by id: what a ledger knows people by."""
    return fingerprint(cohort, DIGEST_KEY).subjects


def open_ledger(run: Run) -> Ledger:
    """Open the ledger of a run's cohort, or begin it.

    A cohort that AngioShare simulated holds nobody, so its ledger is not entered in the user's registry: the same
    cohort may be simulated, spent on and deleted again and again.

    Raises:
        LedgerError: It is in use, edited, of another cohort, not the only one of these subjects, or not the one that
            this run was charged in before.

    Guarantees:
        A run that was charged once is charged in the same ledger ever after. Another one, begun on another machine or
        by another user, knows nothing of what its checkpoints and releases have cost.
    """
    scans = read_json(run.private / SCANS)
    registry = Registry(run.state)
    path = registry.locate(run.cohort, scans, run.ledger)
    simulated = open_cohort(run.cohort).simulated
    bound = _account(run)
    if bound and not path.exists():
        raise LedgerError(_other_ledger(run, path, "is not there"))
    ledger = Ledger.open(path, subjects=scans, registry=None if simulated else registry)
    if not bound:
        write_json(run.private / ACCOUNT, {"ledger": ledger.id}, private=True)  # before anything is charged in it
    elif ledger.id != bound:
        ledger.close()
        raise LedgerError(_other_ledger(run, path, "is another one"))
    return ledger


def _account(run: Run) -> str:
    """Id of the ledger that the run is charged in; empty before it was charged in any."""
    path = run.private / ACCOUNT
    return str(read_json(path)["ledger"]) if path.exists() else ""


def _other_ledger(run: Run, path: Path, what: str) -> str:
    return (
        f"{run.root} was charged in a ledger, and {path} {what}: what its trainings have cost would be counted "
        "nowhere; bring that ledger back to this place, or begin anew in another folder"
    )


def find_ledger(place: Path, state: Path) -> Path:
    """The ledger of a cohort or run folder, or the file itself.

    Raises:
        SettingsError: There is none.
    """
    if place.is_file() and place.suffix == ".jsonl":
        return place
    cohort, override = place, None
    if (place / "run.json").exists():
        identity = read_identity(place)
        cohort, override = Path(identity["cohort"]), Path(identity["ledger"]) if identity["ledger"] else None
    root = cohort if cohort.is_dir() else cohort.parent
    path = override or (root / BESIDE if (root / BESIDE).exists() else None)
    if path is None:
        path = Registry(state).locate(cohort, scan_digests(open_cohort(cohort)))
    if not path.exists():
        raise SettingsError(f"{place} has no ledger yet (looked for {path}): nothing was spent; or give its path")
    return path


def cohort_statement(run: Run) -> PrivacyStatement | None:
    """What all runs on the cohort spent together; None where no source is private.

    Raises:
        LedgerError: The ledger was edited, cut or rolled back, or is not the one that the run was charged in.
    """
    private = [source.privacy for source in run.config.sources if source.privacy]
    if not private:
        return None
    scans = read_json(run.private / SCANS)
    patches = run.config.patches.per_subject * len(scans)
    given = [privacy.delta for privacy in private if privacy.delta is not None] or [auto_delta(patches)]
    deltas = deltas_for(given, patches=patches, subjects=len(scans))
    return state(spent(_sound_lines(run, scans)), deltas, ("everything that was made from this cohort",))


def spent_by(run: Run, name: str) -> list[Spend]:
    """What the cohort's ledger was charged for a source of the run.

    Raises:
        LedgerError: See `cohort_statement`.
    """
    found = spent(_sound_lines(run, read_json(run.private / SCANS)))
    return [spend for spend in found if spend.run == f"{run.id}/{name}"]


def _sound_lines(run: Run, scans: Mapping[str, str]) -> list[Line]:
    """Lines of the cohort's ledger, if nothing is wrong with it: what it does not tell would be stated nowhere."""
    registry = Registry(run.state)
    path = registry.locate(run.cohort, scans, run.ledger)
    lines, bound = read_lines(path), _account(run)
    if not lines:
        if bound:
            raise LedgerError(_other_ledger(run, path, "is not there, or empty"))
        return lines
    ledger = str((lines[0].value or {}).get("ledger", ""))
    if bound not in ("", ledger):
        raise LedgerError(_other_ledger(run, path, "is another one"))
    wrong = [*problems(lines), *registry.problems(ledger, lines)]
    if wrong:  # or another run has written between the two looks
        lines = read_lines(path)
        wrong = [*problems(lines), *registry.problems(ledger, lines)]
    if wrong:
        raise LedgerError(
            f"{path}: {wrong[0]}, so what was spent on the cohort cannot be stated; restore the file from a backup, or "
            "treat the cohort as spent"
        )
    return lines
