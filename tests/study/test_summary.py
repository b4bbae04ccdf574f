"""The table that a study ends with: made-up records of its points, finished or not."""

from types import SimpleNamespace

import pytest

from angioshare.records import Record
from angioshare.study.gather import PointResult, StudyResults, summary


def a_point(name, seed, scores):
    """A point with Dice and bAHD of its subjects at one site, or with a trained source and no score."""
    source = SimpleNamespace(shown=f"Title of {name}")
    records = [Record(stage="train", metric="wall_time", value=1.0)]
    records += [
        Record(stage="evaluate", metric=metric, value=value, subject=f"sub-{n}", site="home")
        for n, pair in enumerate(scores)
        for metric, value in zip(("dice", "bahd_voxel"), pair, strict=True)
    ]
    return PointResult(
        name=f"{name}-seed{seed}",
        run=SimpleNamespace(config=SimpleNamespace(sources=[source])),
        statement=None,
        noise_multiplier=None,
        steps_charged=0,
        records=tuple(records),
    )


def rows_of(points):
    header, rows = summary(StudyResults(points=tuple(points), statement=None))
    return {row[0].removeprefix("Title of "): dict(zip(header, row, strict=True)) for row in rows}


WHOLE = [(0.5, 2.0), (0.7, 4.0)]


@pytest.mark.parametrize(("scored", "said"), [(0, "0 of 3"), (1, "1 of 3"), (3, "3")])
def test_seeds_are_those_with_scores_of_those_planned(scored, said):
    points = [a_point("part", seed, WHOLE if seed < scored else []) for seed in range(3)]
    rows = rows_of([*points, *(a_point("whole", seed, WHOLE) for seed in range(2))])
    assert (rows["part"]["seeds"], rows["whole"]["seeds"]) == (said, "2")
    assert rows["part"]["Dice, home"].startswith("0.600" if scored else "-")


def test_undefined_scores_of_all_seeds_are_counted_beside_the_mean():
    points = [
        *(a_point("some", seed, [(0.0, None), (0.7, 4.0 + 2 * seed)]) for seed in range(2)),
        a_point("all", 0, [(0.0, None), (0.0, None)]),
        a_point("none", 0, WHOLE),
    ]
    found = {name: row["bAHD (voxels), home"] for name, row in rows_of(points).items()}
    assert found == {"some": "5.000 ± 1.414 (2 undefined)", "all": "- (2 undefined)", "none": "3.000"}
    assert not any("undefined" in row["Dice, home"] for row in rows_of(points).values())
