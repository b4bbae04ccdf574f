from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from angioshare.errors import DataError, PrivacyError
from angioshare.metrics.transport import METRICS
from angioshare.report.content import Embedding, SourceInfo
from angioshare.report.embedding import (
    apart,
    embedding_caption,
    embedding_figure,
    embedding_picture,
    metric_words,
    thumbnail_figure,
    thumbnail_picture,
)
from angioshare.report.page import internal_page, shareable_page
from angioshare.report.sharing import shareable, unprotected_items

GROUPS = (
    SourceInfo(name="training patches", title="Real ones", kind="real"),
    SourceInfo(name="quiet", title="Quiet $ one", kind="synthesizer", trained_on="real patches, with privacy"),
)


def an_embedding(metric="euclidean", count=12, seed=0, **changes):
    rng = np.random.default_rng(seed)
    made = Embedding(
        metric=metric,
        perplexity=30.0,
        points=rng.normal(size=(2 * count, 2)).astype(np.float32) * [9, 4],
        thumbnails=rng.integers(0, 256, (2 * count, 8, 8)).astype(np.uint8),
        group=np.repeat([0, 1], count),
        groups=GROUPS,
    )
    return replace(made, **changes)


@pytest.fixture(scope="module")
def embeddings():
    return [an_embedding(metric) for metric in METRICS]


@pytest.fixture(scope="module")
def with_map(content, embeddings):
    return replace(content, embeddings=embeddings)


def test_every_patch_is_a_point_of_its_groups_colour_in_every_panel(embeddings):
    figure = embedding_figure(embeddings, colours={"quiet": "#123456"})
    assert [axes.get_title(loc="left") for axes in figure.axes] == [METRICS[one.metric].title for one in embeddings]
    for axes in figure.axes:
        assert [len(found.get_offsets()) for found in axes.collections] == [12, 12]
        assert [to_hex(found.get_facecolor()[0]) for found in axes.collections] == ["#222222", "#123456"]


def test_points_keep_their_order_along_both_axes_and_lie_in_the_frame():
    one = an_embedding()
    axes = embedding_figure([one]).axes[0]
    shown = np.concatenate([found.get_offsets() for found in axes.collections])
    for axis, limits in enumerate((axes.get_xlim(), axes.get_ylim())):
        assert (shown[:, axis].argsort() == one.points[:, axis].argsort()).all()
        assert limits[0] < shown[:, axis].min() < shown[:, axis].max() < limits[1]


def test_both_axes_have_one_scale():
    one = an_embedding()
    shown = np.concatenate([found.get_offsets() for found in embedding_figure([one]).axes[0].collections])
    assert np.ptp(shown[:, 0]) / np.ptp(shown[:, 1]) == pytest.approx(
        np.ptp(one.points[:, 0]) / np.ptp(one.points[:, 1])
    )
    assert embedding_figure([one]).axes[0].get_aspect() == 1


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.floats(0.02, 0.6))
def test_no_two_patches_cover_each_other_and_none_that_fits_is_missing(seed, size):
    rng = np.random.default_rng(seed)
    places, group = rng.uniform(size=(40, 2)), rng.integers(0, 3, 40)
    kept = apart(places, group, size)
    away = np.abs(places[:, None] - places[None, kept]).max(axis=2)
    assert (away[kept] >= size).sum() == len(kept) * (len(kept) - 1)
    left_out = np.setdiff1d(np.arange(40), kept)
    assert (away[left_out].min(axis=1) < size).all()


def test_groups_take_turns():
    kept = apart(np.arange(8.0)[:, None] * [1, 1], np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.5)
    assert kept == [0, 4, 1, 5, 2, 6, 3, 7]


def test_each_shown_patch_is_the_one_of_its_place():
    one = an_embedding(count=3)
    axes = thumbnail_figure(one).axes[0]
    assert len(axes.images) == len(axes.patches) == 6
    order = np.argsort([np.mean(image.get_extent()[:2]) for image in axes.images])
    for image, row in zip(np.array(axes.images)[order], one.points[:, 0].argsort(), strict=True):
        np.testing.assert_array_equal(image.get_array(), one.thumbnails[row].T[::-1, ::-1])


def test_frames_have_the_colours_of_their_groups():
    frames = thumbnail_figure(an_embedding(count=3), colours={"quiet": "#123456"}).axes[0].patches
    assert sorted(to_hex(frame.get_edgecolor()) for frame in frames) == ["#123456"] * 3 + ["#222222"] * 3


def test_legend_names_groups_and_their_counts(embeddings):
    for figure in (embedding_figure(embeddings), thumbnail_figure(embeddings[0])):
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Real ones (12)", "Quiet $ one (12)"]


def test_caption_says_what_was_made_from_what_and_which_distance(embeddings):
    caption = embedding_caption(embeddings[0])
    assert "12 of “Real ones”; 12 of “Quiet $ one” (made from real patches, with privacy)" in caption
    assert "perplexity 30)" in caption
    assert "published" in metric_words(embeddings[1])
    assert all(METRICS[one.metric].title in embedding_picture(embeddings).alt for one in embeddings)


def test_pictures_are_the_same_bytes_every_time(embeddings):
    assert embedding_picture(embeddings).data == embedding_picture(embeddings).data
    assert thumbnail_picture(embeddings[0]).data == thumbnail_picture(embeddings[0]).data


@pytest.mark.parametrize("count", [1, 4])
def test_patches_all_at_one_place_can_be_drawn(count):
    one = an_embedding(count=count, points=np.zeros((2 * count, 2)))
    assert len(thumbnail_figure(one).axes[0].images) == 1
    assert thumbnail_picture(one).data.startswith(b"\x89PNG")


def test_points_without_patches_are_refused():
    with pytest.raises(DataError, match="one set"):
        an_embedding(points=np.zeros((3, 2)))


def test_the_internal_page_shows_the_map_with_every_distance(with_map):
    page = internal_page(with_map)
    assert 'id="embedding"' in page
    assert 'href="#embedding"' in page
    assert all(metric.explanation.split(":")[0] in page for metric in METRICS.values())


def test_the_map_never_stands_on_a_page_to_share(with_map, content):
    assert "t-SNE of real patches (3)" in unprotected_items(with_map)
    page = shareable_page(shareable(with_map))
    assert 'id="embedding"' not in page
    assert "t-SNE of real patches" in page  # it says what was left out
    with pytest.raises(PrivacyError, match="unprotected"):
        shareable_page(replace(shareable(content), embeddings=with_map.embeddings))
