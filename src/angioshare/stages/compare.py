"""Two mask files side by side, as `angioshare compare` shows them."""

from pathlib import Path

from angioshare.cohort.nifti import read_volume
from angioshare.cohort.volume import inside, refuse_other_grid
from angioshare.metrics.compare import compare
from angioshare.types import Json


def compare_files(reference: Path, prediction: Path) -> Json:
    """Read two NIfTI masks on one grid and compare them; both may be empty.

    Raises:
        DataError: A file cannot be used, is no mask (see `volume.inside`), or the grids differ.
    """
    truth, judged = read_volume(reference), read_volume(prediction)
    refuse_other_grid(judged, truth, prediction, reference)
    return dict(compare(inside(truth, reference), inside(judged, prediction), truth.spacing_mm))
