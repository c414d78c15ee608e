"""What training minimises: penalties, auxiliary losses, and the evidence lower bound."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.configuration import (
    EncoderConfiguration,
    FlowConfiguration,
    OptimiserConfiguration,
    RegularisationConfiguration,
)
from ax_jax_runners.posterior.datasets import ArrayDataset, gather
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.flows import SplineParts
from ax_jax_runners.posterior.objectives import EvidenceLowerBound, NeuralPosterior
from ax_jax_runners.posterior.objectives.penalties import observation_scale, spline_penalties
from ax_jax_runners.posterior.training.rows import Rows
from ax_jax_runners.posterior.training.scales import scales_of
from tests.unit.posterior_toys import (
    FLOW,
    bits,
    optimiser,
    simulate,
    toy_dataset,
    toy_estimator,
    weights_of,
)

SIGMA = 0.05
UNIT = ParameterSpace([Parameter("a", lower=0.0, upper=1.0)])


def scales(**changes: float) -> dict[str, Any]:
    given = RegularisationConfiguration(**changes)
    found = scales_of([(OptimiserConfiguration(), given)])
    return {name: value[0] for name, value in found.items()}


# ---------------------------------------------------------------------- penalties on splines


def parts_of(widths: Any, heights: Any, derivatives: Any) -> SplineParts:
    return SplineParts(*(jnp.asarray(part, jnp.float32) for part in (widths, heights, derivatives)))


def equal_parts(bins: int = 8) -> SplineParts:
    return parts_of(np.full((3, bins), 2.5), np.full((3, bins), 2.5), np.ones((3, bins + 1)))


def test_spline_regularisers_are_zero_for_equal_bins_of_slope_one() -> None:
    found = spline_penalties(equal_parts(), scales())
    assert {name: float(value) for name, value in found.items()} == {
        "small_bin": 0.0,
        "entropy": 0.0,
        "derivative": 0.0,
    }


def test_spline_regularisers_have_their_closed_forms() -> None:
    # One bin of four is a twentieth of the width; two splines, of which the other is even.
    collapsed = np.array([[0.05, 0.35, 0.3, 0.3], [0.25] * 4]) * 20.0
    even = np.full((2, 4), 5.0)
    slopes = np.array([[1.0, 0.1, 1.0, 10.0, 1.0], [1.0] * 5])
    found = spline_penalties(parts_of(collapsed, even, slopes), scales())
    # Its ratio to an equal bin is 0.2: at the default target there is no shortfall yet.
    assert float(found["small_bin"]) == pytest.approx(0.0, abs=1e-12)
    assert float(found["entropy"]) == 0.0
    expected = (np.log(0.25 / 0.1) ** 2 + np.log(10.0 / 5.0) ** 2) / 10
    assert float(found["derivative"]) == pytest.approx(expected, rel=1e-5)
    stricter = scales(min_bin_ratio=0.5, entropy_floor=0.95, min_derivative=0.1, max_derivative=10)
    found = spline_penalties(parts_of(collapsed, even, slopes), stricter)
    assert float(found["small_bin"]) == pytest.approx((0.5 - 0.2) ** 2 / 16, rel=1e-5)
    shares = np.array([0.05, 0.35, 0.3, 0.3])
    entropy = -(shares * np.log(shares)).sum() / np.log(4)
    # One of four rows of widths and heights falls short.
    assert float(found["entropy"]) == pytest.approx((0.95 - entropy) ** 2 / 4, rel=1e-4)
    assert float(found["derivative"]) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.slow
def test_spline_regularisers_gradients_widen_a_collapsed_bin_and_calm_a_slope() -> None:
    logits = jnp.zeros((2, 6)).at[0, 2].set(-5.0)
    slopes = jnp.zeros((2, 7)).at[1, 3].set(4.0)
    given = scales()

    def loss(logits: Any, slopes: Any, name: str) -> Any:
        widths = jax.nn.softmax(logits)
        parts = SplineParts(widths, jnp.full((2, 6), 1 / 6), jnp.exp(slopes))
        return spline_penalties(parts, given)[name]

    def ratio(logits: Any) -> float:
        return float(6 * jax.nn.softmax(logits)[0, 2])

    for name in ("small_bin", "entropy"):
        # With a few thin bins more the entropy is below its floor, too.
        thin = logits if name == "small_bin" else logits.at[0, :5].set(-5.0)
        assert float(loss(thin, slopes, name)) > 0
        moved = thin - 5.0 * jax.grad(loss)(thin, slopes, name)
        assert ratio(moved) > ratio(thin)
        assert float(loss(moved, slopes, name)) < float(loss(thin, slopes, name))
    gradient = jax.grad(loss, argnums=1)(logits, slopes, "derivative")
    assert gradient[1, 3] > 0
    assert float(jnp.abs(gradient).sum()) == pytest.approx(float(gradient[1, 3]))


def test_spline_regularisers_change_training_only() -> None:
    """The same weights have the same validation loss, whatever is added while training."""
    row = Rows(jnp.array([0.3, -1.0]), {"vector": {"values": jnp.array([0.5, 0.1])}})
    weights = dict.fromkeys(("small_bin_weight", "entropy_weight", "derivative_weight"), 10.0)
    strict = {"min_bin_ratio": 2.0, "entropy_floor": 2.0, "min_derivative": 4.0}
    given = toy_estimator(
        optimiser=optimiser(),
        encoder=EncoderConfiguration(embedding_dim=2),
        regularisation=RegularisationConfiguration(**weights, **strict),
    )
    model, objective, key = given.model, given.objective(), jax.random.key(0)
    assert isinstance(objective, NeuralPosterior)
    assert objective.penalties == ("small_bin", "entropy", "derivative")
    model = dataclasses.replace(model, encoder=lambda row: row["vector"]["values"])
    plain = toy_estimator(optimiser=optimiser()).objective()
    assert float(objective.validation_loss(model, row, key)) == float(
        plain.validation_loss(model, row, key)
    )
    added = {}
    for name in weights:
        found = objective.training_loss(model, row, key, scales(**{name: 10.0}, **strict))
        added[name] = float(found) - float(plain.validation_loss(model, row, key))
        twice = objective.training_loss(model, row, key, scales(**{name: 20.0}, **strict))
        assert float(twice) - float(found) == pytest.approx(added[name], rel=1e-3)
    assert min(added.values()) > 0.1


@pytest.fixture(scope="module")
def penalised() -> dict[str, FlowPosterior]:
    """Trainings with spline regularisers of weights almost 0 and large, by one program."""
    found = {}
    for weight in (1e-12, 10.0):
        names = ("small_bin_weight", "entropy_weight", "derivative_weight")
        found[f"{weight}"] = toy_estimator(
            optimiser=optimiser(epochs=20, schedule_epochs=20.0),
            regularisation=RegularisationConfiguration(
                **dict.fromkeys(names, weight),
                min_bin_ratio=0.8,
                entropy_floor=0.95,
                min_derivative=0.5,
                max_derivative=2.0,
            ),
        )
        found[f"{weight}"].fit(toy_dataset())
    return found


@pytest.mark.slow
def test_spline_regularisers_keep_the_splines_of_a_training_even(
    penalised: dict[str, FlowPosterior],
) -> None:
    theta, x = simulate(9)
    narrowest, steepest = {}, {}
    for name, estimator in penalised.items():
        y = jnp.asarray(estimator.coordinates.to_flow(theta)[0], jnp.float32)
        embeddings = estimator.embeddings(x)
        flow = estimator.model.flow
        parts = jax.jit(jax.vmap(lambda y, given, flow=flow: flow.spline_parts(y, given)))(
            y, embeddings
        )
        shares = parts.widths / parts.widths.sum(axis=-1, keepdims=True)
        narrowest[name] = float(jnp.quantile(shares.min(axis=-1) * FLOW.bins, 0.05))
        steepest[name] = float(jnp.quantile(jnp.abs(jnp.log(parts.derivatives)), 0.99))
    print("narrow bins", narrowest, "steep", steepest)
    assert narrowest["10.0"] > narrowest["1e-12"] + 0.1
    assert steepest["10.0"] < 0.7 * steepest["1e-12"]


# ---------------------------------------------------------------------- auxiliary heads


WITH_HEADS = {
    "encoder": EncoderConfiguration(vector_depth=1, hidden_dim=16, embedding_dim=8),
    "optimiser": optimiser(epochs=30, schedule_epochs=30.0),
}


@pytest.fixture(scope="module")
def headed() -> dict[float, FlowPosterior]:
    """Trainings with auxiliary losses of almost no and of some weight, by one program."""
    found = {}
    for weight in (1e-30, 1.0):
        found[weight] = toy_estimator(
            **WITH_HEADS,
            regularisation=RegularisationConfiguration(
                auxiliary_scale_weight=weight, auxiliary_parameter_weight=weight
            ),
        )
        found[weight].fit(toy_dataset())
    return found


def explained(target: np.ndarray, told: np.ndarray) -> float:
    return 1.0 - float(((target - told) ** 2).sum() / ((target - target.mean(axis=0)) ** 2).sum())


@pytest.mark.slow
def test_auxiliary_losses_make_the_heads_tell_scale_and_parameters(
    headed: dict[float, FlowPosterior],
) -> None:
    theta, x = simulate(4)
    found: dict[float, dict[str, float]] = {}
    for weight, estimator in headed.items():
        assert estimator.schema is not None
        assert estimator.preprocessing is not None
        embeddings = jnp.asarray(estimator.embeddings(x))
        heads = estimator.model.heads
        y = estimator.coordinates.to_flow(theta)[0]
        standardised = estimator.preprocessing.apply(estimator.schema.stack(x))
        size = np.asarray(jax.vmap(observation_scale)(standardised))
        told = {
            # The first parameter's sign is not to be seen.
            "parameters": explained(
                y[:, 1:], np.asarray(jax.vmap(heads.tell_parameters)(embeddings))[:, 1:]
            ),
            "scale": explained(
                size[:, None], np.asarray(jax.vmap(heads.tell_scale)(embeddings))[:, None]
            ),
        }
        print("R2 at weight", weight, told)
        found[weight] = told
    untrained = found[min(found)]
    for name, told in found[1.0].items():
        assert told > 0.5
        assert told > untrained[name] + 0.3


@pytest.mark.slow
def test_auxiliary_losses_of_weight_zero_change_no_bit() -> None:
    plain = toy_estimator(optimiser=optimiser())
    artifacts = plain.fit(toy_dataset())
    none = toy_estimator(
        optimiser=optimiser(),
        regularisation=RegularisationConfiguration(
            auxiliary_scale_weight=0.0, auxiliary_parameter_weight=0.0
        ),
    )
    assert none.fit(toy_dataset()).history == artifacts.history
    assert weights_of(none) == weights_of(plain)
    assert none.model.heads.scale is None
    assert none.model.heads.parameters is None


@pytest.mark.slow
def test_auxiliary_losses_of_almost_no_weight_change_no_bit(
    headed: dict[float, FlowPosterior],
) -> None:
    """Heads are there, and their loss is below the last digit of everything."""
    plain = toy_estimator(**WITH_HEADS)
    plain.fit(toy_dataset())
    shadow = headed[1e-30].density.weights.trainable
    assert weights_of(plain) == bits((shadow.encoder, shadow.flow))


def test_observation_scale_is_that_of_what_was_measured() -> None:
    values = jnp.array([3.0, -4.0, 100.0])
    block = {"values": values, "mask": jnp.array([True, True, False])}
    assert float(observation_scale({"one": block})) == pytest.approx(0.5 * np.log(12.5))
    two = {"one": block, "two": {"values": jnp.array([5.0, 5.0])}}
    assert float(observation_scale(two)) == pytest.approx(0.5 * np.log(75.0 / 4))


# ---------------------------------------------------------------------- evidence lower bound


def log_likelihood(cube: Any, observations: Any) -> Any:
    return -0.5 * (((observations - cube) / SIGMA) ** 2).sum(axis=-1)


def elbo_data(rows: int = 4000) -> ArrayDataset:
    draws = np.random.default_rng(0)
    theta = draws.uniform(size=(rows, 1))
    return ArrayDataset(theta, theta + SIGMA * draws.normal(size=theta.shape), space=UNIT)


def elbo_estimator(**groups: Any) -> FlowPosterior:
    given = {
        "parameter_space": "cube",
        "training_objective": "elbo",
        "flow": FlowConfiguration(layers=2, width=16, base_affine=True),
        "encoder": EncoderConfiguration(vector_depth=0),
        "optimiser": OptimiserConfiguration(epochs=60, learning_rate=5e-3),
        **groups,
    }
    return FlowPosterior(1, **given)


@pytest.fixture(scope="module")
def variational() -> FlowPosterior:
    estimator = elbo_estimator()
    # A tenth of the width is 0.01 nat only: with fewer validation rows and draws, the kept epoch is
    # the luckiest rather than the best.
    estimator.fit(elbo_data(), elbo_log_likelihood_fn=log_likelihood, elbo_num_samples=16)
    return estimator


@pytest.mark.slow
@pytest.mark.parametrize("x", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
def test_elbo_posterior_is_the_exact_one_inside_and_at_the_edges(
    x: float, variational: FlowPosterior
) -> None:
    exact = scipy.stats.truncnorm(-x / SIGMA, (1 - x) / SIGMA, loc=x, scale=SIGMA)
    drawn = variational.draw(np.array([[x]]), 20_000)[0, :, 0]
    print(
        f"x = {x}: sd {drawn.std():.4f} of {exact.std():.4f}, "
        f"mean {drawn.mean():.4f} of {exact.mean():.4f}"
    )
    assert drawn.std() == pytest.approx(exact.std(), rel=0.05)
    assert drawn.mean() == pytest.approx(exact.mean(), abs=0.15 * exact.std())
    assert (drawn > 0).all()
    assert (drawn < 1).all()


@pytest.mark.slow
def test_elbo_validation_loss_is_the_bound_and_nll_that_of_the_parameters(
    variational: FlowPosterior,
) -> None:
    gathered = gather(elbo_data(), seed=0)
    held = gathered.is_validation
    assert variational.training_artifacts is not None
    told = variational.training_artifacts.validation_metrics
    density = variational.log_density(gathered.observations[held], gathered.parameters[held])
    assert told["validation_nll"] == pytest.approx(-density.mean(), abs=1e-4)
    # The bound is at most the evidence, here log of the integral of exp(log likelihood).
    x = gathered.observations[held][:, 0]
    mass = scipy.stats.norm.cdf((1 - x) / SIGMA) - scipy.stats.norm.cdf(-x / SIGMA)
    evidence = np.log(mass * SIGMA * np.sqrt(2 * np.pi)).mean()
    print("bound", -told["validation_loss"], "evidence", evidence)
    assert -told["validation_loss"] == pytest.approx(evidence, abs=0.1)


def test_elbo_needs_the_cube_and_a_likelihood() -> None:
    for space in ("physical", "unconstrained"):
        with pytest.raises(ConfigurationError, match="give 'cube'"):
            elbo_estimator(parameter_space=space)
    with pytest.raises(ConfigurationError, match="elbo_log_likelihood_fn"):
        elbo_estimator().fit(elbo_data(20))
    with pytest.raises(ConfigurationError, match="elbo_log_likelihood_fn"):
        elbo_estimator().fit(elbo_data(20), elbo_log_likelihood_fn=3.0)  # type: ignore[arg-type]
    for draws in (0, -1, 1.5, True):
        with pytest.raises(ConfigurationError, match="elbo_num_samples"):
            elbo_estimator().fit(
                elbo_data(20),
                elbo_log_likelihood_fn=log_likelihood,
                elbo_num_samples=draws,  # type: ignore[arg-type]
            )


@pytest.fixture(scope="module")
def gradients() -> dict[int, np.ndarray]:
    """Gradients (keys, weights) of one row's loss by the number of draws."""
    family = FlowConfiguration(family="affine", layers=1, width=16, depth=1)
    estimator = elbo_estimator(flow=family, encoder=EncoderConfiguration(embedding_dim=1))
    model = estimator.model
    weights, others = eqx.partition(
        dataclasses.replace(model, encoder=lambda row: row["vector"]["values"]),
        eqx.is_inexact_array,
    )
    row = Rows(
        jnp.zeros(1), {"vector": {"values": jnp.full(1, 0.4)}}, jnp.full(1, 0.6, jnp.float32)
    )
    found = {}
    for draws in (1, 4, 16):
        objective = EvidenceLowerBound(log_likelihood, draws)

        def one(key: Any, objective: EvidenceLowerBound = objective) -> Any:
            def loss(weights: Any) -> Any:
                return objective.training_loss(eqx.combine(weights, others), row, key, scales())

            parts = jax.tree.leaves(jax.grad(loss)(weights))
            return jnp.concatenate([part.ravel() for part in parts])

        keys = jax.random.split(jax.random.key(7), 2000)
        found[draws] = np.asarray(jax.jit(jax.vmap(one))(keys))
    return found


