"""The words of a report: one line for each metric and for each term of the guarantee."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is named, read and explained in one line."""

    key: str
    title: str
    unit: str
    explanation: str


METRICS = (
    Metric(
        key="dice",
        title="Dice",
        unit="",
        explanation="Overlap of predicted and annotated vessels, from 0 (none) to 1 (the same voxels); higher is "
        "better. Also called DSC. Always defined: an empty prediction scores 0.",
    ),
    Metric(
        key="bahd_voxel",
        title="bAHD (voxels)",
        unit="voxels",
        explanation="Balanced average Hausdorff distance: from every annotated voxel to the nearest predicted one "
        "and back, both divided by the number of annotated voxels, then averaged; lower is better. In voxels, as "
        "published. Undefined where the prediction is empty.",
    ),
    Metric(
        key="bahd_mm",
        title="bAHD (mm)",
        unit="mm",
        explanation="The same distance in millimetres, which may be compared between sites of different voxel size; "
        "lower is better. Undefined where the prediction is empty.",
    ),
)

TERMS = {
    "Epsilon": "Bound on how much one unit can change what is released: whether it took part or not, no outcome "
    "becomes more than e to the power of epsilon times as likely. 0 reveals nothing; below 1 is strong; above 10 says "
    "little.",
    "Delta": "Probability that this bound fails; it must lie well below one over the number of units.",
    "Unit": "What is protected: one patch, or one subject with all patches. Only the second speaks of a person.",
    "Validation and test subjects": "Real subjects who trained no source. The first choose the segmenter; the second "
    "give the scores.",
}
"""What a reader must know to read a statement."""
