"""The posterior predictive check finds observations that the model cannot make."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.calibration import check_predictions

SPACE = ParameterSpace([Parameter(name, lower=-5.0, upper=5.0) for name in ("a", "b")])


def noisy(p: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    one, two = jax.random.split(key)
    line = p["a"] + p["b"] * jnp.arange(3.0)
    return {"line": line + jax.random.normal(one, (3,)), "a": p["a"] + jax.random.normal(two)}


EVALUATOR = FeatureEvaluator(noisy, SPACE, stochastic=True)


def draws(rows: int, n: int = 500) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((rows, n, 2)) + [1.0, 0.5]


def test_what_the_model_makes_is_believed_and_what_it_does_not_is_found() -> None:
    # In the order of names: "a", then "line".
    likely = [1.0, 1.0, 1.5, 2.0]
    found = check_predictions(
        draws(3), [likely, [1.0, 1.0, 1.5, 9.0], [-9.0, *likely[1:]]], EVALUATOR
    )
    assert found.levels.shape == found.tail_probabilities.shape == (3, 4)
    assert found.tail_probabilities[0].min() > 0.5
    assert found.discrepancy_p_values[0] > 0.5
    assert found.levels[1, 3] > 0.997
    assert found.levels[2, 0] < 0.003
    assert found.discrepancy_p_values[1:].max() < 0.003
    described = json.loads(json.dumps(found.describe(), allow_nan=False))
    assert described["smallest_discrepancy_p_value"] < 0.003
    assert (found.nonfinite, found.draws) == (0, 500)


def test_tail_probabilities_are_those_of_the_law() -> None:
    observed = np.array([[0.0, 1.0, 1.5, 3.0]])
    found = check_predictions(draws(1, 4000), observed, EVALUATOR)
    # a + noise: N(1, 1.01); the third of the line: N(2, 1 + 0.01 + 0.04).
    assert found.levels[0, 0] == pytest.approx(0.160, abs=0.02)
    assert found.levels[0, 3] == pytest.approx(0.835, abs=0.02)


def test_a_function_and_a_discrepancy_of_ones_own() -> None:
    def simulate(theta: np.ndarray) -> np.ndarray:
        return np.random.default_rng(1).standard_normal((len(theta), 20)) + theta[:, :1]

    observed = 3 * np.random.default_rng(2).standard_normal((1, 20)) + 1

    def by_spread(rows: np.ndarray) -> np.ndarray:
        return rows.std(axis=1)

    def by_mean(rows: np.ndarray) -> np.ndarray:
        return np.abs(rows.mean(axis=1) - 1)

    assert check_predictions(
        draws(1), observed, simulate, discrepancy=by_spread
    ).discrepancy_p_values == pytest.approx(0.0, abs=0.003)
    spread_only = observed - observed.mean() + 1
    assert check_predictions(
        draws(1), spread_only, simulate, discrepancy=by_mean
    ).discrepancy_p_values == pytest.approx(1.0, abs=0.003)


def test_simulations_that_are_not_finite_are_left_out_and_counted() -> None:
    broken = draws(2)
    broken[0, :100] = np.nan
    observed = [[1.0, 1.0, 1.5, 2.0]] * 2
    found = check_predictions(broken, observed, EVALUATOR)
    assert found.nonfinite == 100
    assert found.tail_probabilities.min() > 0.5
    broken[1] = np.nan
    with pytest.raises(ConfigurationError, match="observation 1"):
        check_predictions(broken, observed, EVALUATOR)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="4 numbers.*hold 3"):
        check_predictions(draws(1), [[1.0, 2.0, 3.0]], EVALUATOR)
    with pytest.raises(ConfigurationError, match=r"\(B, L, d\) and \(B, m\)"):
        check_predictions(draws(2), [[1.0, 2.0, 3.0, 4.0]], EVALUATOR)
