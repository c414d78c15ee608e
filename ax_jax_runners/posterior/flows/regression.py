"""What a linear regression knows of the parameters, taken off before any network sees them.

A posterior that narrows with the data is mostly a shift of the prior, linear in the observation. A
regression learns that part in one step, from all rows, and leaves the networks residuals that are
white: less to learn, and less to learn by heart where there are few simulations for many
parameters.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.posterior.flows.conditioner import weighted

#: Standard deviations of an observation beyond which it moves the regression no further.
_REACH = 5.0
#: Share of the residuals' covariance that is taken without its correlations, and the least
#: residual, in standard deviations of a parameter: float32 finds the way back.
_UNCORRELATED, _LEAST = 0.01, 1e-3
#: Strengths of the ridge that are tried, and the largest share of degrees of freedom in the rows.
_STRENGTHS, _FREEDOM = 10.0 ** np.arange(3.0, -9.0, -1.0), 0.5


class Regression(eqx.Module):
    """y = offset + slopes . observation + factor x; the identity as long as it is new.

    Its arrays are set from the training rows, and no step of the optimiser changes them.

    Attributes:
        offset: (d,) float32.
        slopes: (E, d) float32, of an observation of E numbers.
        factor: (d, d) float32, lower triangular.
        inverse: (d, d) float32, that of the factor.
    """

    offset: Array
    slopes: Array
    factor: Array
    inverse: Array

    @classmethod
    def new(cls, dimension: int, inputs: int) -> Regression:
        """Return the identity."""
        return cls(
            jnp.zeros(dimension, jnp.float32),
            jnp.zeros((inputs, dimension), jnp.float32),
            jnp.eye(dimension, dtype=jnp.float32),
            jnp.eye(dimension, dtype=jnp.float32),
        )

    @classmethod
    def fit(cls, y: np.ndarray, observations: np.ndarray) -> Regression:
        """Return that of some rows, by ridge regression.

        Its strength is the one of the least generalised cross-validation score (Golub, Heath and
        Wahba 1979).

        Args:
            y: (N, d), flow coordinates.
            observations: (N, E), standardised.
        """
        y = np.asarray(y, np.float64)
        x = np.clip(np.asarray(observations, np.float64), -_REACH, _REACH)
        x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
        x, centred = x - x_mean, y - y_mean
        spread = centred.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        rows = len(y)
        values, vectors = np.linalg.eigh(x.T @ x / rows)
        values = np.maximum(values, 0.0)
        along = vectors.T @ (x.T @ centred) / rows
        total = (centred**2).mean(axis=0)
        scores = []
        for strength in _STRENGTHS:
            kept = 1.0 / (values + strength)
            # |y - x b|^2 / N of b = V diag(kept) along, without going through the rows again.
            explained = (along**2 * (2.0 * kept - values * kept**2)[:, None]).sum(axis=0)
            left = np.maximum(total - explained, 0.0) / spread**2
            share = (1.0 + (values * kept).sum()) / rows
            # As many slopes as rows fit anything; the score means nothing there.
            scores.append(left.mean() / (1.0 - share) ** 2 if share < _FREEDOM else np.inf)
        kept = 1.0 / (values + _STRENGTHS[int(np.argmin(scores))])
        slopes = vectors @ (kept[:, None] * along)
        residuals = centred - x @ slopes
        free = max(rows - 1.0 - (values * kept).sum(), 1.0)
        covariance = residuals.T @ residuals / free
        variance = np.maximum(np.diag(covariance), (_LEAST * spread) ** 2)
        covariance = (1.0 - _UNCORRELATED) * covariance
        np.fill_diagonal(covariance, variance)
        factor = np.linalg.cholesky(covariance)
        offset = y_mean - x_mean @ slopes
        arrays = (offset, slopes, factor, np.linalg.inv(factor))
        return cls(*(jnp.asarray(array, jnp.float32) for array in arrays))

    def remove(self, y: Array, observation: Array) -> tuple[Array, Array]:
        """Return x (d, ...) and log|dx/dy| () for y (d, ...), rows in the last axis if any."""
        return self.inverse @ (y - self._mean(observation)), self._log_det()

    def restore(self, x: Array, observation: Array) -> tuple[Array, Array]:
        """Return y (d, ...) and log|dy/dx| () for x (d, ...)."""
        return self.factor @ x + self._mean(observation), -self._log_det()

    def _mean(self, observation: Array) -> Array:
        within = jnp.clip(observation, -_REACH, _REACH)
        offset = self.offset.reshape(-1, *(1,) * (within.ndim - 1))
        return offset + weighted(within, self.slopes)

    def _log_det(self) -> Array:
        return jnp.log(jnp.diagonal(self.inverse)).sum()
