"""What a simulator returns: one array, or a dict of arrays, checked while it is traced."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.errors import (
    EvaluationError,
    FeaturesNotConfigured,
    InvalidFeatures,
)

#: Name of the only leaf of a simulator that returns a bare array.
WHOLE = "features"


def simulator_name(fn: Any) -> str:
    """Return ``module.qualname`` of a function, or the type of another callable."""
    kind = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{kind.__module__}.{kind.__qualname__}"


def _leaf(value: Any, name: str, path: str, dtype: Any) -> jax.Array:
    where = f"Simulator {name}: {path}"
    if value is None or isinstance(value, (str, bytes)):
        found = "None" if value is None else f"a string ({value!r})"
        raise InvalidFeatures(f"{where} is {found}; return a number or an array of numbers.")
    if not isinstance(value, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
        raise InvalidFeatures(
            f"{where} is a {type(value).__name__}; return an array, or a dict of arrays."
        )
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "biufcV":
        raise InvalidFeatures(f"{where} has the dtype {value.dtype}; return numbers.")
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        return array.astype(jnp.result_type(dtype, jnp.complex64))
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(dtype)
    if not (jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == jnp.bool_):
        raise InvalidFeatures(f"{where} has the dtype {array.dtype}; return numbers.")
    return array


def _checked(value: Any, name: str, path: str, dtype: Any) -> Any:
    if not isinstance(value, Mapping):
        return _leaf(value, name, path or "its result", dtype)
    if not value:
        raise InvalidFeatures(
            f"Simulator {name}: {path or 'its result'} is an empty dict; return at least one array."
        )
    wrong = [key for key in value if not isinstance(key, str)]
    if wrong:
        raise InvalidFeatures(
            f"Simulator {name}: {path or 'its result'} has the key {wrong[0]!r}; name features "
            f"by strings."
        )
    return {
        key: _checked(item, name, f"feature {key!r}" if not path else f"{path}[{key!r}]", dtype)
        for key, item in value.items()
    }


def _kept(features: Any, names: tuple[str, ...] | None, name: str) -> Any:
    if names is None:
        return features
    if not isinstance(features, dict):
        raise FeaturesNotConfigured(
            f"Simulator {name} returns one array without names, so features={list(names)} cannot "
            f"be kept; return a dict, or leave features out."
        )
    missing = [item for item in names if item not in features]
    if missing or not names:
        asked = f"does not return {', '.join(map(repr, missing))}" if missing else "has features=[]"
        raise FeaturesNotConfigured(
            f"Simulator {name} {asked}; it returns {', '.join(map(repr, features))}."
        )
    return {item: features[item] for item in names}


def simulate(
    fn: Callable[..., Any], arguments: tuple[Any, ...], *, names: tuple[str, ...] | None, dtype: Any
) -> Any:
    """Call a simulator under tracing and check what it returns.

    Args:
        fn: the simulator.
        arguments: the dict of scalars, and the key of a stochastic one.
        names: features to keep, or None for all.
        dtype: floating dtype of the result; complex features get the matching complex dtype.

    Returns:
        One array, or a (nested) dict of arrays.

    Raises:
        EvaluationError: the simulator raised.
        InvalidFeatures: it returned something else than numbers.
        FeaturesNotConfigured: it does not return a name of ``names``.
    """
    name = simulator_name(fn)
    try:
        result = fn(*arguments)
    except Exception as error:
        raise EvaluationError(
            f"Simulator {name} raised {type(error).__name__}: {reason(error)} (it is called with "
            f"traced JAX scalars: use jax.numpy and no Python branches on their values)."
        ) from error
    return _kept(_checked(result, name, "", dtype), names, name)


def reason(error: Exception) -> str:
    """Return the one line of an error that says most: XLA appends whole tracebacks."""
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[-1 if "Traceback" in lines[0] else 0].strip()


def leaf_names(features: Any) -> list[str]:
    """Name the leaves of features in tree order: ``"s11"``, ``"line.s11"``, or ``"features"``."""
    paths, _ = jax.tree_util.tree_flatten_with_path(features)
    return [".".join(str(entry.key) for entry in path) or WHOLE for path, _ in paths]


def finite_rows(leaf: np.ndarray) -> np.ndarray:
    """Tell for every row of a floating or complex array whether all its entries are finite.

    On the host, in blocks that stay in the cache: inside the program the test would cost cheap
    simulators half of their time.
    """
    flat = leaf.reshape(len(leaf), math.prod(leaf.shape[1:]))
    if np.iscomplexobj(flat):
        flat = np.ascontiguousarray(flat).view(np.finfo(flat.dtype).dtype)
    block = max(1, 2**15 // max(1, flat.shape[1]))
    finite = np.empty(len(flat), dtype=bool)
    for start in range(0, len(flat), block):
        part = slice(start, start + block)
        np.isfinite(flat[part]).all(axis=1, out=finite[part])
    return finite