def test_elbo_gradient_is_finite(gradients: dict[int, np.ndarray]) -> None:
    for found in gradients.values():
        assert np.isfinite(found).all()
        assert np.abs(found).max() > 0


def test_elbo_num_samples_divides_the_variance_of_the_gradient(
    gradients: dict[int, np.ndarray],
) -> None:
    variance = {draws: float(found.var(axis=0).sum()) for draws, found in gradients.items()}
    means = {draws: found.mean(axis=0) for draws, found in gradients.items()}
    print("variances by draws", variance)
    for draws in (4, 16):
        assert variance[draws] * draws == pytest.approx(variance[1], rel=0.2)
    spread = np.sqrt(variance[1] / 2000)
    assert np.linalg.norm(means[16] - means[1]) < 5 * spread


@pytest.mark.slow
def test_elbo_observations_reach_the_likelihood_as_the_data_set_gives_them() -> None:
    """Not standardised, whatever their form."""
    draws = np.random.default_rng(0)
    theta = draws.uniform(size=(64, 1))
    given = {"deep": 100.0 + theta + SIGMA * draws.normal(size=theta.shape)}
    seen: dict[str, Any] = {}

    def recorded(cube: Any, observations: Any) -> Any:
        seen.update({name: leaf.shape for name, leaf in observations.items()})
        jax.debug.callback(
            lambda values: seen.setdefault("least", float(values.min())), observations["deep"]
        )
        return log_likelihood(cube, observations["deep"] - 100.0)

    estimator = elbo_estimator(
        flow=FlowConfiguration(family="affine", layers=1, width=16, depth=1),
        optimiser=OptimiserConfiguration(epochs=1, batch_size=32),
        encoder=EncoderConfiguration(embedding_dim=4, photometry_embedding_dim=4, hidden_dim=4),
    )
    artifacts = estimator.fit(
        ArrayDataset(theta, given, space=UNIT),
        elbo_log_likelihood_fn=recorded,
        elbo_num_samples=3,
    )
    jax.effects_barrier()
    assert seen["deep"] == (3, 1)
    assert seen["least"] > 99.0
    assert np.isfinite(artifacts.history["train_loss"]).all()


def test_penalties_and_heads_are_part_of_the_identity_of_an_objective() -> None:
    described = NeuralPosterior(("entropy",), parameter_head=True).describe()
    assert described == {
        "name": "npe",
        "penalties": ("entropy",),
        "scale_head": False,
        "parameter_head": True,
    }
    one = EvidenceLowerBound(log_likelihood, 2).describe()
    assert one == EvidenceLowerBound(log_likelihood, 2).describe()
    assert one != EvidenceLowerBound(log_likelihood, 3).describe()
    other = EvidenceLowerBound(lambda cube, x: log_likelihood(cube, x) * 2.0, 2).describe()
    assert one["log_likelihood"] != other["log_likelihood"]
