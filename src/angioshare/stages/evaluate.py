"""Stage 5: pairs and chosen U-Nets + held-out subjects and second sites -> fidelity, and scores per subject in 3-D."""

from angioshare.config import SourceSettings
from angioshare.metrics.compare import compare
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.segmentation.infer import segment_volume
from angioshare.segmentation.trained import TrainedUnet
from angioshare.stages.fidelity import fidelity_records, prepare_references
from angioshare.stages.inputs import Noted
from angioshare.stages.lanes import side_by_side
from angioshare.stages.maps import test_sites, write_map
from angioshare.stages.run import Run
from angioshare.stages.segment import chosen_unet

UNITS = {"bahd_voxel": "voxel", "ahd_voxel": "voxel", "bahd_mm": "mm", "hd95_mm": "mm", "assd_mm": "mm"}
"""Units of metrics that have one."""

SCORES = ("dice", "cldice", "bahd_voxel", "bahd_mm", "ahd_voxel", "hd95_mm", "assd_mm")
"""Metrics that become records."""


def evaluate(run: Run, progress: Progress) -> None:
    """Score every source that is not scored yet."""
    run.require("segment")
    if run.missing("evaluate"):
        prepare_references(run, progress)
    side_by_side(run, "evaluate", [[source] for source in run.config.sources], _evaluate, _steps, progress)


def _steps(run: Run, source: SourceSettings) -> int:
    del source
    return 1 + sum(len(site.subjects) for site in test_sites(run))


def _evaluate(run: Run, source: SourceSettings, progress: Progress) -> list[Record]:
    unet = chosen_unet(run, source)
    records = fidelity_records(run, source)
    progress.advance("compared with real patches")
    for site in test_sites(run):
        for position, subject in enumerate(site.subjects):
            mapped = position < run.config.evaluation.mapped_subjects
            records += _score(run, source, site.name, subject, unet, keep_map=mapped)
            progress.advance()
    return records


def _score(
    run: Run, source: SourceSettings, site: str, subject: Noted, unet: TrainedUnet, *, keep_map: bool
) -> list[Record]:
    """Segment one subject and compare with its label."""
    volume = subject.load()
    settings = run.config
    prediction = segment_volume(
        unet,
        volume.angio,
        volume.brain,
        size=settings.patches.size,
        mode=settings.segmentation.inference,
        turns=settings.segmentation.turns,
    )
    scores = compare(volume.label > 0, prediction > 0, volume.spacing_mm)
    if keep_map:
        write_map(run, source.name, site, subject.id, volume, prediction)
    return [
        Record(
            stage="evaluate",
            metric=metric,
            value=scores[metric],
            unit=UNITS.get(metric, ""),
            subject=subject.id,
            site=site,
            trained_on=source.name,
            synthesizer=source.synthesizer,
            seed=source.seed,
        )
        for metric in SCORES
    ]
