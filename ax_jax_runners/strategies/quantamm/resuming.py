"""Parameters to go on with: those of a run's file, completed, or else the initial ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.strategies.quantamm.fingerprints import (
    get_original_location,
    get_run_location,
)
from ax_jax_runners.strategies.quantamm.hessians import (
    calc_hessian_from_loaded_params,
    with_hessian,
)
from ax_jax_runners.strategies.quantamm.initial_values import SUBSIDIARIES, init_params
from ax_jax_runners.strategies.quantamm.loading import load_manually
from ax_jax_runners.strategies.quantamm.missing_values import fill_in_missing_values_from_init
from ax_jax_runners.strategies.quantamm.plain import dict_of_np_to_jnp

logger = logging.getLogger("ax_jax_runners.strategies")


def load(
    run_location: str | Path,
    initial_values_dict: Mapping[str, Any],
    n_tokens: int,
    n_subsidary_rules: int,
    chunk_period: Any = 60,
    load_method: str = "last",
    n_parameter_sets: int = 1,
) -> tuple[dict[str, Any], int | None]:
    """Return the chosen checkpoint, all its sets, as JAX arrays, and the number of the chosen set.

    Args:
        run_location: The file.
        initial_values_dict: Where parameters that the file lacks come from.
        n_tokens: Number of assets.
        n_subsidary_rules: Number of subsidiary rules.
        chunk_period: Minutes between two observations of prices.
        load_method: One of `choosing.LOAD_METHODS` that chooses one checkpoint.
        n_parameter_sets: Number of sets, where parameters are missing.

    Raises:
        ConfigurationError: A method that chooses several checkpoints.
        AxJaxError: As for `load_manually` and `fill_in_missing_values_from_init`.
    """
    if load_method.endswith("_for_each_parameter_set"):
        raise ConfigurationError(
            f"Load method {load_method!r} chooses several checkpoints; call load_manually."
        )
    row, member = load_manually(run_location, load_method)
    filled = fill_in_missing_values_from_init(
        row,
        initial_values_dict,
        n_tokens,
        n_subsidary_rules,
        chunk_period,
        n_parameter_sets=n_parameter_sets,
    )
    return _to_jax(filled), member


def load_or_init(
    run_fingerprint: Mapping[str, Any],
    initial_values_dict: Mapping[str, Any],
    n_tokens: int,
    n_subsidary_rules: int,
    recalc_hess: bool = False,
    chunk_period: Any = 60,
    force_init: bool = False,
    load_method: str = "last",
    n_parameter_sets: int = 1,
    results_dir: str | Path = "./results/",
    partial_fixed_training_step: Callable[[dict[str, Any]], Any] | None = None,
    *,
    seed: int = 0,
) -> tuple[dict[str, Any], bool]:
    """Return a run's parameters from its file where there is one, else the initial ones.

    Args:
        run_fingerprint: Names the file, by `get_run_location` or as the original names it.
        initial_values_dict: As for `init_params`.
        n_tokens: Number of assets.
        n_subsidary_rules: Number of subsidiary rules.
        recalc_hess: Whether ``hessian_trace`` of what is loaded is computed anew.
        chunk_period: Minutes between two observations of prices.
        force_init: Whether the file is not even looked for.
        load_method: As for `load`.
        n_parameter_sets: Number of sets.
        results_dir: The folder of the files.
        partial_fixed_training_step: The function of the parameters whose Hessian it is.
        seed: Of the noise of all sets but the first, where they are initialised.

    Returns:
        The parameters, and whether they were loaded.

    Raises:
        AxJaxError: As for `load`; a file that is there and cannot be used is never passed over.
    """
    size = (n_tokens, n_subsidary_rules, chunk_period)
    file = None if force_init else _file_of(run_fingerprint, Path(results_dir))
    if file is None:
        why = "asked for" if force_init else f"there is no file of the run in {results_dir}"
        logger.info("Parameters are initialised: %s.", why)
        params = init_params(
            initial_values_dict, *size, n_parameter_sets=n_parameter_sets, seed=seed
        )
        return params, False
    logger.info("Parameters are loaded from %s.", file)
    params, _ = load(file, initial_values_dict, *size, load_method, n_parameter_sets)
    if recalc_hess:
        step = partial_fixed_training_step
        trace = None if step is None else lambda p: calc_hessian_from_loaded_params(p, step)
        params = _to_jax(with_hessian(params, trace))
    return params, True


def _file_of(run_fingerprint: Mapping[str, Any], folder: Path) -> Path | None:
    names = (get_run_location(run_fingerprint), get_original_location(run_fingerprint))
    files = [folder / f"{name}.json" for name in names if name is not None]
    return next((file for file in files if file.is_file()), None)


def _to_jax(row: Mapping[str, Any]) -> dict[str, Any]:
    nested = [_to_jax(each) for each in row.get(SUBSIDIARIES) or ()]
    converted = dict_of_np_to_jnp(row)
    return {**converted, SUBSIDIARIES: nested} if SUBSIDIARIES in row else converted
