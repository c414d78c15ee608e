"""The learning rate along the epochs, and one step of the optimiser, against Optax."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.configuration import (
    OptimiserConfiguration,
    RegularisationConfiguration,
)
from ax_jax_runners.posterior.training.optimiser import first_moments, step
from ax_jax_runners.posterior.training.scales import scales_of
from ax_jax_runners.posterior.training.schedule import learning_rate, schedule_scales

#: Steps in an epoch.
STEPS = 50


def rates(configuration: OptimiserConfiguration, steps: np.ndarray) -> np.ndarray:
    scales = schedule_scales(configuration)
    return np.array([learning_rate(float(at) / STEPS, scales) for at in steps])


def optax_rates(
    largest: float, least: float, warmup: float, epochs: float, steps: np.ndarray
) -> np.ndarray:
    schedule = optax.warmup_cosine_decay_schedule(
        least, largest, round(warmup * STEPS), round(epochs * STEPS), least
    )
    return np.array([schedule(int(at)) for at in steps])


@pytest.mark.parametrize(
    ("changes", "warmup", "horizon"),
    [
        ({}, 0.8, 40),
        ({"warmup_fraction": 0.1}, 4, 40),
        ({"warmup_epochs": 2.5}, 2.5, 40),
        ({"warmup_epochs": 0.5, "warmup_fraction": 0.9}, 0.5, 40),
        ({"schedule_epochs": 30.0, "warmup_fraction": 0.1}, 3, 30),
        ({"schedule_epochs": 100.0, "warmup_fraction": 0.1}, 10, 100),
        ({"min_learning_rate": 1e-3, "warmup_fraction": 0.1}, 4, 40),
    ],
)
def test_cosine_schedule_with_warm_up_is_that_of_optax(
    changes: dict[str, Any], warmup: float, horizon: float
) -> None:
    given = OptimiserConfiguration(**{"learning_rate": 4e-3, "epochs": 40, **changes})
    at = np.arange(0, 45 * STEPS, 7)
    expected = optax_rates(4e-3, given.min_learning_rate, warmup, horizon, at)
    np.testing.assert_allclose(rates(given, at), expected, rtol=2e-5, atol=1e-9)


def test_cosine_schedule_has_its_closed_form_at_its_corners() -> None:
    given = OptimiserConfiguration(learning_rate=1e-2, epochs=10, warmup_epochs=2.0)
    scales = schedule_scales(given)
    for epoch, expected in [
        (0.0, 1e-6),
        (1.0, 0.5 * (1e-6 + 1e-2)),
        (2.0, 1e-2),
        (6.0, 0.5 * (1e-6 + 1e-2)),
        (10.0, 1e-6),
        (25.0, 1e-6),
    ]:
        assert float(learning_rate(epoch, scales)) == pytest.approx(expected, rel=1e-5)


def test_without_warm_up_the_first_step_has_the_largest_rate() -> None:
    given = OptimiserConfiguration(learning_rate=1e-2, warmup_fraction=0.0)
    assert float(learning_rate(0.0, schedule_scales(given))) == pytest.approx(1e-2)
    everywhere = OptimiserConfiguration(learning_rate=1e-2, warmup_fraction=1.0, epochs=10)
    assert float(learning_rate(10.0, schedule_scales(everywhere))) == pytest.approx(1e-2)


def test_without_a_cosine_the_rate_stays() -> None:
    given = OptimiserConfiguration(learning_rate=3e-3, cosine=False, warmup_epochs=5.0)
    np.testing.assert_allclose(rates(given, np.arange(0, 5000, 500)), 3e-3, rtol=1e-6)


def test_a_least_rate_above_the_largest_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="min_learning_rate 0.1 is above"):
        OptimiserConfiguration(learning_rate=1e-2, min_learning_rate=0.1)


# ---------------------------------------------------------------------- one step


def some_weights() -> dict[str, jax.Array]:
    draws = np.random.default_rng(0)
    return {
        "matrix": jnp.asarray(draws.normal(size=(5, 3)), jnp.float32),
        "vector": jnp.asarray(draws.normal(size=3), jnp.float32),
    }


def some_gradients(count: int, size: float) -> list[dict[str, jax.Array]]:
    draws = np.random.default_rng(1)
    return [
        jax.tree.map(
            lambda leaf: jnp.asarray(size * draws.normal(size=leaf.shape), jnp.float32),
            some_weights(),
        )
        for _ in range(count)
    ]


def step_scales(clip: float | None, decay: float) -> dict[str, Any]:
    given = OptimiserConfiguration(gradient_clip_norm=clip, weight_decay=decay)
    found = scales_of([(given, RegularisationConfiguration())])
    return {name: value[0] for name, value in found.items()}


@pytest.mark.parametrize(("clip", "decay"), [(1.0, 0.0), (1.0, 0.1), (None, 0.0), (0.03, 0.5)])
def test_clip_weight_decay_and_learning_rate_are_those_of_optax(
    clip: float | None, decay: float
) -> None:
    chain = [] if clip is None else [optax.clip_by_global_norm(clip)]
    peer = optax.chain(*chain, optax.adamw(1e-2, weight_decay=decay))
    expected = weights = some_weights()
    moments, peers = first_moments(weights), peer.init(expected)
    scales = step_scales(clip, decay)
    # Gradients of norms around 0.4 and around 8: some are clipped, some not.
    for gradient in some_gradients(3, 0.1) + some_gradients(3, 2.0):
        updates, peers = peer.update(gradient, peers, expected)
        expected = optax.apply_updates(expected, updates)
        weights, moments, norm, taken = step(weights, moments, gradient, jnp.float32(1e-2), scales)
        assert bool(taken)
        assert float(norm) == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-6)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6),
        weights,
        dict(expected),  # type: ignore[call-overload]
    )
    assert int(moments.count) == 6


@pytest.mark.parametrize(("clip", "largest"), [(1.0, 1.0), (0.2, 0.2), (None, np.inf)])
def test_clipped_gradients_have_at_most_the_global_norm_asked_for(
    clip: float | None, largest: float
) -> None:
    weights = some_weights()
    gradient = some_gradients(1, 50.0)[0]
    _, moments, norm, _ = step(
        weights, first_moments(weights), gradient, jnp.float32(1e-2), step_scales(clip, 0.0)
    )
    # Adam's first moment is a tenth of the first gradient that it is given.
    seen = float(optax.tree.norm(moments.mu)) / 0.1
    assert seen == pytest.approx(min(largest, float(norm)), rel=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_whose_gradient_is_not_finite_changes_nothing(bad: float) -> None:
    weights = some_weights()
    gradient = some_gradients(1, 1.0)[0]
    gradient["vector"] = gradient["vector"].at[1].set(bad)
    moments = first_moments(weights)
    after, later, _, taken = step(
        weights, moments, gradient, jnp.float32(1e-2), step_scales(1.0, 0.1)
    )
    assert not bool(taken)
    for one, other in zip(
        jax.tree.leaves((after, later)), jax.tree.leaves((weights, moments)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_every_number_of_a_training_is_traced_but_those_that_decide_its_shape() -> None:
    given = [
        (OptimiserConfiguration(learning_rate=rate), RegularisationConfiguration(parameter_noise=n))
        for rate, n in [(1e-3, 0.1), (2e-3, 0.2)]
    ]
    found = scales_of(given)
    assert all(value.shape == (2,) and value.dtype == np.float32 for value in found.values())
    np.testing.assert_allclose(found["learning_rate"], [1e-3, 2e-3])
    np.testing.assert_allclose(found["parameter_noise"], [0.1, 0.2])
    names = {field.name for field in dataclasses.fields(RegularisationConfiguration)}
    assert names <= set(found)
