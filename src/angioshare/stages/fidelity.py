"""Part of stage 5: pairs of every source beside real patches, training and test, and beside each other.

Only the image counts for distances and SSIM; of the labels, the share of vessel is told, and what they are worth the
segmenters show. A distance to real patches is unprotected. SSIM and vessel share are calculated from the pairs alone
and reveal no more than these.
"""

import math
import os
from pathlib import Path

import numpy as np

from angioshare.config import SourceSettings
from angioshare.metrics.features import FeatureNetwork, feature_network, features_of
from angioshare.metrics.fidelity import Measure, fidelity, metric_key
from angioshare.metrics.similarity import REACH, pairwise_similarity
from angioshare.patches.extract import PatchSettings, cut_patches
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_store
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.rng import stream
from angioshare.stages.inputs import noted
from angioshare.stages.prepare import split_of
from angioshare.stages.run import Run
from angioshare.stages.sample import REAL_PAIRS, pairs_of
from angioshare.types import FloatArray, IntArray, Provenance


def prepare_references(run: Run, progress: Progress) -> None:
    """Cut test patches and take the features of real patches, once for all sources.

    Raises:
        DataError: A scan or the feature network cannot be used.
        SettingsError: There is no such feature network.
    """
    if not run.config.evaluation.fidelity_patches:
        return
    network = feature_network(run.config.evaluation.features)
    _write_test_patches(run, progress)
    for image in (_training_images(run)[0], _test_images(run)):
        features_of(network, image, cache=_cache(run), progress=progress)


def fidelity_records(run: Run, source: SourceSettings) -> list[Record]:
    """Compare one source with training and test patches.

    The real and the shuffled source hold the training patches themselves: their images are compared with other training
    patches, none of them in both sets, which shows what distance two sets of real patches have.
    """
    pairs = pairs_of(run, source)
    values = _alone(run, source, pairs)
    found = [_record(source, metric, value, pairs.provenance) for metric, value in values.items()]
    if run.config.evaluation.fidelity_patches:
        network = feature_network(run.config.evaluation.features)
        found += [
            _record(source, metric, value, "unprotected")
            for metric, value in _against_real(run, source, pairs, network).items()
        ]
    return found


def _alone(run: Run, source: SourceSettings, pairs: PatchSet) -> dict[str, float | None]:
    """Numbers of the pairs by themselves."""
    rows = _rows(run, source.name, len(pairs), run.config.evaluation.similarity_patches)
    if len(rows) < 2 or min(pairs.image.shape[1:]) <= 2 * REACH:
        return {"vessel_share": _vessel_share(pairs)}
    similar = pairwise_similarity(pairs.image[rows], threads=_threads(run))
    return {"ssim_mean": similar.mean, "ssim_sd": similar.sd, "vessel_share": _vessel_share(pairs)}


def _against_real(
    run: Run, source: SourceSettings, pairs: PatchSet, network: FeatureNetwork
) -> dict[str, float | None]:
    """Distances to both kinds of real patches, and the difference of the Frechet distances."""
    training, others = _training_images(run)
    rows = _rows(run, source.name, len(pairs), run.config.evaluation.fidelity_patches)
    image = others if source.synthesizer in REAL_PAIRS else pairs.image[rows]
    judged = features_of(network, image, cache=_cache(run))
    values: dict[str, float | None] = {"fidelity_patches": float(len(image))}
    distance = {}
    for against, reference in (("train", training), ("test", _test_images(run))):
        found = fidelity(judged, features_of(network, reference, cache=_cache(run)))
        distance[against] = found.frechet
        measures: dict[Measure, float | None] = {
            "frechet": found.frechet, "extrapolated": found.extrapolated, "kernel": found.kernel,
            "density": found.density, "coverage": found.coverage,
        }  # fmt: skip
        values |= {metric_key(measure, network.name, against): value for measure, value in measures.items()}
    values[metric_key("frechet", network.name, "difference")] = distance["test"] - distance["train"]
    return values


def _record(source: SourceSettings, metric: str, value: float | None, provenance: Provenance) -> Record:
    return Record(
        stage="fidelity",
        metric=metric,
        value=value,
        trained_on=source.name,
        synthesizer=source.synthesizer,
        seed=source.seed,
        provenance=provenance,
    )


def _rows(run: Run, name: str, available: int, wanted: int) -> IntArray:
    """Some rows in random order, none twice; the seed is public."""
    return stream(run.config.seed, "fidelity", name).permutation(available)[:wanted]


def _training_images(run: Run) -> tuple[FloatArray, FloatArray]:
    """Two sets of training patches of one size and without a common patch: the reference, and others."""
    store, count = open_store(run.private / "patches"), _size(run)
    rows = _rows(run, "training patches", len(store), 2 * count)
    return store.image[rows[:count]], store.image[rows[count:]]


def _test_images(run: Run) -> FloatArray:
    """As many test patches, in random order."""
    store = open_store(run.private / "test-patches")
    return store.image[_rows(run, "test patches", len(store), _size(run))]


def _size(run: Run) -> int:
    """Patches of each reference: as many as are asked for and there are of both.

    A distance is the larger, the fewer patches it is to; that to fewer test patches, minus that to more training
    patches, would look like memorising where there is none.
    """
    training, test = (len(open_store(run.private / name)) for name in ("patches", "test-patches"))
    return min(run.config.evaluation.fidelity_patches, training // 2, test)


def _write_test_patches(run: Run, progress: Progress) -> None:
    """Cut patches of the test subjects, in the proportions of the training patches."""
    if (run.private / "test-patches").exists():
        return
    cohort, split = split_of(run)
    settings = _fewer(run.config.patches, math.ceil(run.config.evaluation.fidelity_patches / len(split.test)))
    progress.start("cut test patches", len(split.test))
    loaded = ((one.id, one.load()) for one in noted(run, 0, [cohort.subject(name) for name in split.test]))
    cut = (
        cut_patches(one.angio, one.label, one.brain, settings, subject=name, seed=run.config.seed)
        for name, one in loaded
    )
    write_store(run.private / "test-patches", cut, settings, seed=run.config.seed)
    progress.advance(steps=len(split.test))
    progress.finish()


def _fewer(settings: PatchSettings, per_subject: int) -> PatchSettings:
    """The same kinds of patches, in the same proportion, but no more than about `per_subject`."""
    share = min(1.0, per_subject / settings.per_subject)
    return settings.model_copy(
        update={
            "vessel": math.ceil(settings.vessel * share),
            "random": math.ceil(settings.random * share),
            "allow_fewer": True,
        }
    )


def _vessel_share(pairs: PatchSet) -> float:
    """Share of labelled pixels."""
    return float(np.mean([np.count_nonzero(label) / label.size for label in pairs.label]))


def _threads(run: Run) -> int:
    """One where sources are worked on side by side; else as the settings say."""
    return 1 if run.config.workers > 1 else run.config.threads or len(os.sched_getaffinity(0))


def _cache(run: Run) -> Path:
    return run.private / "features"
