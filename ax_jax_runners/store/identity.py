"""Ids of runs and evaluations: SHA-256 of a canonical, typed text of what decides their results.

The same specification has the same id whatever the order of its keys, whether defaults are spelled
out, and however its numbers were written. What only says how a run is executed takes no part.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ax_jax_runners.errors import ConfigurationError

SCHEMA = 1
"""Version of the canonical form; it is part of every id."""

REQUIRED = object()
"""The default of a setting that has none."""

Kind: TypeAlias = type[bool] | type[int] | type[float] | type[str] | None


@dataclass(frozen=True)
class Setting:
    """What is declared of one key of a specification.

    Attributes:
        kind: ``float``, ``int``, ``bool`` or ``str``: what its value, or every item of a sequence,
            is taken as. None: it counts as it is given, so that 1 and 1.0 differ.
        default: Its value where the key is missing.
        decides: Whether it decides results; False for workers, verbosity, paths, database URLs.
    """

    kind: Kind = None
    default: Any = REQUIRED
    decides: bool = True


Schema: TypeAlias = "Mapping[str, Setting | Schema]"
"""Settings by key; a mapping in place of a setting declares a nested specification."""


def resolve(specification: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Return what decides the results: defaults filled in, values in their declared types.

    Args:
        specification: Values by key; it is not changed.
        schema: Every key that there may be.

    Raises:
        ConfigurationError: A key that is not declared or is missing, or a value of another kind.
    """
    return _resolved(specification, schema, "")


def run_id(
    specification: Mapping[str, Any],
    *,
    code: str,
    data: str = "",
    schema: Schema | None = None,
) -> str:
    """Return the id of a run, 64 hexadecimal digits.

    Args:
        specification: Plain values, arrays, and mappings and sequences of them, by key. A list and
            a tuple count as the same, since files know one kind of sequence; 1, 1.0 and True are
            three values unless a schema declares them.
        code: Version or digest of what computes.
        data: Digest of what it reads; empty: nothing.
        schema: What is declared of the keys; None: all count as they are given.

    Raises:
        ConfigurationError: NaN, an infinity, a key that is no text, or a value without a canonical
            form; or what `resolve` refuses.
    """
    settings = dict(specification) if schema is None else resolve(specification, schema)
    return _digest({"kind": "run", "code": code, "data": data, "settings": settings})


def evaluation_id(
    run: str,
    parameters: Mapping[str, Any],
    seed: int | Sequence[int] | None = None,
    fidelity: float | None = None,
) -> str:
    """Return the id of one evaluation within a run, 64 hexadecimal digits.

    Args:
        run: What `run_id` returned.
        parameters: Values by name, in their declared types.
        seed: The counters of its random key; None: the result depends on no key.
        fidelity: How far or finely it is evaluated; None: there is one fidelity.

    Raises:
        ConfigurationError: A value without a canonical form.
    """
    given = {"run": run, "parameters": parameters, "seed": seed, "fidelity": fidelity}
    return _digest({"kind": "evaluation", **given})


def canonical(value: Any) -> str:
    """Return a text that is the same for equal values, in every process and on every machine.

    Floats have their shortest form that reads back exactly, and no sign at zero. An array is its
    dtype, shape and digest.

    Raises:
        ConfigurationError: A value that has no such text; the message says where it stands.
    """
    return json.dumps(_plain(value, ""), sort_keys=True, allow_nan=False, separators=(",", ":"))


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({"schema": SCHEMA, **value}).encode()).hexdigest()


def _plain(value: Any, at: str) -> Any:
    """Return plain JSON; containers say what they are, so that no two values look alike."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigurationError(
                    f"{_place(at)} has the key {key!r}, a {type(key).__name__}; keys are texts."
                )
        return {"map": {str(key): _plain(item, _below(at, key)) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"list": [_plain(item, _below(at, number)) for number, item in enumerate(value)]}
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _finite(float(value), at)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _plain_array(value, at)
    raise ConfigurationError(
        f"{_place(at)} is a {type(value).__name__}, which has no canonical form; give numbers, "
        "texts, arrays, and mappings and lists of them."
    )


def _plain_array(value: Any, at: str) -> Any:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.empty(0, object)
    if array.dtype.names is not None or array.dtype.kind in "OMmSUT":
        raise ConfigurationError(
            f"{_place(at)} is an array of {value.dtype}; give arrays of numbers."
        )
    if array.ndim == 0 and array.dtype.kind in "biuf":
        return _plain(array.item(), at)
    if array.dtype.kind not in "biu":
        # Adding zero takes the sign from a negative one.
        array = array + np.zeros((), array.dtype)
        if not np.isfinite(array).all():
            raise ConfigurationError(
                f"{_place(at)} is an array with NaN or an infinity; give finite numbers."
            )
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    digest = hashlib.sha256(little.tobytes()).hexdigest()
    return {"array": [array.dtype.newbyteorder("=").name, list(array.shape), digest]}


def _finite(number: float, at: str) -> float:
    if not math.isfinite(number):
        raise ConfigurationError(f"{_place(at)} is {number}, which equals nothing; give a number.")
    return number + 0.0


def _resolved(given: Mapping[str, Any], schema: Schema, at: str) -> dict[str, Any]:
    unknown = [key for key in given if key not in schema]
    if unknown:
        raise ConfigurationError(
            f"{_place(_below(at, unknown[0]))} is not known; the keys are {', '.join(schema)}."
        )
    found: dict[str, Any] = {}
    for key, declared in schema.items():
        place = _below(at, key)
        if isinstance(declared, Mapping):
            nested = given.get(key, {})
            if not isinstance(nested, Mapping):
                raise ConfigurationError(f"{_place(place)} is {nested!r}; give a mapping.")
            found[key] = _resolved(nested, declared, place)
            continue
        value = given.get(key, declared.default)
        if value is REQUIRED:
            raise ConfigurationError(f"{_place(place)} is missing; it has no default.")
        if declared.decides:
            found[key] = _typed(value, declared.kind, place)
    return found


def _typed(value: Any, kind: Kind, at: str) -> Any:
    if kind is None or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_typed(item, kind, _below(at, number)) for number, item in enumerate(value)]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if getattr(value, "shape", ()) != ():
        return _typed_array(value, kind, at)
    is_truth = isinstance(value, bool)
    if kind is float and isinstance(value, numbers.Real) and not is_truth:
        return float(value)
    if kind is int and isinstance(value, numbers.Real) and not is_truth:
        if isinstance(value, numbers.Integral):
            return int(value)
        if float(value).is_integer():
            return int(float(value))
    elif kind in (bool, str) and isinstance(value, kind):
        return value
    raise ConfigurationError(f"{_place(at)} is {value!r}, not a {kind.__name__}; correct it.")


def _typed_array(value: Any, kind: Kind, at: str) -> np.ndarray:
    array = np.asarray(value)
    wanted = {float: "biuf", int: "iu", bool: "b"}.get(kind, "")
    if array.dtype.kind not in wanted:
        raise ConfigurationError(f"{_place(at)} is an array of {array.dtype}; correct it.")
    return array.astype({float: np.float64, int: np.int64, bool: np.bool_}[kind])


def _below(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)


def _place(at: str) -> str:
    within = at.removeprefix("settings").removeprefix(".")
    return f"Setting {within!r}" if within else "The specification"
