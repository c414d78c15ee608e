"""What every estimator with a model answers alike: draws and densities."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.drawing import key_data
from ax_jax_runners.posterior.encoding import EncodingEstimator
from ax_jax_runners.posterior.records import EncodedObservation, PosteriorSamples

_LOG = logging.getLogger("ax_jax_runners.posterior")


class InferringEstimator(EncodingEstimator):
    """An estimator with a model that can be asked; a subclass says how it is trained."""

    # ------------------------------------------------------------------ draws

    def sample_posterior(
        self,
        observation: EncodedObservation,
        n_samples: int,
        seed: int | None = None,
        *,
        space: str | None = None,
        clamp_non_finite: bool = False,
    ) -> PosteriorSamples:
        """Draw from the posterior of one observation.

        Args:
            observation: What `encode_observation` returned.
            n_samples: How many.
            seed: None: the estimator's own.
            space: "physical", or the estimator's own space (None).
            clamp_non_finite: What becomes of draws that are not finite, which the metadata count
                in any case. False: NaN. True: infinite numbers become about the largest of single
                precision, or the edge of the prior's support, and NaN the middle of the flow's
                coordinates.

        Returns:
            (n_samples, d) float64 draws.

        Raises:
            ConfigurationError: Another space, no whole number from 1 of draws, an observation that
                another estimator encoded, or physical draws without a prior.
        """
        key = key_data(self.seed if seed is None else seed)[None]
        embedding = self._embedding(observation)[None]
        drawn, missing = self._drawn(embedding, n_samples, key, space, clamp_non_finite)
        told = {
            "space": space or self.parameter_space,
            "seed": self.seed if seed is None else seed,
            "non_finite": missing,
        }
        return PosteriorSamples(drawn[0], metadata=told)

    def batch_sample_posterior(
        self,
        embeddings: Any,
        n_samples: int,
        base_seed: int = 0,
        *,
        space: str | None = None,
        clamp_non_finite: bool = False,
    ) -> np.ndarray:
        """Draw from the posteriors of many observations by compiled calls for all of them.

        Args:
            embeddings: (B, E) of `EncodedObservation` s.
            n_samples: Draws of each.
            base_seed: Observation i draws from its key with i folded in.
            space: "physical", or the estimator's own space (None).
            clamp_non_finite: As in `sample_posterior`; their number is logged.

        Returns:
            (B, n_samples, d) float64.

        Raises:
            ConfigurationError: As in `sample_posterior`, or embeddings of another shape.
        """
        rows = np.asarray(embeddings, np.float32)
        self._check_embeddings(rows, ("batch",))
        keys = key_data(base_seed, rows=len(rows))
        return self._drawn(rows, n_samples, keys, space, clamp_non_finite)[0]

    def draw(
        self, observations: Any, n: int, *, seed: int = 0, space: str = "physical"
    ) -> np.ndarray:
        """Draw (B, n, d) parameters for raw observations in any form of a `PosteriorBatch`."""
        return self.batch_sample_posterior(self.embeddings(observations), n, seed, space=space)

    def _drawn(
        self, embeddings: np.ndarray, n: int, keys: np.ndarray, space: str | None, clamp: bool
    ) -> tuple[np.ndarray, int]:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ConfigurationError(f"The number of draws is {n!r}; give a whole number from 1.")
        physical = self._is_physical(space)
        if not len(embeddings):
            return np.empty((0, int(n), self.parameter_dim)), 0
        y = self.density.sample(embeddings, int(n), keys).astype(np.float64)
        limit = float(np.finfo(np.float32).max)
        # Replaced before they are mapped, so that they stay within the prior's support.
        filled = np.nan_to_num(y, nan=0.0, posinf=limit, neginf=-limit)
        back = self.coordinates.from_flow if physical else self.coordinates.from_flow_to_space
        given = back(filled)
        sound = np.asarray((np.isfinite(y) & np.isfinite(given)).all(axis=-1))
        missing = int((~sound).sum())
        if missing:
            _LOG.warning(
                "%d of %d draws are not finite: the %s model is not sound there; train with the "
                "stability thresholds, or a smaller learning rate.",
                missing,
                sound.size,
                self.estimator_family,
            )
            blank = np.clip(given, -limit, limit) if clamp else np.nan
            given = np.where(sound[..., None], given, blank)
        return given, missing

    # ------------------------------------------------------------------ densities

    def log_prob(
        self, observation: EncodedObservation, parameters: Any, *, space: str | None = None
    ) -> Any:
        """Return the log density of parameters given one observation.

        Args:
            observation: What `encode_observation` returned.
            parameters: (d,) or (B, d), in ``space``.
            space: "physical", or the estimator's own space (None).

        Returns:
            A number, or (B,) float64; -inf outside the prior's support.

        Raises:
            ConfigurationError: Another space, an observation that another estimator encoded, or
                physical parameters without a prior.
            InvalidTheta: Parameters of another shape.
        """
        values = np.asarray(parameters, np.float64)
        rows = values[None] if values.ndim == 1 else values
        found = self._log_density(self._embedding(observation), rows, space)
        return float(found[0]) if values.ndim == 1 else found

    def log_density(
        self, observations: Any, parameters: Any, *, space: str = "physical"
    ) -> np.ndarray:
        """Return the log density (B,) of parameters (B, d), row by row of the observations.

        Raises:
            ConfigurationError: Another number of parameters than of observations, another space, or
                physical parameters without a prior.
            InvalidTheta: Parameters of another shape.
        """
        rows = np.asarray(parameters, np.float64)
        embeddings = self.embeddings(observations)
        if len(rows) != len(embeddings):
            raise ConfigurationError(
                f"There are {len(rows)} parameter vectors for {len(embeddings)} observations; give "
                "one for each, or log_prob one observation and many parameters."
            )
        return self._log_density(embeddings, rows, space)

    def _log_density(
        self, embeddings: np.ndarray, rows: np.ndarray, space: str | None
    ) -> np.ndarray:
        physical = self._is_physical(space)
        if rows.ndim > 2:
            raise ConfigurationError(
                f"The parameters have the shape {rows.shape}; give (dimension,) or (batch, "
                "dimension)."
            )
        to_flow = self.coordinates.to_flow if physical else self.coordinates.to_flow_from_space
        y, log_slope = to_flow(rows)
        if not len(rows):
            return np.empty(0)
        # Single precision has no number for what lies further away.
        near = (np.abs(y) < np.finfo(np.float32).max).all(axis=-1)
        inside = np.isfinite(log_slope) & near
        found = self.density.log_prob(np.where(inside[:, None], y, 0.0), embeddings)
        return np.where(inside, found + np.where(inside, log_slope, 0.0), -np.inf)

    def _is_physical(self, space: str | None) -> bool:
        if space not in (None, "physical", self.parameter_space):
            raise ConfigurationError(
                f"space is {space!r}; give 'physical' or the estimator's own, "
                f"{self.parameter_space!r}."
            )
        return space == "physical"
