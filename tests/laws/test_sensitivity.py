"""The law that everything rests on: one unit more or less moves the clipped sum by at most C, whatever it holds."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from angioshare.privacy.clipping import ClippedGradients

NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 1e-40, 1e20, 1e38, -1e38, float("nan"), float("inf")]),
    st.floats(-3, 3),
)
UNIT = st.lists(NUMBERS, min_size=8, max_size=8)
CLIP = st.sampled_from([1e-3, 0.5, 1.0, 40.0])
SEED = st.integers(0, 50)


def critic_of(seed: int, dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(seed)
    made = nn.Sequential(
        nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 3, 2, 1, 1), nn.GroupNorm(1, 3), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(27, 2, bias=False), nn.Tanh(), nn.Linear(2, 1),
    )  # fmt: skip
    for parameter in made.parameters():
        parameter.data *= 10 ** (seed % 3)
    return made.to(dtype)


def as_rows(units: list[list[float]], dtype: torch.dtype) -> Tensor:
    return torch.tensor(units, dtype=torch.float64).reshape(len(units), 8).to(dtype)


def loss(scores: Tensor) -> Tensor:
    return scores**3 + 100 * scores


def norm(gradients: list[Tensor]) -> float:
    return float(torch.sqrt(torch.stack([g.double().square().sum() for g in gradients]).sum()))


def difference(first: list[Tensor], second: list[Tensor]) -> float:
    return norm([a.double() - b.double() for a, b in zip(first, second, strict=True)])


@settings(deadline=None, max_examples=150)
@given(others=st.lists(UNIT, max_size=4), unit=UNIT, place=st.integers(0, 4), clip=CLIP, seed=SEED, wide=st.booleans())
def test_adding_a_patch_moves_the_sum_by_at_most_the_clip_norm(
    others: list[list[float]], unit: list[float], place: int, clip: float, seed: int, wide: bool
) -> None:
    dtype = torch.float64 if wide else torch.float32
    clipped = ClippedGradients(critic_of(seed, dtype), clip)
    with_it = [*others[:place], unit, *others[place:]]
    sums = [clipped.clipped_sum(as_rows(d, dtype), [(len(d), loss, 1.0)]) for d in (others, with_it)]
    assert all(torch.isfinite(g).all() for g in sums[1])
    assert difference(*sums) <= clip


@settings(deadline=None, max_examples=100)
@given(others=st.lists(UNIT, max_size=3), first=UNIT, second=UNIT, clip=CLIP, seed=SEED)
def test_replacing_a_patch_moves_the_sum_by_at_most_twice_the_clip_norm(
    others: list[list[float]], first: list[float], second: list[float], clip: float, seed: int
) -> None:
    clipped = ClippedGradients(critic_of(seed, torch.float32), clip)
    sums = [
        clipped.clipped_sum(as_rows([unit, *others], torch.float32), [(1 + len(others), loss, 1.0)])
        for unit in (first, second)
    ]
    assert difference(*sums) <= 2 * clip


@settings(deadline=None, max_examples=75)
@given(
    subjects=st.lists(st.lists(UNIT, min_size=1, max_size=3), min_size=1, max_size=3),
    clip=CLIP,
    seed=SEED,
    gone=st.integers(0, 2),
)
def test_removing_a_subject_with_all_its_patches_moves_the_sum_by_at_most_the_clip_norm(
    subjects: list[list[list[float]]], clip: float, seed: int, gone: int
) -> None:
    gone %= len(subjects)
    clipped = ClippedGradients(critic_of(seed, torch.float32), clip, most_rows=2)
    rows = as_rows([patch for subject in subjects for patch in subject], torch.float32)
    groups = torch.tensor([index for index, subject in enumerate(subjects) for _ in subject])
    whole = clipped.clipped_sum_of_units(rows, groups, loss)
    without = clipped.clipped_sum_of_units(rows[groups != gone], groups[groups != gone], loss)
    assert difference(whole, without) <= clip


@settings(deadline=None, max_examples=75)
@given(
    patches=st.lists(UNIT, min_size=2, max_size=4), other=st.lists(UNIT, min_size=1, max_size=2), clip=CLIP, seed=SEED
)
def test_removing_one_patch_of_a_subject_is_at_most_a_replacement_of_the_subject(
    patches: list[list[float]], other: list[list[float]], clip: float, seed: int
) -> None:
    """Why a patch under unit subject has the subject's replace-one guarantee."""
    clipped = ClippedGradients(critic_of(seed, torch.float32), clip)
    rows = as_rows([*patches, *other], torch.float32)
    groups = torch.tensor([0] * len(patches) + [1] * len(other))
    whole = clipped.clipped_sum_of_units(rows, groups, loss)
    assert difference(whole, clipped.clipped_sum_of_units(rows[1:], groups[1:], loss)) <= 2 * clip


@settings(deadline=None, max_examples=75)
@given(units=st.lists(UNIT, min_size=2, max_size=5), seed=SEED)
def test_removing_a_record_changes_no_other_records_gradient(units: list[list[float]], seed: int) -> None:
    clipped = ClippedGradients(critic_of(seed, torch.float64), 1.0)
    rows = as_rows(units, torch.float64)
    alone = clipped.clipped_sum(rows[:1], [(1, loss, 1.0)])
    beside = clipped.clipped_sum(rows, [(1, loss, 1.0), (len(units) - 1, loss, 0.0)])
    assert difference(alone, beside) <= 1e-9
