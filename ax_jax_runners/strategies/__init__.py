"""Trading strategies: the momentum pool, its measures of performance, markets and windows.

The names of quantammsim's parameter module are here as well, loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ax_jax_runners.strategies.backtest import PoolBacktest, WindowMeasure
from ax_jax_runners.strategies.market_files import read_market
from ax_jax_runners.strategies.markets import Market, stock_market, synthetic_market
from ax_jax_runners.strategies.momentum import PoolPath, momentum_pool
from ax_jax_runners.strategies.performance import MEASURES, Track, measure
from ax_jax_runners.strategies.training import GradientTraining
from ax_jax_runners.strategies.windows import Windows

if TYPE_CHECKING:
    from ax_jax_runners.strategies.quantamm import (
        LOAD_METHODS,
        NumpyEncoder,
        calc_alt_lamb,
        calc_hessian_from_loaded_params,
        calc_lamb,
        calc_lamb_from_index,
        check_run_fingerprint,
        combine_param_combinations,
        convert_parameter_values,
        create_product_of_arrays,
        create_product_of_linspaces,
        default_set,
        default_set_or_get,
        dict_of_jnp_to_list,
        dict_of_jnp_to_np,
        dict_of_np_to_jnp,
        fill_in_missing_values_from_init,
        fill_in_missing_values_from_init_singleton,
        generate_params_combinations,
        generate_run_fingerprint_combinations,
        get_log_amplitude,
        get_objective_scalar,
        get_raw_value,
        get_run_location,
        init_params,
        init_params_singleton,
        inverse_squareplus,
        inverse_squareplus_np,
        jax_logit_lamb_to_lamb,
        jax_memory_days_to_lamb,
        lamb_to_memory,
        lamb_to_memory_days,
        lamb_to_memory_days_clipped,
        load,
        load_manually,
        load_or_init,
        load_result_array,
        logistic_func,
        make_composite_run_params,
        make_log_range_with_zero,
        make_vmap_in_axes_dict,
        memory_days_to_lamb,
        memory_days_to_logit_lamb,
        process_initial_values,
        recursive_default_set,
        retrieve_best,
        split_param_combinations,
        squareplus,
    )

__all__ = [
    "LOAD_METHODS",
    "MEASURES",
    "GradientTraining",
    "Market",
    "NumpyEncoder",
    "PoolBacktest",
    "PoolPath",
    "Track",
    "WindowMeasure",
    "Windows",
    "calc_alt_lamb",
    "calc_hessian_from_loaded_params",
    "calc_lamb",
    "calc_lamb_from_index",
    "check_run_fingerprint",
    "combine_param_combinations",
    "convert_parameter_values",
    "create_product_of_arrays",
    "create_product_of_linspaces",
    "default_set",
    "default_set_or_get",
    "dict_of_jnp_to_list",
    "dict_of_jnp_to_np",
    "dict_of_np_to_jnp",
    "fill_in_missing_values_from_init",
    "fill_in_missing_values_from_init_singleton",
    "generate_params_combinations",
    "generate_run_fingerprint_combinations",
    "get_log_amplitude",
    "get_objective_scalar",
    "get_raw_value",
    "get_run_location",
    "init_params",
    "init_params_singleton",
    "inverse_squareplus",
    "inverse_squareplus_np",
    "jax_logit_lamb_to_lamb",
    "jax_memory_days_to_lamb",
    "lamb_to_memory",
    "lamb_to_memory_days",
    "lamb_to_memory_days_clipped",
    "load",
    "load_manually",
    "load_or_init",
    "load_result_array",
    "logistic_func",
    "make_composite_run_params",
    "make_log_range_with_zero",
    "make_vmap_in_axes_dict",
    "measure",
    "memory_days_to_lamb",
    "memory_days_to_logit_lamb",
    "momentum_pool",
    "process_initial_values",
    "read_market",
    "recursive_default_set",
    "retrieve_best",
    "split_param_combinations",
    "squareplus",
    "stock_market",
    "synthetic_market",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.quantamm"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
