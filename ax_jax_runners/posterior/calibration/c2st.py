"""Classifier two-sample test: how well a network tells two samples apart.

Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests". Network, optimiser and stopping
rule are those of the benchmark of Lueckmann et al. 2021, "Benchmarking simulation-based
inference", so that numbers can be compared with the published ones.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError

_WIDTH_PER_DIMENSION = 10
_BATCH = 200
_LEARNING_RATE, _BETA_1, _BETA_2, _EPSILON = 1e-3, 0.9, 0.999, 1e-8
_PENALTY = 1e-4
_LEAST_IMPROVEMENT, _PATIENCE = 1e-4, 10
_MOST_EPOCHS = 1000


@dataclass(frozen=True)
class TwoSampleTest:
    """Accuracy of a classifier on rows that it was not trained on; 0.5 for samples of one law.

    Attributes:
        accuracy: Mean over the folds.
        scores: Of each fold.
        epochs: How long each fold was trained.
        rows: Of each sample that were used.
    """

    accuracy: float
    scores: tuple[float, ...]
    epochs: tuple[int, ...]
    rows: int

    def describe(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return {
            "accuracy": self.accuracy,
            "scores": list(self.scores),
            "epochs": list(self.epochs),
            "rows": self.rows,
        }


def classifier_two_sample_test(
    reference: ArrayLike, sample: ArrayLike, *, folds: int = 5, seed: int = 0
) -> TwoSampleTest:
    """Train a classifier between two samples and score it by cross-validation.

    Both are standardised by the mean and the standard deviation of ``reference``. Of samples of
    different length, rows of the longer one are chosen at random: as many as the other has.

    Args:
        reference: (n, d), rows of the law that is aimed at.
        sample: (m, d), rows to compare.
        folds: Parts of the shuffled rows; each is scored by a network trained on the others.
        seed: Of the choice, the order of rows and the first weights.

    Raises:
        ConfigurationError: Samples of another shape, with numbers that are not finite, or with
            fewer rows than folds; fewer than 2 folds.
    """
    first, second = _rows(reference, "reference"), _rows(sample, "sample")
    if first.shape[1] != second.shape[1]:
        raise ConfigurationError(
            f"The reference has {first.shape[1]} columns and the sample {second.shape[1]}; give "
            "the same parameters in both."
        )
    rows = min(len(first), len(second))
    if folds < 2 or rows < folds:
        raise ConfigurationError(
            f"{folds} folds of samples with {rows} rows; give at least 2 folds and a row for each."
        )
    rng = np.random.default_rng(seed)
    scale = first.std(axis=0)
    scale[scale == 0] = 1.0
    centre = first.mean(axis=0)
    # Chosen before anything else is drawn: equal lengths are not even reordered.
    chosen = [
        values if len(values) == rows else values[rng.choice(len(values), rows, replace=False)]
        for values in (first, second)
    ]
    x = ((np.concatenate(chosen) - centre) / scale).astype(np.float32)
    y = np.repeat(np.array([0, 1], np.float32), rows)
    split = _split(rng.permutation(2 * rows), folds)
    with jax.enable_x64(False):
        key = jax.random.key(seed, impl="threefry2x32")
        # One core is filled by a single fold, and a fold that has stopped costs it nothing more.
        together = 1 if jax.default_backend() == "cpu" else folds
        scores, epochs = jax.device_get(_cross_validate(x, y, *split, key, together=together))
    return TwoSampleTest(
        float(np.mean(scores, dtype=np.float64)),
        tuple(map(float, scores)),
        tuple(map(int, epochs)),
        rows,
    )


def _rows(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise ConfigurationError(f"The {what} has the shape {array.shape}; give (rows, dimension).")
    wrong = ~np.isfinite(array).all(axis=1)
    if wrong.any():
        raise ConfigurationError(
            f"{int(wrong.sum())} of {len(array)} rows of the {what} are not finite (the first is "
            f"row {int(wrong.argmax())}); leave them out and count them."
        )
    return array


def _split(order: NDArray[np.int64], folds: int) -> tuple[NDArray[np.int32], ...]:
    """Indices of training and test rows of every fold, padded with -1 to one length."""
    parts = np.array_split(order, folds)
    longest = len(parts[0])
    steps = math.ceil((len(order) - len(parts[-1])) / _BATCH)
    training = np.full((folds, steps * _BATCH), -1, dtype=np.int32)
    test = np.full((folds, longest), -1, dtype=np.int32)
    for fold, part in enumerate(parts):
        others = np.concatenate(parts[:fold] + parts[fold + 1 :])
        training[fold, : len(others)] = others
        test[fold, : len(part)] = part
    return training, test


class _Training(NamedTuple):
    """State of one fold between two epochs."""

    weights: Any
    mean: Any
    square: Any
    epoch: Array
    best_loss: Array
    idle: Array


@functools.partial(jax.jit, static_argnames="together")
def _cross_validate(
    x: Array, y: Array, training: Array, test: Array, key: Array, *, together: int
) -> tuple[Array, Array]:
    """Return accuracy and epochs of every fold; folds that have stopped stay as they are.

    ``together`` is how many folds are trained side by side.
    """

    def fold(rows: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        number, training_rows, test_rows = rows
        state = _fit(x, y, training_rows, jax.random.fold_in(key, number))
        return _score(x, y, state.weights, test_rows), state.epoch

    numbered = (jnp.arange(len(training)), training, test)
    return jax.lax.map(fold, numbered, batch_size=together)


def _fit(x: Array, y: Array, rows: Array, key: Array) -> _Training:
    weights = _initial_weights(key, x.shape[1])
    zeros = jax.tree.map(jnp.zeros_like, weights)
    start = _Training(weights, zeros, zeros, jnp.int32(0), jnp.float32(jnp.inf), jnp.int32(0))
    return jax.lax.while_loop(_goes_on, functools.partial(_epoch, x, y, rows, key), start)


def _goes_on(state: _Training) -> Array:
    return (state.epoch < _MOST_EPOCHS) & (state.idle <= _PATIENCE)


def _epoch(x: Array, y: Array, rows: Array, key: Array, state: _Training) -> _Training:
    order = _shuffled_positions(jax.random.fold_in(key, state.epoch + 1), rows < 0)
    shuffled = rows[order].reshape(-1, _BATCH)
    held = (shuffled >= 0).astype(jnp.float32)
    batches = (x[shuffled], y[shuffled], held)
    step = state.epoch * len(shuffled)

    def update(carry: Any, batch: Any) -> Any:
        weights, mean, square, step = carry
        loss, gradient = jax.value_and_grad(_loss)(weights, *batch)
        step = step + 1
        mean = jax.tree.map(lambda m, g: _BETA_1 * m + (1 - _BETA_1) * g, mean, gradient)
        square = jax.tree.map(lambda s, g: _BETA_2 * s + (1 - _BETA_2) * g * g, square, gradient)
        count = step.astype(jnp.float32)
        rate = _LEARNING_RATE * jnp.sqrt(1 - _BETA_2**count) / (1 - _BETA_1**count)
        weights = jax.tree.map(
            lambda w, m, s: w - rate * m / (jnp.sqrt(s) + _EPSILON), weights, mean, square
        )
        return (weights, mean, square, step), loss * batch[2].sum()

    carry = (state.weights, state.mean, state.square, step)
    (weights, mean, square, _), losses = jax.lax.scan(update, carry, batches)
    loss = losses.sum() / held.sum()
    worse = loss > state.best_loss - _LEAST_IMPROVEMENT
    return _Training(
        weights,
        mean,
        square,
        state.epoch + 1,
        jnp.minimum(loss, state.best_loss),
        jnp.where(worse, state.idle + 1, 0),
    )


def _shuffled_positions(key: Array, padding: Array) -> Array:
    """Random order of the positions of rows, padding last, as a shorter batch would be."""
    # One word holds random bits and the position: sorting pairs takes four times as long.
    low = (len(padding) - 1).bit_length()
    random = jax.random.bits(key, padding.shape, jnp.uint32) >> low << low
    random = jnp.where(padding, jnp.uint32((2**32 - 1) >> low << low), random)
    words = random | jnp.arange(len(padding), dtype=jnp.uint32)
    return jnp.sort(words) & jnp.uint32(2**low - 1)


def _initial_weights(key: Array, dimension: int) -> list[tuple[Array, Array]]:
    """Uniform weights and biases of variance 2 / (inputs + outputs), Glorot and Bengio 2010."""
    sizes = (dimension, *(2 * (_WIDTH_PER_DIMENSION * dimension,)), 1)
    layers = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        bound = math.sqrt(6 / (inputs + outputs))
        key_w, key_b = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 0), layer))
        weights = jax.random.uniform(key_w, (inputs, outputs), minval=-bound, maxval=bound)
        layers.append((weights, jax.random.uniform(key_b, (outputs,), minval=-bound, maxval=bound)))
    return layers


def _logits(layers: list[tuple[Array, Array]], x: Array) -> Array:
    for weights, biases in layers[:-1]:
        x = jax.nn.relu(x @ weights + biases)
    weights, biases = layers[-1]
    return (x @ weights + biases)[:, 0]


def _loss(layers: list[tuple[Array, Array]], x: Array, y: Array, held: Array) -> Array:
    logits = _logits(layers, x)
    entropy = (jax.nn.softplus(logits) - y * logits) * held
    penalty = sum(jnp.sum(weights**2) for weights, _ in layers)
    return (entropy.sum() + 0.5 * _PENALTY * penalty) / held.sum()


def _score(x: Array, y: Array, layers: list[tuple[Array, Array]], rows: Array) -> Array:
    held = rows >= 0
    right = (_logits(layers, x[rows]) > 0) == (y[rows] > 0.5)
    return (right & held).sum() / held.sum()
