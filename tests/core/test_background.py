"""Background is told from objects by what is commonest, and never at the cost of a bright one."""

import numpy as np

from bigseg.core.background import SHARE, background_limit, from_afar, may_hold_objects


def test_the_limit_lies_above_noise_and_below_what_is_bright() -> None:
    values = np.random.default_rng(0).normal(100, 2, (64, 64))
    values[:16, :16] = 1000
    limit = background_limit(values, (1, 99))
    assert 104 < limit < 112


def test_noise_as_wide_as_the_range_never_hides_what_a_network_would_see() -> None:
    values = np.random.default_rng(0).uniform(0, 100, (64, 64))
    assert background_limit(values, (0, 100)) <= values.min() + SHARE * np.ptp(values)


def test_without_a_range_nothing_is_background() -> None:
    flat = np.full((4, 4), 7)
    assert may_hold_objects(flat[None], background_limit(flat, (1, 99)), (0, 0, 0)).all()
    assert background_limit(np.full((2, 2), np.nan), (1, 99)) == -np.inf


def test_the_surroundings_of_what_is_bright_count_and_so_does_what_is_not_finite() -> None:
    values = np.zeros((1, 1, 9))
    values[0, 0, 2], values[0, 0, 8] = 5, np.nan
    found = may_hold_objects(values, 1.0, (0, 0, 1))[0, 0]
    assert found.tolist() == [False, True, True, True, False, False, False, True, True]


def test_seen_from_afar_noise_is_less_and_what_is_not_finite_stays_unknown() -> None:
    values = np.random.default_rng(0).normal(100, 10, (1, 60, 60))
    values[0, 0, 0] = np.nan
    seen = from_afar(values, (0, 12, 12))
    assert np.isnan(seen[0, :2, :2]).all()
    assert np.nanstd(seen[:, 20:, 20:]) < 4
