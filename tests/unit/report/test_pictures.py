import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from angioshare.report import pictures
from angioshare.report.figures import error_counts, error_map_figure, score_figure
from angioshare.report.pictures import CLASS_COLOURS, FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE
from angioshare.report.scoreplot import score_plots


def decoded(picture):
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")).astype(int)


def near(colours, colour, tolerance):
    return (np.abs(colours - colour).max(-1) <= tolerance).sum()


@given(st.integers(0, 2**31))
def test_every_voxel_has_the_class_that_label_and_prediction_give(seed):
    label, found = np.random.default_rng(seed).integers(0, 2, (2, 3, 4, 5))
    names = {(0, 0): 0, (1, 1): TRUE_POSITIVE, (0, 1): FALSE_POSITIVE, (1, 0): FALSE_NEGATIVE}
    slow = [names[int(a), int(b)] for a, b in zip(label.ravel(), found.ravel(), strict=True)]
    assert pictures.error_classes(label, found).ravel().tolist() == slow


@given(st.integers(0, 2**31), st.integers(0, 2))
def test_projection_is_the_commonest_class_of_each_ray(seed, axis):
    classes = np.random.default_rng(seed).integers(0, 4, (4, 5, 6)).astype(np.uint8)
    projected = pictures.class_projection(classes, axis)
    rays = np.moveaxis(classes, axis, -1)
    for shown, ray in zip(projected.ravel(), rays.reshape(-1, rays.shape[-1]), strict=True):
        counts = np.bincount(ray, minlength=4)[1:]
        assert (shown == 0 and counts.max() == 0) or counts[shown - 1] == counts.max()


def test_right_is_shown_on_the_left_and_anterior_on_top():
    plane = np.zeros((5, 7), np.uint8)
    plane[4, 6] = 1  # RAS+: last along i is right, last along j is anterior
    assert pictures.hung(plane)[0, 0] == 1
    assert pictures.hung(plane).shape == (7, 5)


def test_outline_lies_outside_the_label_and_touches_it():
    label = np.zeros((9, 9), bool)
    label[3:6, 4] = True
    ring = pictures.outline(label)
    assert not (ring & label).any()
    assert ring.sum() == 8


def test_sample_sheet_shows_image_outline_and_label_under_each_other(content):
    colours = decoded(pictures.sample_sheet(content.samples[2], columns=2))
    top, middle, bottom = np.array_split(colours, 3)
    assert near(middle, pictures.CONTOUR, 70) > 100 > near(top, pictures.CONTOUR, 70)
    assert near(bottom, [235, 235, 235], 20) > 100


def test_error_map_shows_all_three_classes_in_their_colours(content):
    colours = decoded(error_map_figure(content.error_maps[0]))
    for value in (TRUE_POSITIVE, FALSE_POSITIVE):
        assert near(colours, CLASS_COLOURS[value], 12) > 200
    assert near(colours, CLASS_COLOURS[FALSE_NEGATIVE], 12) == 0  # the prediction misses nothing


def test_class_colours_differ_in_brightness_as_well():
    brightness = CLASS_COLOURS[1:] @ [0.299, 0.587, 0.114]
    assert np.diff(sorted(brightness)).min() > 40


def test_error_counts_add_up_to_label_and_prediction(content):
    shown, counts = content.error_maps[0], error_counts(content.error_maps[0])
    assert counts["true positive"] + counts["false negative"] == (shown.label > 0).sum()
    assert counts["true positive"] + counts["false positive"] == (shown.prediction > 0).sum()


def test_an_error_map_of_nothing_at_all_can_be_drawn(content):
    nothing = np.zeros((4, 4, 4))
    empty = type(content.error_maps[0])(
        **{**vars(content.error_maps[0]), "image": nothing, "label": nothing, "prediction": nothing}
    )
    assert error_map_figure(empty).data.startswith(b"\x89PNG")


def test_a_slice_keeps_its_proportions_in_mm(content):
    figure = decoded(error_map_figure(content.error_maps[0], width_inches=6.0))
    i_mm, j_mm, k_mm = 20, 24, 20
    width = 3 * 1.03 * i_mm + j_mm
    height = max(j_mm, 2 * k_mm + 2) + 2
    assert abs(figure.shape[0] / figure.shape[1] - height / width) < 0.02


def test_score_figures_are_the_same_bytes_every_time(content):
    plot = score_plots(content)[0]
    assert score_figure(plot).data == score_figure(plot).data
