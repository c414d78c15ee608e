"""Fingerprints: the settings of a run; their defaults, their checks, and the name they give it."""

from __future__ import annotations

import hashlib
import json
import math
import numbers
from collections.abc import Mapping, MutableMapping
from copy import deepcopy
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError, InvalidFingerprint

_SCHEMA = 1
# What says how a run is executed, or where it is kept, does not decide what it finds.
_EXECUTION = frozenset(
    {
        "database_url",
        "log_level",
        "n_jobs",
        "n_workers",
        "results_dir",
        "storage",
        "storage_url",
        "study_name",
        "verbose",
        "verbosity",
        "workers",
    }
)
_LARGEST_EXACT = 2**53


def check_run_fingerprint(run_fingerprint: Mapping[str, Any]) -> None:
    """Check that weights have moved before the next decision.

    Raises:
        InvalidFingerprint: ``weight_interpolation_period`` is larger than ``chunk_period``, or one
            of them is no number above 0; it is an AssertionError.
    """
    names = ("weight_interpolation_period", "chunk_period")
    for name in names:
        value = run_fingerprint.get(name)
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number or not 0 < value < math.inf:  # type: ignore[operator]
            raise InvalidFingerprint(f"{name} is {value!r}; give a number of minutes above 0.")
    interpolation, chunk = (run_fingerprint[name] for name in names)
    if interpolation > chunk:
        raise InvalidFingerprint(
            f"weight_interpolation_period is {interpolation}, longer than the chunk_period "
            f"{chunk}; the weights must have moved before the next decision."
        )


def default_set_or_get(
    dictionary: MutableMapping[str, Any], key: str, default: Any, augment: bool = True
) -> Any:
    """Return a value, or a copy of the default where it is missing or None.

    Args:
        dictionary: Where it is looked up.
        key: Its key.
        default: What it is otherwise.
        augment: Whether the dictionary gets the default then.
    """
    value = dictionary.get(key)
    if value is not None:
        return value
    value = deepcopy(default)
    if augment:
        dictionary[key] = value
    return value


def default_set(dictionary: MutableMapping[str, Any], key: str, default: Any) -> None:
    """Give a dictionary a copy of a default, in place, where the key is missing or None."""
    default_set_or_get(dictionary, key, default)


def recursive_default_set(
    target_dict: MutableMapping[str, Any], default_dict: Mapping[str, Any]
) -> None:
    """Give a dictionary copies of defaults, in place and at every depth.

    Args:
        target_dict: Gets what is missing or None.
        default_dict: The defaults; it is neither changed nor shared.

    Raises:
        ConfigurationError: A value where the defaults have a dictionary.
    """
    for key, value in default_dict.items():
        if not isinstance(value, Mapping):
            default_set(target_dict, key, value)
            continue
        nested = default_set_or_get(target_dict, key, {})
        if not isinstance(nested, MutableMapping):
            raise ConfigurationError(f"Setting {key!r} is {nested!r}; give a dictionary.")
        recursive_default_set(nested, value)


def get_run_location(
    run_fingerprint: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None
) -> str:
    """Return the name of a run: "run_" and the SHA-256 of what decides its results.

    The order of keys takes no part, nor does it matter whether a number is written 1 or 1.0, a
    sequence as list, tuple or array, or whether ``defaults`` are spelled out. How the run is
    executed takes no part at any depth: workers, verbosity, storage and folders of results.

    Args:
        run_fingerprint: The settings, as in Python or as read from a file.
        defaults: What holds where a setting is missing or None.

    Raises:
        ConfigurationError: NaN or an infinity, a key that is no text, or a value that no file
            could hold.
    """
    settings = deepcopy(dict(run_fingerprint))
    recursive_default_set(settings, defaults or {})
    text = json.dumps(
        {"schema": _SCHEMA, "settings": _canonical(settings, "")},
        sort_keys=True,
        allow_nan=False,
        separators=(",", ":"),
    )
    return f"run_{hashlib.sha256(text.encode()).hexdigest()}"


def get_original_location(run_fingerprint: Mapping[str, Any]) -> str | None:
    """Return the name that files of the original have; None for settings it could not name."""
    try:
        text = json.dumps(run_fingerprint, sort_keys=True)
    except (TypeError, ValueError):
        return None
    return f"run_{hashlib.sha256(text.encode()).hexdigest()}"


def _canonical(value: Any, at: str) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigurationError(
                    f"{at or 'The fingerprint'} has the key {key!r}, a {type(key).__name__}; keys "
                    "are texts."
                )
        return {
            key: _canonical(item, f"{at}.{key}" if at else key)
            for key, item in value.items()
            if key not in _EXECUTION
        }
    if isinstance(value, (list, tuple)):
        return [_canonical(item, f"{at}[{number}]") for number, item in enumerate(value)]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.generic) or hasattr(value, "__array__"):
        return _canonical(np.asarray(value).tolist(), at)
    if isinstance(value, numbers.Integral):
        return float(value) if abs(int(value)) <= _LARGEST_EXACT else int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value) + 0.0
    raise ConfigurationError(
        f"Setting {at!r} is {value!r}; give finite numbers, texts, and lists and dictionaries of "
        "them."
    )
