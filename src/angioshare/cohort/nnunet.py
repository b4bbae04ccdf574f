"""nnU-Net's training folders: `imagesTr/<case>_0000.nii.gz` and `labelsTr/<case>.nii.gz`.

There is no place for a brain mask or a site. Letters and digits of a case's name make the subject's id.
"""

import re
from pathlib import Path

from angioshare.cohort.names import inside, listed, printable, refuse_duplicates, subject_id
from angioshare.cohort.subject import Subject
from angioshare.errors import DataError

_ENDINGS = (".nii.gz", ".nii")


def nnunet_subjects(root: Path) -> list[Subject]:
    """Find the training cases of an nnU-Net data set.

    Args:
        root: The folder that holds `imagesTr` and `labelsTr`.

    Returns:
        Subjects in order of ids; case `mra_007` becomes `sub-mra007`.

    Raises:
        DataError: A case lacks its image or label, has several channels or files, or two cases make one id.
    """
    images, labels = _cases(root / "imagesTr"), _cases(root / "labelsTr")
    channels = [name for name in images if not name.endswith("_0000")]
    if channels:
        raise DataError(
            f"{printable(root / 'imagesTr')} holds {listed(channels)}, not channel _0000 alone; keep the angiogram"
        )
    named = {name.removesuffix("_0000"): path for name, path in images.items()}
    for extra, what in ((named.keys() - labels.keys(), "labelsTr"), (labels.keys() - named.keys(), "imagesTr")):
        if extra:
            raise DataError(f"{printable(root / what)} lacks {listed(sorted(extra))}; add the files or drop the cases")
    ids = {case: subject_id(re.sub("[_.-]", "", case), root) for case in named}
    refuse_duplicates(ids.values(), root)
    subjects = [
        Subject(id=ids[case], site="", angio_path=inside(root, path), label_path=inside(root, labels[case]))
        for case, path in named.items()
    ]
    return sorted(subjects, key=lambda subject: subject.id)


def _cases(folder: Path) -> dict[str, Path]:
    """Map the names of a folder's NIfTI files, without their endings, to the files."""
    if not folder.is_dir():
        raise DataError(f"{printable(folder)} is missing; an nnU-Net data set has imagesTr and labelsTr")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((ending for ending in _ENDINGS if path.name.endswith(ending)), None)
        if ending is None or path.name.startswith("."):
            continue
        case = path.name.removesuffix(ending)
        if case in found:
            raise DataError(f"{printable(path)} stands beside {printable(found[case].name)}; keep one of them")
        found[case] = path
    return found
