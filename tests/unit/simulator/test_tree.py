import numpy as np
import pytest

from angioshare.simulator.tree import down_sum, murray_radii, pass_down, sample_course, smooth


def random_parents(count, seed):
    rng = np.random.default_rng(seed)
    return np.array([-1, *(rng.integers(0, i) for i in range(1, count))])


def ancestors(parent, i):
    chain = []
    while i >= 0:
        chain.append(i)
        i = parent[i]
    return chain


@pytest.mark.parametrize("seed", range(3))
def test_sums_and_products_equal_walking_every_chain(seed):
    parent, value = random_parents(40, seed), np.random.default_rng(seed).random(40)
    chains = [ancestors(parent, i) for i in range(40)]
    assert down_sum(parent, value) == pytest.approx(
        [sum(value[j] for j in range(40) if i in chains[j]) for i in range(40)]
    )
    assert pass_down(parent, value) == pytest.approx([np.prod(value[chain]) for chain in chains])


@pytest.mark.parametrize("exponent", [2.0, 2.5, 3.0])
def test_murray_holds_at_every_fork(exponent):
    parent = random_parents(60, 5)
    radius = murray_radii(parent, {0: 1.4}, exponent, np.random.default_rng(6).uniform(0.5, 2, 60))
    assert radius[0] == pytest.approx(1.4)
    for i in range(60):
        children = np.flatnonzero(parent == i)
        if len(children):
            assert radius[i] ** exponent == pytest.approx(np.sum(radius[children] ** exponent))


def test_points_under_no_root_have_no_radius():
    assert murray_radii(np.array([-1, 0, -1, 2]), {2: 1.0}, 3.0, np.ones(4)).tolist() == [0, 0, 1, 1]


def test_a_sampled_course_starts_and_ends_where_it_should_in_even_steps():
    course = np.array([[0, 0, 0], [5, 5, 0], [10, 0, 3], [20, 0, 0]], dtype=float)
    line = sample_course(course)
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    assert line[[0, -1]] == pytest.approx(course[[0, -1]])
    assert steps.max() < 1.05 * np.median(steps) < 1.4


def test_smoothing_shortens_and_leaves_fixed_points_and_ends():
    rng = np.random.default_rng(7)
    parent, free = np.arange(-1, 29), np.arange(30) > 4
    points = np.column_stack((np.arange(30.0), rng.random((30, 2))))
    moved = smooth(points, parent, free, rounds=4)
    length = [np.linalg.norm(np.diff(p, axis=0), axis=1).sum() for p in (points, moved)]
    assert length[1] < length[0]
    assert moved[~free] == pytest.approx(points[~free])
    assert moved[-1] == pytest.approx(points[-1])
