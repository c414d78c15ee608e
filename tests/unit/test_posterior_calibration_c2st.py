"""The classifier two-sample test agrees with what is known of the best classifier."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.calibration import classifier_two_sample_test

ROWS = 3000


def normal(seed: int, rows: int = ROWS, shift: float = 0.0) -> np.ndarray:
    sample = np.random.default_rng(seed).standard_normal((rows, 2))
    # Along a diagonal, in units that standardisation takes away.
    return (sample + shift / math.sqrt(2)) * [1.0, 1000.0] + [0.0, 5e4]


def test_samples_of_one_law_cannot_be_told_apart() -> None:
    found = classifier_two_sample_test(normal(1), normal(2))
    assert found.accuracy == pytest.approx(0.5, abs=0.02)
    assert found.accuracy == pytest.approx(np.mean(found.scores))
    assert len(found.scores) == len(found.epochs) == 5
    assert found.rows == ROWS
    assert min(found.epochs) > 10


@pytest.mark.parametrize("distance", [1.0, 2.0])
def test_shifted_normal_laws_are_told_apart_as_well_as_can_be(distance: float) -> None:
    best = 0.5 * math.erfc(-distance / 2 / math.sqrt(2))
    found = classifier_two_sample_test(normal(1), normal(2, shift=distance))
    assert found.accuracy == pytest.approx(best, abs=0.02)


def test_a_difference_of_correlation_is_found_as_well_as_can_be() -> None:
    # Standard deviations of sqrt(1.9) and sqrt(0.1) along the diagonals; means are equal.
    wide, narrow = math.sqrt(1.9), math.sqrt(0.1)
    turn = np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    rng = np.random.default_rng(3)
    plain, stretched = rng.standard_normal((2, 200_000, 2))
    stretched = stretched * [wide, narrow]

    def ratio(rows: np.ndarray) -> np.ndarray:
        along = (rows / [wide, narrow]) ** 2 - rows**2
        return -along.sum(axis=1) / 2 - math.log(wide * narrow)

    best = ((ratio(plain) < 0).mean() + (ratio(stretched) > 0).mean()) / 2
    found = classifier_two_sample_test(plain[:ROWS] @ turn, stretched[:ROWS] @ turn)
    assert 0.6 < best < 0.8
    assert found.accuracy == pytest.approx(best, abs=0.02)


def test_a_law_that_is_too_narrow_is_found_as_well_as_can_be() -> None:
    narrow = 0.7
    plain, other = np.random.default_rng(4).standard_normal((2, 200_000, 2))
    # The ratio of the densities is one where the squared radius is this.
    edge = 4 * math.log(1 / narrow) / (1 / narrow**2 - 1)
    inside = [((rows**2).sum(axis=1) < edge).mean() for rows in (other * narrow, plain)]
    best = (inside[0] + 1 - inside[1]) / 2
    found = classifier_two_sample_test(plain[:ROWS], other[:ROWS] * narrow)
    assert 0.55 < best < 0.75
    assert found.accuracy == pytest.approx(best, abs=0.02)


def test_far_apart_samples_are_told_apart() -> None:
    assert classifier_two_sample_test(normal(1), normal(2, shift=12.0)).accuracy > 0.999


def test_samples_of_different_length_are_cut_to_the_shorter() -> None:
    found = classifier_two_sample_test(normal(1, 4 * ROWS), normal(2), seed=3)
    assert found.rows == ROWS
    assert found.accuracy == pytest.approx(0.5, abs=0.025)


def test_rows_that_fill_no_batch_are_trained_on_and_scored() -> None:
    # 206 rows in three folds: one short batch to train on, 69, 69 and 68 rows to score.
    found = classifier_two_sample_test(normal(1, 103), normal(2, 103, shift=3.0), folds=3)
    right = np.multiply(found.scores, [69, 69, 68])
    assert right == pytest.approx(np.round(right), abs=1e-3)
    assert 0.8 < found.accuracy < 1.0


def test_the_same_seed_gives_the_same_scores() -> None:
    first = classifier_two_sample_test(normal(1), normal(2), seed=5)
    assert classifier_two_sample_test(normal(1), normal(2), seed=5) == first
    assert classifier_two_sample_test(normal(1), normal(2), seed=6).scores != first.scores
    assert json.loads(json.dumps(first.describe()))["scores"] == list(first.scores)


def test_a_parameter_that_never_varies_in_the_reference() -> None:
    constant = normal(1, 103) * [1.0, 0.0] + [0.0, 7.0]
    varied = constant + np.random.default_rng(0).standard_normal((103, 1)) * [0.0, 1.0]
    assert classifier_two_sample_test(constant, varied, folds=3).accuracy > 0.8


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="3 columns and the sample 2"):
        classifier_two_sample_test(np.zeros((10, 3)), np.zeros((10, 2)))
    broken = normal(1)
    broken[[17, 40], 0] = np.nan
    with pytest.raises(ConfigurationError, match="2 of 3000 rows of the sample .* row 17"):
        classifier_two_sample_test(normal(1), broken)
    with pytest.raises(ConfigurationError, match="5 folds of samples with 4 rows"):
        classifier_two_sample_test(normal(1, 4), normal(2, 4))
    with pytest.raises(ConfigurationError, match="sample has the shape"):
        classifier_two_sample_test(normal(1), np.zeros(3))
