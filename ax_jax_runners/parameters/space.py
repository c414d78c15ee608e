"""An ordered set of parameters with linear constraints, and its joint prior."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import InvalidTheta, ParameterError
from ax_jax_runners.parameters.constraints import (
    CONSTRAINT_TOLERANCE,
    LinearConstraint,
    normalised,
    parse_constraint,
)
from ax_jax_runners.parameters.joint_prior import JointPrior
from ax_jax_runners.parameters.parameter import Parameter
from ax_jax_runners.parameters.raw import RawCoordinates
from ax_jax_runners.parameters.scalars import Scalar
from ax_jax_runners.parameters.theta import (
    as_rows,
    fixed_value,
    position,
    traced_value,
    value_at,
)

if TYPE_CHECKING:
    from ax.core.search_space import SearchSpace
    from jax import Array
    from numpy.typing import ArrayLike


class ParameterSpace:
    """Parameters in declared order, their independent priors and linear constraints.

    ``theta`` is the vector of the free parameters in declared order: floats, integers as rounded
    floats, choices as the index of their value. Two spaces with equal parameters and constraints
    are equal.

    Attributes:
        parameters: all parameters, fixed ones included.
        free: those with a place in theta.
        constraints: the constraints as text, with single spaces.
        linear_constraints: the same on free parameters, ``sum <= bound``; a fixed parameter has
            moved into the bound, a constraint that always holds is gone.
    """

    parameters: tuple[Parameter, ...]
    free: tuple[Parameter, ...]
    constraints: tuple[str, ...]
    linear_constraints: tuple[LinearConstraint, ...]

    def __init__(self, parameters: Iterable[Parameter], *, constraints: Iterable[str] = ()) -> None:
        """Check names and constraints.

        Raises:
            ParameterError: not parameters, a repeated name, or a constraint that cannot be used.
        """
        given = tuple(parameters)
        for item in given:
            if not isinstance(item, Parameter):
                raise ParameterError(
                    f"A parameter space was given a {type(item).__name__} ({item!r}); give "
                    f"Parameter objects."
                )
        names = [parameter.name for parameter in given]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ParameterError(
                f"Parameters {', '.join(map(repr, repeated))} are declared more than once; give "
                f"each a name of its own."
            )
        if isinstance(constraints, str):
            constraints = (constraints,)
        self.parameters = given
        self.free = tuple(parameter for parameter in given if not parameter.is_fixed)
        texts = tuple(constraints)
        parsed = [self._parse(text) for text in texts]
        self.constraints = tuple(normalised(text) for text in texts)
        self.linear_constraints = tuple(item for item in parsed if item is not None)

    def _parse(self, text: str) -> LinearConstraint | None:
        numbers = {
            parameter.name: float(parameter.fixed)
            for parameter in self.parameters
            if parameter.fixed is not None and not isinstance(parameter.fixed, (str, bool))
        }
        names = [parameter.name for parameter in self.parameters]
        constraint = parse_constraint(text, names, fixed=numbers)
        if constraint is None:
            return None
        by_name = {parameter.name: parameter for parameter in self.parameters}
        least = 0.0
        for name, coefficient in constraint.coefficients:
            parameter = by_name[name]
            if parameter.choices is not None or parameter.is_fixed:
                raise ParameterError(
                    f"Constraint {normalised(text)!r}: parameter {name!r} is a choice or not a "
                    f"number; constrain numeric ranges only."
                )
            least += coefficient * parameter.box[0 if coefficient > 0 else 1]
        if least > constraint.bound + CONSTRAINT_TOLERANCE * (abs(least) + abs(constraint.bound)):
            raise ParameterError(
                f"Constraint {normalised(text)!r} holds nowhere within the bounds (it misses by "
                f"at least {least - constraint.bound:.6g}); widen the bounds or loosen it."
            )
        return constraint

    # ------------------------------------------------------------------ shape and identity

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters, in theta's order."""
        return tuple(parameter.name for parameter in self.free)

    @property
    def dimension(self) -> int:
        """Number of free parameters, the length of theta."""
        return len(self.free)

    @property
    def lower(self) -> np.ndarray:
        """Lower ends of the search box, (d,) float64."""
        return np.array([parameter.lower for parameter in self.free], dtype=np.float64)

    @property
    def upper(self) -> np.ndarray:
        """Upper ends of the search box, (d,) float64."""
        return np.array([parameter.upper for parameter in self.free], dtype=np.float64)

    @property
    def log_scale(self) -> np.ndarray:
        """Which free parameters are searched on a logarithmic scale, (d,) bool."""
        return np.array([parameter.log_scale for parameter in self.free], dtype=bool)

    def describe(self) -> dict[str, Any]:
        """Describe the space as plain JSON, the same for equal spaces."""
        return {
            "parameters": [parameter.describe() for parameter in self.parameters],
            "constraints": [
                {"coefficients": dict(sorted(item.coefficients)), "bound": item.bound}
                for item in self.linear_constraints
            ],
        }

    @functools.cached_property
    def _key(self) -> str:
        return json.dumps(self.describe(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, ParameterSpace) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        listed = ", ".join(map(repr, self.parameters))
        extra = f", constraints={self.constraints!r}" if self.constraints else ""
        return f"ParameterSpace([{listed}]{extra})"

    def __getstate__(self) -> dict[str, Any]:
        # Compiled programs are rebuilt on the other side.
        kept = ("parameters", "free", "constraints", "linear_constraints")
        return {name: vars(self)[name] for name in kept}

    def replace(self, overrides: Mapping[str, Mapping[str, Any]]) -> ParameterSpace:
        """Return the space with some parameters' lower, upper, log_scale or fixed changed.

        Raises:
            ParameterError: an unknown parameter or key, or a result that cannot be used.
        """
        known = {parameter.name for parameter in self.parameters}
        for name in overrides:
            if name not in known:
                raise ParameterError(
                    f"Override of an unknown parameter {name!r}; the parameters are "
                    f"{', '.join(parameter.name for parameter in self.parameters)}."
                )
        changed = [p.replace(**overrides.get(p.name, {})) for p in self.parameters]
        return ParameterSpace(changed, constraints=self.constraints)

    # ------------------------------------------------------------------ the joint prior

    def cdf(self, theta: ArrayLike) -> np.ndarray:
        """Evaluate each parameter's cumulative probability, (..., d) to (..., d).

        Values below the support give 0, above it 1, NaN gives NaN. Constraints play no part.

        Raises:
            InvalidTheta: the last axis does not hold ``dimension`` numbers.
        """
        return self._joint_prior.cdf(theta)

    def icdf(self, u: ArrayLike) -> np.ndarray:
        """Evaluate each parameter's quantile, (..., d) probabilities to (..., d) values.

        The result is always finite: at 0 and 1 an infinite tail answers with its farthest
        representable quantile. Constraints play no part.

        Raises:
            InvalidTheta: the last axis does not hold ``dimension`` numbers, or, unless traced, a
                probability is NaN or outside [0, 1].
        """
        return self._joint_prior.icdf(u)

    def log_prior(self, theta: ArrayLike) -> np.ndarray:
        """Evaluate the joint log density, (..., d) to (...): one value per row.

        Integers and choices count with the logarithm of their probability. Outside the support, at
        NaN, and where a constraint is violated it is -inf; it is not renormalised for constraints.

        Raises:
            InvalidTheta: the last axis does not hold ``dimension`` numbers.
        """
        return self._joint_prior.log_density(theta)

    @functools.cached_property
    def _joint_prior(self) -> JointPrior:
        measures = [p.measure for p in self.free if p.measure is not None]
        return JointPrior(self.names, measures, self.linear_constraints)

    # ------------------------------------------------------------------ raw numbers

    def to_raw(self, theta: ArrayLike) -> Any:
        """Map theta to the raw numbers of its parameters' bijectors, (..., d) to (..., d).

        A parameter without a bijector is its own raw number, integers and choices too. JAX arrays,
        traced or not, give JAX arrays of their dtype; others give NumPy float64.

        Raises:
            InvalidTheta: the last axis does not hold ``dimension`` numbers.
            ParameterError: a value outside its bijector's domain; where traced it gives NaN.
        """
        return self._raw_coordinates.to_raw(theta)

    def to_value(self, raw: ArrayLike) -> Any:
        """Map raw numbers to theta, (..., d) to (..., d); bounds play no part.

        Raises:
            InvalidTheta: the last axis does not hold ``dimension`` numbers.
        """
        return self._raw_coordinates.to_value(raw)

    def log_slope(self, raw: ArrayLike) -> Any:
        """Evaluate ln |d theta / d raw|, (..., d) raw numbers to (...).

        The log prior of raw numbers is ``log_prior(to_value(raw)) + log_slope(raw)``.

        Raises:
            InvalidTheta: the last axis does not hold ``dimension`` numbers.
        """
        return self._raw_coordinates.log_slope(raw)

    @functools.cached_property
    def _raw_coordinates(self) -> RawCoordinates:
        return RawCoordinates(self.free)

    # ------------------------------------------------------------------ names and values

    def pack(self, values: Mapping[str, Any]) -> np.ndarray:
        """Turn named values into theta, (d,) float64.

        Args:
            values: every free parameter by name; fixed ones may be there too.

        Raises:
            ParameterError: a missing or unknown name, a value of the wrong type, or a fixed
                parameter with another value.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        missing = [name for name in self.names if name not in values]
        unknown = [str(name) for name in values if name not in known]
        if missing or unknown:
            found = [f"missing {', '.join(missing)}"] if missing else []
            found += [f"unknown {', '.join(unknown)}"] if unknown else []
            raise ParameterError(
                f"Parameter values are {' and '.join(found)}; give {', '.join(self.names)}."
            )
        for name, parameter in known.items():
            if parameter.is_fixed and name in values and values[name] != parameter.fixed:
                raise ParameterError(
                    f"Parameter {name!r} is fixed at {parameter.fixed!r}, found {values[name]!r}; "
                    f"leave it out."
                )
        return np.array([position(p, values[p.name]) for p in self.free], dtype=np.float64)

    def unpack(self, theta: ArrayLike) -> dict[str, Scalar]:
        """Turn one theta into Python values of ALL parameters by name, in declared order.

        Raises:
            InvalidTheta: another shape than (d,), a value that is not finite, or an index that is
                none of the choices.
        """
        row = as_rows(theta, self.dimension, self.names, "theta")
        if row.ndim != 1:
            raise InvalidTheta(f"theta has the shape {row.shape}; unpack one row at a time.")
        values = iter(row.tolist())
        return {
            p.name: p.fixed if p.fixed is not None else value_at(p, next(values))
            for p in self.parameters
        }

    def traced(self, theta_row: Array) -> dict[str, Any]:
        """Turn a traced theta (d,) into what a simulator receives: all parameters by name.

        Floats and numeric choices come as scalars of theta's dtype (or int, bool), integers as
        int, string choices as their index, fixed parameters as Python constants.
        """
        values: dict[str, Any] = {}
        index = 0
        for parameter in self.parameters:
            if parameter.is_fixed:
                values[parameter.name] = fixed_value(parameter)
            else:
                values[parameter.name] = traced_value(parameter, theta_row[index])
                index += 1
        return values

    # ------------------------------------------------------------------ Ax

    def to_ax(self) -> SearchSpace:
        """Return the space as an Ax search space; see :mod:`ax_jax_runners.parameters.ax`."""
        from ax_jax_runners.parameters.ax import to_ax

        return to_ax(self)

    @staticmethod
    def from_ax(search_space: SearchSpace) -> ParameterSpace:
        """Read an Ax search space. Ax keeps no priors: ranges come back uniform or log-uniform.

        Raises:
            ParameterError: a kind of Ax parameter or constraint that has no place here.
        """
        from ax_jax_runners.parameters.ax import from_ax

        return from_ax(search_space)
