"""The main job on a simulated cohort and a second site, from nothing."""

from pathlib import Path

from angioshare.cohort.writer import UNFINISHED
from angioshare.config import load_config
from angioshare.progress import Progress
from angioshare.stages.folder import make_folder, planned_run
from angioshare.stages.pipeline import pipeline
from angioshare.stages.run import Run
from angioshare.stages.simulate import simulate

SUBJECTS = 20
"""Simulated subjects of the demo's private cohort."""

SECOND_SITE_SUBJECTS = 3


def demo(out: Path, *, seed: int, state: Path, progress: Progress) -> Run:
    """Simulate two sites, run everything on them; finished work is kept.

    Args:
        out: Folder of the demo.
        seed: Seed of the cohorts.
        state: The user's state folder.
        progress: Told where it stands.

    Returns:
        The finished run.
    """
    cohort, second = out / "cohort", out / "second-site"
    for path, site, subjects in ((cohort, "demo-1", SUBJECTS), (second, "demo-2", SECOND_SITE_SUBJECTS)):
        if not path.exists() or (path / UNFINISHED).exists():
            simulate(path, subjects=subjects, seed=seed, site=site, workers=0, progress=progress)
    run = make_folder(planned_run(out / "run", load_config(preset="demo"), cohort, [second], state=state))
    pipeline(run, progress)
    return run
