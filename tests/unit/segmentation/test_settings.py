import pytest
from pydantic import ValidationError

from angioshare.segmentation.settings import SegmentationSettings, UnetSettings


def test_the_published_grid_has_eight_u_nets():
    grid = SegmentationSettings().grid()
    assert {(u.learning_rate, u.dropout, u.augmentation) for u in grid} == {
        (rate, dropout, augmentation)
        for rate in (1e-4, 8e-5)
        for dropout in (0.0, 0.1)
        for augmentation in (False, True)
    }
    assert {(u.channels, u.batch, u.epochs) for u in grid} == {((32, 64, 128, 256, 512), 64, 15)}


def test_the_grid_hands_down_what_all_u_nets_share():
    shared = {"channels": (4, 8), "batch": 5, "steps": 9, "ema": 0.5, "precision": "bfloat16"}
    settings = SegmentationSettings(**shared, learning_rates=(1e-3,), dropouts=(0.0,))
    assert [u.model_dump(include=shared.keys()) for u in settings.grid()] == [shared, shared]


def test_augmentation_doubles_the_samples_of_an_epoch():
    assert UnetSettings(epochs=15).total_steps(41_000) == 9610
    assert UnetSettings(epochs=15, augmentation=True).total_steps(41_000) == 19219


def test_steps_stand_in_place_of_epochs():
    assert UnetSettings(steps=7, augmentation=True).total_steps(41_000) == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rates": ()},
        {"channels": (8,)},
        {"batch": 0},
        {"inference": "magic"},
        {"precision": "half"},
        {"smooth": 1},
    ],
)
def test_absurd_and_unknown_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        SegmentationSettings(**wrong)
