"""Places in a prior that noisy numbers leave likely."""

import numpy as np
import pytest

from angioshare.synthesis.calibration.posterior import Places, learn_places

SITE = np.array([0.7, 0.3, 0.6, 0.4, 0.9, 0.1])


@pytest.fixture(scope="module")
def known():
    """A made-up world of 6 parameters; numbers are mixtures of 4 of them, with a scatter of their own."""
    rng = np.random.default_rng(2)
    mixing = np.vstack([2 * rng.standard_normal((4, 8)), np.zeros((2, 8))])

    def measure(shares):
        return (shares - 0.5) @ mixing + 0.1 * rng.standard_normal((len(shares), 8))

    shares = rng.random((400, 6))
    return learn_places(shares, measure(shares)), measure(np.tile(SITE, (12, 1))).mean(axis=0)


def test_known_parameters_are_found_and_the_prior_stays_where_nothing_is_known(known):
    model, numbers = known
    mean, covariance = model.posterior(numbers, 0.0)
    assert 0.5 + mean[:4] / np.sqrt(12) == pytest.approx(SITE[:4], abs=0.1)
    assert np.diag(covariance)[:4].max() < 0.2
    assert np.diag(covariance)[4:].min() > 0.9


def test_noise_leads_back_to_the_prior_and_only_as_far_as_it_must(known):
    model, numbers = known
    shift = [np.linalg.norm(model.posterior(numbers, noise)[0]) for noise in (0, 0.3, 1, 1000)]
    assert all(np.diff(shift) < 0)
    assert shift[-1] < 0.01
    drawn = model.draw(numbers, 1000.0, 4_000, np.random.default_rng(0))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.mean(axis=0) == pytest.approx(np.full(6, 0.5), abs=0.03)
    assert drawn.std(axis=0).min() > 0.2


def test_draws_scatter_as_the_posterior_says(known):
    model, numbers = known
    mean, covariance = model.posterior(numbers, 0.3)
    inner = np.abs(mean) + 3 * np.sqrt(np.diag(covariance)) < np.sqrt(3)
    drawn = (model.draw(numbers, 0.3, 20_000, np.random.default_rng(1)) - 0.5) * np.sqrt(12)
    assert inner.any()
    assert drawn.mean(axis=0)[inner] == pytest.approx(mean[inner], abs=0.02)
    assert np.cov(drawn.T)[np.ix_(inner, inner)] == pytest.approx(covariance[np.ix_(inner, inner)], abs=0.03)


def test_a_site_beyond_all_lessons_is_sought_at_the_border():
    model = Places(slope=np.eye(1), scatter=np.zeros((1, 1)))
    drawn = model.draw(np.array([1.7]), 1e-6, 50, np.random.default_rng(0))
    assert drawn.min() > 0.98
    assert drawn.max() <= 1


def test_scatter_is_measured_on_subjects_that_were_not_learnt_from():
    """Where numbers have nothing to do with parameters, as many parameters as subjects must not explain them away."""
    rng = np.random.default_rng(3)
    shares, numbers = rng.random((40, 30)), rng.standard_normal((40, 2))
    assert np.diag(learn_places(shares, numbers).scatter).min() > 0.7
