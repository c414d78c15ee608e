"""Where a flow works and where its user does: coordinates, with the densities between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.parameters.theta import as_rows
from ax_jax_runners.posterior.configuration import SPACES

#: Nearest to 0 and 1 that a probability is told from them, so that logits are finite.
_EDGE = 1e-15


@dataclass(frozen=True, eq=False)
class ParameterCoordinates:
    """One-to-one maps between physical parameters theta and the real space that a flow models.

    In the physical space a flow's coordinates are ``y = (theta - shift) / scale``. In the cube
    and the unconstrained space they are ``y = log(u / (1 - u))`` with ``u`` the prior's cumulative
    probability of theta, so that no draw leaves the prior's support; the two differ in what users
    are given, u or y. All maps are elementwise, in float64, with exact derivatives.

    Attributes:
        space: "physical", "cube" or "unconstrained": what users give and are given.
        dimension: Number of parameters.
        prior: Needed for the cube and the unconstrained space.
        shift: (d,), physical units; 0 but in the physical space.
        scale: (d,), physical units; 1 but in the physical space.
    """

    space: str
    dimension: int
    prior: ParameterSpace | None
    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, space: str, prior: ParameterSpace | None, theta: Any) -> ParameterCoordinates:
        """Return the coordinates for some training parameters (n, d), in physical units.

        Raises:
            ConfigurationError: A space that there is not, or that needs a prior.
            ParameterError: A prior of another dimension, or with discrete parameters.
        """
        theta = np.asarray(theta, dtype=np.float64)
        dimension = theta.shape[1]
        shift, scale = np.zeros(dimension), np.ones(dimension)
        if space == "physical":
            shift, scale = theta.mean(axis=0), theta.std(axis=0)
            scale = np.where(scale > 0, scale, 1.0)
        check_space(space, prior, dimension)
        return cls(space, dimension, prior, shift, scale)

    def to_flow(self, theta: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return y (..., d) and ``log |dy / dtheta|`` (...,) of physical parameters (..., d).

        Outside the prior's support the second is -inf, since nothing is mapped there.
        """
        theta = self._rows(theta)
        if self._prior is None:
            slope = np.broadcast_to(-np.log(self.scale).sum(), theta.shape[:-1])
            return (theta - self.shift) / self.scale, slope.copy()
        u = self._prior.cdf(theta)
        return _logit(u), self._prior.log_prior(theta) - _log_logistic_density(_logit(u))

    def from_flow(self, y: Any) -> np.ndarray:
        """Return the physical parameters (..., d) of y (..., d)."""
        y = self._rows(y)
        if self._prior is None:
            return y * self.scale + self.shift
        return self._prior.icdf(_expit(y))

    def to_flow_from_space(self, values: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return y (..., d) and ``log |dy / dvalues|`` (...,) of values in ``space``.

        Outside the cube the second is -inf.
        """
        values = self._rows(values)
        if self.space == "physical":
            return self.to_flow(values)
        if self.space == "unconstrained":
            return values, np.zeros(values.shape[:-1])
        y = _logit(np.clip(values, 0.0, 1.0))
        inside = np.all((values >= 0) & (values <= 1), axis=-1)
        return y, np.where(inside, -_log_logistic_density(y), -np.inf)

    def from_flow_to_space(self, y: Any) -> np.ndarray:
        """Return values in ``space`` (..., d) of y (..., d)."""
        if self.space == "physical":
            return self.from_flow(y)
        y = self._rows(y)
        return _expit(y) if self.space == "cube" else y

    def describe(self) -> dict[str, Any]:
        """Return what `from_description` needs beside the prior, as plain JSON."""
        return {
            "space": self.space,
            "dimension": self.dimension,
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_description(
        cls, description: dict[str, Any], prior: ParameterSpace | None
    ) -> ParameterCoordinates:
        """Return the coordinates that `describe` described."""
        return cls(
            description["space"],
            int(description["dimension"]),
            prior,
            np.asarray(description["shift"], dtype=np.float64),
            np.asarray(description["scale"], dtype=np.float64),
        )

    @property
    def _prior(self) -> ParameterSpace | None:
        if self.space == "physical":
            return None
        if self.prior is None:
            raise ConfigurationError(
                f"Physical parameters are asked for, and from the {self.space} space they are "
                "reached by the prior only, which is not known; give prior=ParameterSpace(...)."
            )
        return self.prior

    def _rows(self, values: Any) -> np.ndarray:
        names = self.prior.names if self.prior is not None else _numbered(self.dimension)
        return as_rows(values, self.dimension, names, "The parameter array")


def check_space(space: str, prior: ParameterSpace | None, dimension: int) -> None:
    """Refuse a space that a prior does not carry.

    Raises:
        ConfigurationError: A space that there is not, or that needs a prior.
        ParameterError: A prior of another dimension, or with discrete parameters.
    """
    if space not in SPACES:
        raise ConfigurationError(
            f"parameter_space is {space!r}; choose one of {', '.join(SPACES)}."
        )
    if prior is None:
        if space != "physical":
            raise ConfigurationError(
                f"The {space} space needs the prior: give prior=ParameterSpace(...), or a data set "
                "that has one."
            )
        return
    if prior.dimension != dimension:
        raise ParameterError(
            f"The prior has {prior.dimension} free parameters ({', '.join(prior.names)}) for "
            f"{dimension} that are inferred; give one for each."
        )
    discrete = [p.name for p in prior.free if p.integer or p.choices is not None]
    if discrete and space != "physical":
        raise ParameterError(
            f"Parameter {discrete[0]!r} is discrete, which has no density in the {space} space; "
            "leave it out, or use the physical space."
        )


def _numbered(dimension: int) -> tuple[str, ...]:
    return tuple(f"parameter {number}" for number in range(dimension))


def _logit(u: np.ndarray) -> np.ndarray:
    inside = np.clip(u, _EDGE, 1.0 - _EDGE)
    return np.log(inside) - np.log1p(-inside)


def _expit(y: np.ndarray) -> np.ndarray:
    # Written for the tail that is small: the other one would overflow.
    small = np.exp(-np.abs(y))
    return np.where(y < 0, small / (1.0 + small), 1.0 / (1.0 + small))


def _log_logistic_density(y: np.ndarray) -> np.ndarray:
    """Return ``log du / dy`` of the logistic function, summed over the last axis."""
    size = np.abs(y)
    return -(size + 2.0 * np.log1p(np.exp(-size))).sum(axis=-1)
