"""Runtimes as they are given, checked, stored and read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters.distributions import (
    describe_distribution,
    exact_copy,
    family,
    support_bounds,
)
from ax_jax_runners.runners.simulation.functions import (
    FunctionResolver,
    UnboundFunction,
    encode_function,
)

#: None, seconds, a numpyro distribution, a function of the parameters, or recorded seconds.
Runtime: TypeAlias = Any

_GIVE = (
    "give seconds, recorded seconds by trial index, a numpyro distribution, or a function of "
    "the parameters"
)


def check_runtime(runtime: Runtime) -> Runtime:
    """Return a runtime as it is kept: numbers as floats, sequences as tuples.

    Raises:
        ConfigurationError: It is nothing that a runtime can be.
    """
    if runtime is None or isinstance(runtime, UnboundFunction):
        return runtime
    runtime = runtime.tolist() if isinstance(runtime, (np.ndarray, np.generic)) else runtime
    if isinstance(runtime, (bool, int, float)):
        return _checked("runtime", runtime)
    if isinstance(runtime, Mapping):
        return {_index(k): _checked(f"runtime[{k!r}]", v) for k, v in runtime.items()}
    if isinstance(runtime, (list, tuple)):
        if not runtime:
            raise ConfigurationError(f"runtime is empty; {_GIVE}.")
        return tuple(_checked(f"runtime[{i}]", value) for i, value in enumerate(runtime))
    if is_distribution(runtime):
        return _check_distribution(runtime)
    if not callable(runtime) or isinstance(runtime, type):
        raise ConfigurationError(f"runtime is {runtime!r}; {_GIVE}.")
    return runtime


def encode_runtime(runtime: Runtime) -> Any:
    """Return a checked runtime as plain JSON."""
    if runtime is None or isinstance(runtime, float):
        return runtime
    if isinstance(runtime, tuple):
        return list(runtime)
    if isinstance(runtime, Mapping):
        return {"recorded": {str(index): seconds for index, seconds in runtime.items()}}
    if is_distribution(runtime):
        return describe_distribution(runtime)
    return encode_function(runtime)


def decode_runtime(record: Any, functions: FunctionResolver) -> Runtime:
    """Return the runtime that `encode_runtime` wrote.

    Raises:
        ConfigurationError: The record is damaged, or names a distribution that cannot be built.
    """
    if not isinstance(record, Mapping):
        return record
    if "recorded" in record:
        return dict(record["recorded"])
    if "distribution" in record:
        return _build(record)
    return functions.resolve(record)


def _checked(name: str, value: Any) -> float:
    try:
        seconds = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigurationError(f"{name} is {value!r}; give finite seconds above 0.")
    return seconds


def _index(key: Any) -> int:
    try:
        return int(key)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"runtime has the key {key!r}; give recorded runtimes by trial index."
        ) from error


def is_distribution(value: Any) -> bool:
    """Whether a runtime is a numpyro distribution."""
    # numpyro is imported by whoever made the distribution.
    return any(
        kind.__name__ == "Distribution" and kind.__module__.startswith("numpyro.")
        for kind in type(value).__mro__
    )


def _check_distribution(distribution: Any) -> Any:
    if distribution.batch_shape != () or distribution.event_shape != ():
        raise ConfigurationError(
            f"runtime is a {family(distribution)} of vectors; give a distribution of one number."
        )
    lower, _ = support_bounds(distribution, "runtime")
    if lower < 0:
        raise ConfigurationError(
            f"runtime is a {family(distribution)}, which can be negative; give a distribution of "
            "positive numbers, such as LogNormal or Gamma."
        )
    copy = exact_copy(distribution)
    try:
        is_stored = describe_distribution(_build(describe_distribution(copy))) == (
            describe_distribution(copy)
        )
    except ConfigurationError:
        is_stored = False
    if not is_stored:
        raise ConfigurationError(
            f"runtime is a {family(distribution)}, which cannot be built again from its "
            "arguments when the runner is loaded; give one of numpyro's own distributions, made "
            "of numbers."
        )
    return copy


def _build(record: Any) -> Any:
    """Return the distribution that `describe_distribution` described."""
    from numpyro import distributions

    try:
        kind = getattr(distributions, record["distribution"])
        if not (isinstance(kind, type) and issubclass(kind, distributions.Distribution)):
            raise TypeError(f"{record['distribution']} is not a distribution")
        arguments = {
            name: _build(value) if isinstance(value, Mapping) else value
            for name, value in record["arguments"].items()
        }
        return exact_copy(kind(**arguments))
    except Exception as error:
        raise ConfigurationError(
            f"The runtime distribution {record!r} cannot be built: {error}"
        ) from error
