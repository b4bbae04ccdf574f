import stat

import numpy as np
import pytest

from angioshare.errors import DataError
from angioshare.metrics.transport import METRICS
from angioshare.patches.patchset import PatchSet
from angioshare.report.content import SourceInfo
from angioshare.stages import embed as stage
from angioshare.stages.embed import PatchGroup, embed, read_embeddings, write_embeddings


def a_group(name, count, *, size=12, seed=0, level=0.0):
    rng = np.random.default_rng([seed, len(name)])
    image = np.clip(rng.normal(level, 0.3, (count, size, size)), -1, 1).astype(np.float16)
    patches = PatchSet(
        image=image,
        label=np.zeros(image.shape, np.uint8),
        subject=np.zeros(count, np.int64),
        subjects=("sub-secret",),
    )
    return PatchGroup(info=SourceInfo(name=name, title=f"Title of {name}", kind="synthesizer"), patches=patches)


@pytest.fixture
def groups():
    return [a_group("bright", 20, level=0.6), a_group("dim", 9, level=-0.6)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "private" / "embedding.npz"


def test_each_distance_places_the_same_patches(groups, file):
    found = embed(groups, file, count=12)
    assert [one.metric for one in found] == list(METRICS)
    for one in found:
        assert np.bincount(one.group).tolist() == [12, 9]
        assert one.groups == tuple(group.info for group in groups)
        assert one.points.shape == (21, 2)
        assert one.perplexity == pytest.approx(20 / 3)
        assert one.thumbnails.shape == (21, 12, 12)
        np.testing.assert_array_equal(one.thumbnails, found[0].thumbnails)


def test_bright_and_dim_patches_lie_apart(groups, file):
    for one in embed(groups, file):
        if one.metric != "sliced":  # which sees where brightness is, not how much
            bright, dim = one.points[one.group == 0], one.points[one.group == 1]
            own = np.linalg.norm(bright - bright.mean(axis=0), axis=1).max()
            assert np.linalg.norm(dim - bright.mean(axis=0), axis=1).min() > own


def test_thumbnails_are_the_patches_drawn_in_random_order_and_none_twice(groups, file):
    one = embed(groups, file)[0]
    grey = np.round((groups[0].patches.image.astype(np.float32) + 1) * 127.5).astype(np.uint8)
    drawn = [patch.tobytes() for patch in one.thumbnails[one.group == 0]]
    known = [patch.tobytes() for patch in grey]
    assert sorted(drawn) == sorted(known)
    assert drawn != known


def test_large_patches_are_made_small(file):
    one = embed([a_group("large", 5, size=100)], file)[0]
    assert max(one.thumbnails.shape[1:]) <= 48


def test_what_is_kept_is_for_the_owner_alone_and_names_no_subject(groups, file):
    embed(groups, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with np.load(file, allow_pickle=False) as held:
        assert "secret" not in str(held["about"])
        assert set(held) == {"about", "group", "thumbnails", *(f"points_{name}" for name in METRICS)}


def test_the_same_seed_gives_the_same_points(groups, file, tmp_path):
    for one, other in zip(embed(groups, file), embed(groups, tmp_path / "again.npz"), strict=True):
        np.testing.assert_array_equal(one.points, other.points)
    chosen = embed(groups, tmp_path / "other.npz", count=5, seed=1)[0].thumbnails
    assert not np.array_equal(chosen, embed(groups, file, count=5)[0].thumbnails)


def test_what_stands_is_kept_and_what_changed_is_made_anew(groups, file, monkeypatch):
    embed(groups, file)
    made = []
    monkeypatch.setattr(stage, "tsne", lambda distances, seed: made.append(seed) or np.zeros((len(distances), 2)))
    embed(groups, file)
    assert not made
    for changed, how in (
        ([groups[0], a_group("dim", 9, seed=1)], {}),
        (groups[::-1], {}),
        (groups, {"seed": 3}),
        (groups, {"count": 4}),
    ):
        made.clear()
        embed(changed, file, **how)
        assert len(made) == len(METRICS)


@pytest.mark.parametrize("damage", [lambda held: held[: len(held) // 2], lambda held: b"", lambda held: b"[1, 2]"])
def test_a_damaged_file_is_made_anew(groups, file, damage):
    first = embed(groups, file)
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(embed(groups, file)[2].points, first[2].points)


def test_nothing_is_read_where_nothing_stands_and_refused_where_it_is_no_embedding(file):
    assert read_embeddings(file) == ()
    file.parent.mkdir()
    file.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(DataError, match="holds no embedding"):
        read_embeddings(file)


def test_fewer_than_four_patches_are_not_placed(file):
    assert embed([a_group("few", 3)], file) == ()
    assert not file.exists()


def test_patches_of_two_sizes_are_refused(file):
    with pytest.raises(DataError, match="one size"):
        embed([a_group("a", 5), a_group("bb", 5, size=16)], file)


def test_figures_are_written_as_png_and_pdf_for_the_owner_alone(groups, file, tmp_path):
    write_embeddings(tmp_path / "figures", embed(groups, file), colours={})
    found = sorted((tmp_path / "figures").iterdir())
    names = ["tsne", *(f"tsne-{name}" for name in METRICS)]
    assert {path.name for path in found} == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_bytes()[:4] == (b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")
    write_embeddings(tmp_path / "none", (), colours={})
    assert not (tmp_path / "none").exists()
