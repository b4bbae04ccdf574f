"""Two mask files side by side, as `angioshare compare` shows them."""

from pathlib import Path

import numpy as np

from angioshare.cohort.nifti import read_volume
from angioshare.errors import DataError
from angioshare.metrics.compare import compare
from angioshare.types import Json


def compare_files(reference: Path, prediction: Path) -> Json:
    """Read two NIfTI masks on one grid and compare them; any value above 0 is vessel.

    Raises:
        DataError: A file cannot be used, or the grids differ.
    """
    truth, judged = read_volume(reference), read_volume(prediction)
    if truth.voxels.shape != judged.voxels.shape or not np.allclose(truth.affine, judged.affine, atol=1e-3):
        raise DataError(
            f"{prediction} has shape {judged.voxels.shape} and another grid than {reference} {truth.voxels.shape}; "
            "resample it first"
        )
    return dict(compare(np.greater(truth.voxels, 0), np.greater(judged.voxels, 0), truth.spacing_mm))
