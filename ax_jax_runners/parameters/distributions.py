"""What this package needs to know of a numpyro distribution: its support, description and copy.

numpyro is imported by whoever made the distribution; nothing here imports it at module level.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

from ax_jax_runners.errors import ParameterError

#: Families with cdf(loc + z) = 1 - cdf(loc - z): their upper tail is as exact as their lower one.
SYMMETRIC = frozenset({"Normal", "Cauchy", "Laplace", "Logistic", "StudentT", "SoftLaplace"})
#: Families whose natural scale is the logarithm of the value.
LOG_LIKE = frozenset({"LogNormal", "LogUniform"})


def family(distribution: Any) -> str:
    """Return the name of a distribution's class, such as ``"LogNormal"``."""
    return type(distribution).__name__


def _plain(value: Any) -> Any:
    """Turn one argument of a distribution into JSON: a number, a list, or a description."""
    import numpy as np
    from numpyro.distributions import Distribution
    from numpyro.distributions.transforms import Transform

    if isinstance(value, Distribution):
        return describe_distribution(value)
    if isinstance(value, Transform):
        fields = {k: _plain(v) for k, v in sorted(vars(value).items()) if not k.startswith("_")}
        return {"transform": type(value).__name__, "arguments": fields}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "biuf":
        return array.astype(float).tolist() if array.dtype.kind == "f" else array.tolist()
    return repr(value)


def _arguments(distribution: Any) -> dict[str, Any]:
    """Collect the constructor arguments that the distribution still holds as attributes."""
    names = inspect.signature(type(distribution).__init__).parameters
    skipped = {"self", "validate_args", "args", "kwargs", "kwds"}
    return {
        name: getattr(distribution, name)
        for name in names
        if name not in skipped and hasattr(distribution, name)
    }


def describe_distribution(distribution: Any) -> dict[str, Any]:
    """Describe a distribution as plain JSON: its family and the arguments it was made with."""
    arguments = _arguments(distribution)
    for name in ("base_dist", "transforms"):
        if name in vars(distribution) and family(distribution) == "TransformedDistribution":
            arguments[name] = vars(distribution)[name]
    return {
        "distribution": family(distribution),
        "arguments": {name: _plain(value) for name, value in sorted(arguments.items())},
    }


def exact_copy(distribution: Any) -> Any:
    """Return the distribution with every scalar held as a Python float.

    Built while JAX computes in float32, a distribution may hold derived constants (the logarithms
    of a LogUniform's ends) rounded to float32. It is built again from its arguments in float64;
    Python floats then follow the dtype of whatever they meet.
    """
    import jax
    import numpy as np
    from numpyro.distributions import Distribution

    def as_float(leaf: Any) -> Any:
        array = np.asarray(leaf)
        return float(array) if array.shape == () and array.dtype.kind == "f" else leaf

    with jax.enable_x64(True):
        arguments = {
            name: exact_copy(value) if isinstance(value, Distribution) else value
            for name, value in _arguments(distribution).items()
        }
        arguments = {
            name: as_float(value) if isinstance(value, (jax.Array, np.ndarray)) else value
            for name, value in arguments.items()
        }
        try:
            rebuilt = type(distribution)(**arguments)
        except Exception:
            # A class whose constructor keeps none of its arguments: use it as it is.
            rebuilt = distribution
        return jax.tree.map(as_float, rebuilt)


def support_bounds(distribution: Any, name: str) -> tuple[float, float]:
    """Return the ends of a scalar distribution's support, infinite where it has none.

    Raises:
        ParameterError: the support is not an interval (or a run of integers).
    """
    support = distribution.support
    lower = float(getattr(support, "lower_bound", -math.inf))
    upper = float(getattr(support, "upper_bound", math.inf))
    if math.isnan(lower) or math.isnan(upper) or not lower < upper:
        raise ParameterError(
            f"Parameter {name!r}: prior {family(distribution)} has the support "
            f"[{lower}, {upper}], which is not an interval; check its arguments."
        )
    return lower, upper


def check_distribution(prior: Any, name: str) -> None:
    """Refuse what cannot be the prior of one scalar parameter.

    Raises:
        ParameterError: not a numpyro distribution, vector-valued, or without a cdf.
    """
    from numpyro.distributions import Distribution

    if not isinstance(prior, Distribution):
        raise ParameterError(
            f"Parameter {name!r}: prior is a {type(prior).__name__}, not a numpyro distribution; "
            f"pass for example numpyro.distributions.Normal(0.0, 1.0)."
        )
    if prior.batch_shape != () or prior.event_shape != ():
        raise ParameterError(
            f"Parameter {name!r}: prior {family(prior)} is vector-valued (batch shape "
            f"{prior.batch_shape}, event shape {prior.event_shape}); give one scalar parameter "
            f"per element."
        )
