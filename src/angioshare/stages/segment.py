"""Stage 4: pairs of every source -> a grid of U-Nets each, of which validation subjects choose one."""

from angioshare.config import SourceSettings
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.rundir import read_json, write_json
from angioshare.segmentation.select import GridScore, select_unet
from angioshare.segmentation.trained import TrainedUnet
from angioshare.stages.inputs import noted
from angioshare.stages.lanes import side_by_side
from angioshare.stages.prepare import split_of
from angioshare.stages.run import Run
from angioshare.stages.sample import pairs_of


def segment(run: Run, progress: Progress) -> None:
    """Train the U-Nets of every source that has none yet: the same call for real and synthetic pairs."""
    run.require("sample")
    side_by_side(run, "segment", [[source] for source in run.config.sources], _segment, _steps, progress)


def _steps(run: Run, source: SourceSettings) -> int:
    pairs = len(pairs_of(run, source))
    grid = run.config.segmentation.grid()
    return sum(point.total_steps(pairs) + run.config.split.validation for point in grid)


def chosen_unet(run: Run, source: SourceSettings) -> TrainedUnet:
    """The U-Net that the validation subjects chose."""
    folder = run.private / "unets" / source.name
    return TrainedUnet.load(folder / read_json(folder / "chosen.json")["weights"], run.config.device)


def _segment(run: Run, source: SourceSettings, progress: Progress) -> list[Record]:
    cohort, split = split_of(run)
    folder = run.private / "unets" / source.name
    found = select_unet(
        pairs_of(run, source),
        noted(run, 0, [cohort.subject(name) for name in split.validation]),
        run.config.segmentation,
        folder=folder,
        seed=run.config.seed,
        device=run.config.device,
        progress=progress,
    )
    write_json(folder / "chosen.json", {"weights": found.best.weights.name}, private=True)
    return [_record(run, source, score) for score in found.scores]


def _record(run: Run, source: SourceSettings, score: GridScore) -> Record:
    return Record(
        stage="segment",
        metric="validation_dice",
        value=score.mean_dice,
        trained_on=source.name,
        synthesizer=source.synthesizer,
        seed=run.config.seed,
    )
