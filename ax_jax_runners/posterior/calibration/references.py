"""Coordinates and reference points for TARP."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.encoders.preprocessing import Preprocessing
from ax_jax_runners.posterior.encoders.schema import ObservationSchema

_MOST_DIRECTIONS = 50
_WAVES = 100
_PENALTIES = 10.0 ** np.arange(-3, 5)


def standard_coordinates(
    parameters: NDArray[np.float64], draws: NDArray[np.float64], prior: ParameterSpace | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return parameters (B, d) and draws (B, L, d) in coordinates of about equal widths.

    Those of the prior's cube; without a prior in units of the parameters' standard deviations.
    """
    if prior is not None:
        return prior.cdf(parameters), prior.cdf(draws)
    centre, scale = parameters.mean(axis=0), parameters.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return (parameters - centre) / scale, (draws - centre) / scale


def random_references(parameters: NDArray[np.float64], *, seed: int = 0) -> NDArray[np.float64]:
    """Return points (B, d), uniform in the box that the parameters (B, d) span."""
    rng = np.random.default_rng(seed)
    return rng.uniform(parameters.min(axis=0), parameters.max(axis=0), parameters.shape)


def informed_references(
    parameters: NDArray[np.float64], observations: Any, *, seed: int = 0
) -> NDArray[np.float64]:
    """Return points that the observations tell of, so that TARP sees whether draws follow them.

    A ridge regression of the parameters on each observation, fitted without its own row, plus
    noise of the size of what it leaves. It is linear in the first principal components and in
    random waves of them (Rahimi and Recht 2007).

    Args:
        parameters: (B, d), in the coordinates of the points.
        observations: B of them, in any of the forms of a `PosteriorBatch`.
        seed: Of waves and noise.

    Returns:
        (B, d).

    Raises:
        ConfigurationError: Observations that do not fit together.
    """
    rng = np.random.default_rng(seed)
    columns = _columns(observations)
    left, size, _ = np.linalg.svd(columns, full_matrices=False)
    held = size > 1e-6 * max(float(size.max(initial=0.0)), 1e-30)
    directions = (left * size)[:, held][:, :_MOST_DIRECTIONS]
    width = np.sqrt(np.square(directions).sum(axis=1).mean()) or 1.0
    waves = rng.standard_normal((directions.shape[1], _WAVES)) / width
    features = np.concatenate(
        [directions, np.cos(directions @ waves + rng.uniform(0, 2 * np.pi, _WAVES))], axis=1
    )
    predicted = _predict_without_own_row(features, parameters)
    left_over = (parameters - predicted).std(axis=0)
    return predicted + left_over * rng.standard_normal(parameters.shape)


def _columns(observations: Any) -> NDArray[np.float64]:
    """Standardised values of all blocks side by side, (B, m)."""
    schema = ObservationSchema.of(observations)
    stacked = schema.stack(observations)
    blocks = Preprocessing.fit(schema, stacked).apply(stacked)
    columns = [np.asarray(block["values"], np.float64) for block in blocks.values()]
    joined = np.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)
    return joined - joined.mean(axis=0)


def _predict_without_own_row(
    features: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ridge regression with an intercept; each row's prediction knows nothing of its target.

    By the closed form of leave-one-out prediction of linear smoothers; the penalty is the one whose
    predictions are best.
    """
    rows = len(features)
    scale = features.std(axis=0)
    standard = (features - features.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    left, size, _ = np.linalg.svd(standard, full_matrices=False)
    projected = left.T @ targets
    mean = targets.mean(axis=0)
    spread = np.maximum(targets.var(axis=0), 1e-30)
    best, predicted = np.inf, np.broadcast_to(mean, targets.shape)
    for penalty in _PENALTIES:
        kept = size**2 / (size**2 + penalty)
        fitted = mean + left @ (kept[:, None] * projected)
        own = np.minimum(np.square(left) @ kept + 1 / rows, 1 - 1e-6)[:, None]
        without = (fitted - own * targets) / (1 - own)
        error = float((np.square(without - targets) / spread).mean())
        if error < best:
            best, predicted = error, without
    return predicted
