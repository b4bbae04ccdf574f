"""Scans and labels that a run is measured on: noted when it begins, and compared whenever they are read again.

A stage may be done today and the next one after a resume, when somebody has mended a label or copied a training scan
over a test scan. Scores of both would stand in one table.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from angioshare.cohort.names import printable
from angioshare.cohort.subject import LoadedSubject, Subject
from angioshare.errors import DataError
from angioshare.progress import Progress
from angioshare.rundir import read_json, write_json
from angioshare.stages.run import Run

INPUTS = "inputs.json"
"""Digests of what is measured on, on the private side of a run: for each site those of its subjects, by id."""


@dataclass(frozen=True)
class Noted:
    """A subject whose files must be what they were when the run began; fulfils `select.ValidationSubject`.

    Attributes:
        subject: The subject.
        digest: Of its scan and masks, then; empty in runs of versions that noted none.
    """

    subject: Subject
    digest: str = ""

    @property
    def id(self) -> str:
        """BIDS id."""
        return self.subject.id

    def load(self) -> LoadedSubject:
        """Read scan, label and brain mask.

        Raises:
            DataError: They are not what they were; see `Subject.load`, too.
        """
        loaded = self.subject.load()
        if self.digest and digest_of(loaded) != self.digest:
            raise DataError(
                f"{printable(self.subject.angio_path)}, its label or its brain mask was changed since the run began, "
                "and what is finished was made with the old one: bring it back, or begin anew in another folder"
            )
        return loaded


def note_inputs(run: Run, sites: Sequence[Sequence[Subject]], progress: Progress) -> None:
    """Read everybody who is measured on, and note what their files hold.

    Args:
        run: The run.
        sites: Validation and test subjects of the cohort, then the subjects of each second site.
        progress: Told of each subject.

    Raises:
        DataError: A scan or mask cannot be used: told here, before anything is trained or spent.
    """
    progress.start("read who is measured on", sum(len(site) for site in sites))
    found = []
    for site in sites:
        digests = {}
        for subject in site:
            digests[subject.id] = digest_of(subject.load())
            progress.advance()
        found.append(digests)
    write_json(run.private / INPUTS, {"sites": found}, private=True)
    progress.finish()


def noted(run: Run, site: int, subjects: Sequence[Subject]) -> tuple[Noted, ...]:
    """Those subjects of a site, 0 the cohort itself, with what was noted of them."""
    path = run.private / INPUTS
    try:
        digests = read_json(path)["sites"][site] if path.exists() else {}
        return tuple(Noted(subject, str(digests.get(subject.id, ""))) for subject in subjects)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error!r}); bring it back, or begin anew in another folder") from error


def digest_of(loaded: LoadedSubject) -> str:
    """Digest of what a loaded subject holds: voxels, label, brain and voxel size."""
    state = hashlib.blake2b(f"{loaded.angio.shape} {loaded.spacing_mm}".encode(), digest_size=16)
    for voxels in (loaded.angio, loaded.label, loaded.brain):
        state.update(b"none" if voxels is None else np.ascontiguousarray(voxels).tobytes())
    return state.hexdigest()
