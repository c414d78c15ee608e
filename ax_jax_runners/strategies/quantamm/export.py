"""Raw parameters as the values that a pool is deployed with, exact to eighteen decimals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ax_jax_runners.errors import MissingParameter
from ax_jax_runners.parameters import Log2, Logit, Squareplus, fixed_point
from ax_jax_runners.strategies.quantamm.conversions import (
    checked_maximum,
    memory_decay,
    parameter,
)

_MAX_MEMORY_DAYS = 365
_READ = frozenset(
    {
        "logit_lamb",
        "log_k",
        "k",
        "raw_exponents",
        "raw_width",
        "log_amplitude",
        "raw_pre_exp_scaling",
        "logit_pre_exp_scaling",
    }
)


def convert_parameter_values(
    params: Mapping[str, Any],
    run_fingerprint: Mapping[str, Any],
    max_memory_days: float | None = None,
) -> dict[str, dict[str, list[Any]]]:
    """Return what raw parameters stand for, as numbers and as fixed point with 18 decimals.

    lambda is that of the memory after it was cut to the longest one, which also is the memory in k
    and in the amplitude, so that all of them belong together.

    Args:
        params: Raw parameters; None counts as missing. Of two ways to write one (``log_k`` and
            ``k``, ``raw_pre_exp_scaling`` and ``logit_pre_exp_scaling``) the first is taken.
        run_fingerprint: Has ``chunk_period`` in minutes, and may have ``max_memory_days``.
        max_memory_days: The longest memory; None: that of the fingerprint, or 365 days.

    Returns:
        ``values`` and ``strings``, each by name: ``lamb``, ``k``, ``exponents``, ``width``,
        ``amplitude``, ``pre_exp_scaling``. Lists nested as the parameters, float64 or text.

    Raises:
        MissingParameter: k or an amplitude without ``logit_lamb``, or no ``chunk_period``.
        ParameterError: A value that is not finite, or a longest memory that is not above 0.
    """
    raw = {
        name: np.asarray(parameter(params, name), dtype=np.float64)
        for name, value in params.items()
        if name in _READ and value is not None
    }
    found: dict[str, Any] = {}
    memory = None
    if "logit_lamb" in raw:
        memory, found["lamb"] = _capped(raw["logit_lamb"], run_fingerprint, max_memory_days)
    if "log_k" in raw:
        found["k"] = Log2().to_value(raw["log_k"]) * _known(memory, "log_k")
    elif "k" in raw:
        found["k"] = raw["k"] * _known(memory, "k")
    if "raw_exponents" in raw:
        found["exponents"] = Squareplus().to_value(raw["raw_exponents"])
    if "raw_width" in raw:
        found["width"] = Log2().to_value(raw["raw_width"])
    if "log_amplitude" in raw:
        amplitude = Log2().to_value(raw["log_amplitude"])
        found["amplitude"] = amplitude * _known(memory, "log_amplitude")
    if "raw_pre_exp_scaling" in raw:
        found["pre_exp_scaling"] = Log2().to_value(raw["raw_pre_exp_scaling"])
    elif "logit_pre_exp_scaling" in raw:
        found["pre_exp_scaling"] = Logit().to_value(raw["logit_pre_exp_scaling"])
    values = {name: np.atleast_1d(value).tolist() for name, value in found.items()}
    return {
        "values": values,
        "strings": {name: fixed_point(listed) for name, listed in values.items()},
    }


def _capped(logit: np.ndarray, run_fingerprint: Mapping[str, Any], most: Any) -> tuple[Any, Any]:
    """Return memory in days and lambda, both cut to the longest memory."""
    if run_fingerprint.get("chunk_period") is None:
        raise MissingParameter("The fingerprint has no 'chunk_period'; lambda needs its minutes.")
    decay = memory_decay(run_fingerprint["chunk_period"])
    if most is None:
        most = run_fingerprint.get("max_memory_days")
    longest = checked_maximum(_MAX_MEMORY_DAYS if most is None else most)
    days = decay.to_value(logit)
    is_longer = days > longest
    lamb = np.where(is_longer, decay.to_decay(longest), Logit().to_value(logit))
    return np.where(is_longer, longest, days), lamb


def _known(memory: Any, name: str) -> Any:
    if memory is None:
        raise MissingParameter(
            f"{name!r} counts in units of the memory, and there is no 'logit_lamb'; give it too."
        )
    return memory
