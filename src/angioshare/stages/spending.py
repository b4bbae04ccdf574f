"""Where a cohort's ledger stands, and what was spent on it."""

from pathlib import Path

from angioshare.cohort.cohort import Cohort, open_cohort
from angioshare.cohort.fingerprint import fingerprint
from angioshare.errors import SettingsError
from angioshare.privacy.calibration import auto_delta
from angioshare.privacy.chain import spent
from angioshare.privacy.ledger import Ledger, read_lines
from angioshare.privacy.registry import BESIDE, Registry
from angioshare.privacy.statements import deltas_for, state
from angioshare.privacy.unit import PrivacyStatement
from angioshare.rundir import read_json
from angioshare.stages.run import Run

SCANS = "scans.json"
"""Digests of the cohort's scans, on the private side of a run."""

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
        LedgerError: It is in use, edited, of another cohort, or not the only one of these subjects.
    """
    scans = read_json(run.private / SCANS)
    registry = Registry(run.state)
    path = registry.locate(run.cohort, scans, run.ledger)
    simulated = open_cohort(run.cohort).simulated
    return Ledger.open(path, subjects=scans, registry=None if simulated else registry)


def find_ledger(place: Path, state: Path) -> Path:
    """The ledger of a cohort or run folder, or the file itself.

    Raises:
        SettingsError: There is none.
    """
    if place.is_file() and place.suffix == ".jsonl":
        return place
    cohort, override = place, None
    if (place / "run.json").exists():
        identity = read_json(place / "run.json")
        cohort, override = Path(identity["cohort"]), Path(identity["ledger"]) if identity["ledger"] else None
    root = cohort if cohort.is_dir() else cohort.parent
    path = override or (root / BESIDE if (root / BESIDE).exists() else None)
    if path is None:
        path = Registry(state).locate(cohort, scan_digests(open_cohort(cohort)))
    if not path.exists():
        raise SettingsError(f"{place} has no ledger yet (looked for {path}): nothing was spent; or give its path")
    return path


def cohort_statement(run: Run) -> PrivacyStatement | None:
    """What all runs on the cohort spent together; None where nothing was charged yet."""
    private = [source.privacy for source in run.config.sources if source.privacy]
    if not private:
        return None
    scans = read_json(run.private / SCANS)
    patches = run.config.patches.per_subject * len(scans)
    given = [privacy.delta for privacy in private if privacy.delta is not None] or [auto_delta(patches)]
    deltas = deltas_for(given, patches=patches, subjects=len(scans))
    lines = read_lines(Registry(run.state).locate(run.cohort, scans, run.ledger))
    return state(spent(lines), deltas, ("everything that was made from this cohort",))
