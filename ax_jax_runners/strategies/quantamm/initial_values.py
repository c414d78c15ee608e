"""Raw parameters of a pool, one set or several, from the initial values that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import jax
import numpy as np

from ax_jax_runners.errors import MissingParameter, ParameterError
from ax_jax_runners.parameters import Identity, Log2, Logit, initialise
from ax_jax_runners.parameters.bijector import Bijector
from ax_jax_runners.strategies.quantamm.conversions import memory_decay

SUBSIDIARIES = "subsidary_params"
"""Where the parameters of subsidiary pools are, in the spelling of the stored files."""

Values = Mapping[str, Any]

# The raw parameter, where its value is read from, and what it is where it is not given.
_OTHERS: tuple[tuple[str, str, float, Bijector], ...] = (
    ("initial_weights_logits", "initial_weights_logits", 0.0, Identity()),
    ("log_amplitude", "initial_log_amplitude", 0.0, Identity()),
    ("raw_width", "initial_raw_width", 0.0, Identity()),
    ("raw_exponents", "initial_raw_exponents", 0.0, Identity()),
    ("logit_pre_exp_scaling", "initial_pre_exp_scaling", 0.5, Logit()),
)


def init_params_singleton(
    initial_values_dict: Values,
    n_tokens: int,
    n_subsidary_rules: int = 0,
    chunk_period: Any = 60,
    log_for_k: bool = True,
) -> dict[str, Any]:
    """Return the raw parameters of one set, JAX arrays (n,) with n = tokens + subsidiary rules.

    Args:
        initial_values_dict: ``initial_memory_length`` in days and ``initial_k_per_day``, and where
            they are not the neutral ones ``initial_memory_length_delta`` in days,
            ``initial_weights_logits``, ``initial_log_amplitude``, ``initial_raw_width``,
            ``initial_raw_exponents`` and ``initial_pre_exp_scaling``; each a number or (n,).
        n_tokens: Number of assets.
        n_subsidary_rules: Number of subsidiary rules.
        chunk_period: Minutes between two observations of prices.
        log_for_k: Whether the parameter is ``log_k``, to base 2, or ``k`` itself.

    Raises:
        MissingParameter: A memory or a k that is not given.
        ParameterError: A shape that does not fit, or a value outside its domain.
    """
    many = _raw(initial_values_dict, n_tokens + n_subsidary_rules, chunk_period, log_for_k)
    return {name: value if name == SUBSIDIARIES else value[0] for name, value in many.items()}


def init_params(
    initial_values_dict: Values,
    n_tokens: int,
    n_subsidary_rules: int = 0,
    chunk_period: Any = 60,
    n_parameter_sets: int = 1,
    noise: str = "gaussian",
    *,
    seed: int = 0,
    scale: float | Mapping[str, float] = 1.0,
) -> dict[str, Any]:
    """Return the raw parameters of several sets, JAX arrays (sets, n).

    Set 0 has exactly the initial values; to the others Gaussian noise is added in raw numbers.

    Args:
        initial_values_dict: As for `init_params_singleton`; values may also be (sets, n).
        n_tokens: Number of assets.
        n_subsidary_rules: Number of subsidiary rules.
        chunk_period: Minutes between two observations of prices.
        n_parameter_sets: Number of sets.
        noise: "gaussian".
        seed: Of the noise.
        scale: Standard deviation of the noise; or one for each raw parameter.

    Raises:
        MissingParameter: A memory or a k that is not given.
        ParameterError: An unknown noise, a shape that does not fit, or a value outside its domain.
    """
    if noise != "gaussian":
        raise ParameterError(f"noise is {noise!r}; the only kind is 'gaussian'.")
    n = n_tokens + n_subsidary_rules
    return _raw(initial_values_dict, n, chunk_period, True, n_parameter_sets, _key(seed), scale)


def make_composite_run_params(
    composite_params: Values,
    list_of_subsidary_pool_run_dicts: Sequence[Values],
    initial_values_dict: Values,
    n_parameter_sets: int,
    *,
    chunk_period: Any = 60,
    seed: int = 0,
) -> dict[str, Any]:
    """Return parameters with those of subsidiary pools beside them, initialised pool by pool.

    Args:
        composite_params: The parameters of the whole; they are not changed.
        list_of_subsidary_pool_run_dicts: For each pool ``tokens``, ``initial_memory_length``,
            ``initial_k_per_day`` and, where it is its own, ``chunk_period``.
        initial_values_dict: The other initial values.
        n_parameter_sets: Number of sets.
        chunk_period: Minutes of a chunk of the pools that have none of their own.
        seed: Of the noise of all sets but the first; no two pools have the same.

    Raises:
        MissingParameter: A pool lacks one of the keys.
        ParameterError: As `init_params`.
    """
    pools = []
    for number, pool in enumerate(list_of_subsidary_pool_run_dicts):
        values = dict(initial_values_dict)
        for name in ("initial_memory_length", "initial_k_per_day"):
            values[name] = _required(pool, name, f"Subsidiary pool {number}")
        tokens = _required(pool, "tokens", f"Subsidiary pool {number}")
        minutes = pool.get("chunk_period")
        pools.append(
            _raw(
                values,
                len(tokens),
                chunk_period if minutes is None else minutes,
                True,
                n_parameter_sets,
                jax.random.fold_in(_key(seed), number),
                1.0,
            )
        )
    return {**deepcopy(dict(composite_params)), SUBSIDIARIES: pools}


def process_initial_values(
    initial_values_dict: Values,
    key: str,
    n_assets: int,
    n_parameter_sets: int,
    force_scalar: bool = False,
) -> np.ndarray:
    """Return an initial value for every set and asset.

    Args:
        initial_values_dict: Values by name.
        key: The name.
        n_assets: Number of assets.
        n_parameter_sets: Number of sets.
        force_scalar: Whether a set has one number rather than one for each asset.

    Returns:
        float64 (sets, assets), or (sets,) with ``force_scalar``; a copy.

    Raises:
        MissingParameter: There is no such value.
        ParameterError: Its shape does not fit.
    """
    given = _required(initial_values_dict, key, "initial_values_dict")
    shape = (n_parameter_sets,) if force_scalar else (n_parameter_sets, n_assets)
    try:
        return np.broadcast_to(np.asarray(given, dtype=np.float64), shape).copy()
    except (TypeError, ValueError) as error:
        each = "" if force_scalar else f"{n_assets} numbers for the assets, "
        raise ParameterError(
            f"{key} is {given!r}; give a number, {each}or an array of the shape {shape}."
        ) from error


def _raw(
    values: Values,
    n: int,
    chunk_period: Any,
    log_for_k: bool,
    sets: int = 1,
    key: Any = None,
    scale: float | Mapping[str, float] = 0.0,
) -> dict[str, Any]:
    decay = memory_decay(chunk_period)
    memory = _required(values, "initial_memory_length", "initial_values_dict")
    k = "log_k" if log_for_k else "k"
    readable = {
        k: _required(values, "initial_k_per_day", "initial_values_dict"),
        "logit_lamb": memory,
        "logit_delta_lamb": _delta(decay, memory, values.get("initial_memory_length_delta")),
    }
    bijectors: dict[str, Bijector] = {"logit_lamb": decay, **({k: Log2()} if log_for_k else {})}
    for name, source, neutral, bijector in _OTHERS:
        given = values.get(source)
        readable[name] = neutral if given is None else given
        bijectors[name] = bijector
    raw = initialise(readable, members=sets, shape=(n,), bijectors=bijectors, scale=scale, key=key)
    return {**raw, SUBSIDIARIES: []}


def _delta(decay: Bijector, memory: Any, longer: Any) -> Any:
    """Return what the logit of lambda gains where the memory is so many days longer."""
    if longer is None:
        return 0.0
    days = np.asarray(memory, dtype=np.float64)
    try:
        return decay.to_raw(days + np.asarray(longer, dtype=np.float64)) - decay.to_raw(days)
    except ParameterError as error:
        raise ParameterError(
            f"initial_memory_length and initial_memory_length_delta are {memory!r} and {longer!r}; "
            "the memory and the sum of both must be above 0 and finite."
        ) from error


def _required(values: Values, name: str, where: str) -> Any:
    if values.get(name) is None:
        raise MissingParameter(
            f"{where} has no {name!r}, which has no default; it has "
            f"{', '.join(map(str, values)) or 'nothing'}."
        )
    return values[name]


def _key(seed: int) -> Any:
    return jax.random.key(seed, impl="threefry2x32")
