import numpy as np
import pytest
import torch

from angioshare.segmentation.turns import TURNS, Averaged, turned, turned_back

MAP = torch.arange(6.0).reshape(1, 2, 3)


class Shown:
    """Answers with what it is shown, times the column; keeps it."""

    def __init__(self):
        self.images = []

    def probability(self, image):
        assert image.flags.c_contiguous
        assert image.dtype == np.float32
        self.images.append(image.copy())
        return image * np.arange(image.shape[2], dtype=np.float32)


def test_the_eight_turns_differ_and_can_be_undone():
    square = torch.arange(9.0).reshape(3, 3)
    assert len({tuple(turned(square, turn).flatten().tolist()) for turn in range(TURNS)}) == 8
    for turn in range(TURNS):
        assert torch.equal(turned_back(turned(MAP, turn), turn), MAP)
    assert torch.equal(turned(MAP, 0), MAP)
    assert turned(MAP, 1).tolist() == [[[3, 4, 5], [0, 1, 2]]]
    assert turned(MAP, 2).tolist() == [[[2, 1, 0], [5, 4, 3]]]
    assert turned(MAP, 6).tolist() == [[[3, 0], [4, 1], [5, 2]]]


@pytest.mark.parametrize("turns", [1, 2, 4, 8])
def test_the_average_is_that_of_answers_turned_back(turns):
    inner, image = Shown(), np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    found = Averaged(inner, turns).probability(image)
    assert len(inner.images) == turns
    assert np.array_equal(inner.images[0], image)
    wanted = np.zeros_like(image)
    for turn in range(turns):
        rows, columns = np.meshgrid(np.arange(2), np.arange(3), indexing="ij")
        along = rows if turn & 4 else columns  # the column that the pixel was shown in
        length = 2 if turn & 4 else 3
        wanted += image * (length - 1 - along if turn & 2 else along)
    assert np.allclose(found, wanted / turns)
    assert found.dtype == np.float32


def test_a_stack_without_slices_stays_empty():
    assert Averaged(Shown(), 8).probability(np.zeros((0, 4, 4), np.float32)).shape == (0, 4, 4)
