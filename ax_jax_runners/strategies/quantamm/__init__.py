"""The names that quantammsim's parameter module has, over this package's own parameters."""

from __future__ import annotations

from ax_jax_runners.strategies.quantamm.batching import (
    combine_param_combinations,
    make_vmap_in_axes_dict,
    split_param_combinations,
)
from ax_jax_runners.strategies.quantamm.choosing import LOAD_METHODS, get_objective_scalar
from ax_jax_runners.strategies.quantamm.conversions import (
    calc_alt_lamb,
    calc_lamb,
    calc_lamb_from_index,
    get_log_amplitude,
    get_raw_value,
    inverse_squareplus,
    inverse_squareplus_np,
    jax_logit_lamb_to_lamb,
    jax_memory_days_to_lamb,
    lamb_to_memory,
    lamb_to_memory_days,
    lamb_to_memory_days_clipped,
    logistic_func,
    memory_days_to_lamb,
    memory_days_to_logit_lamb,
    squareplus,
)
from ax_jax_runners.strategies.quantamm.export import convert_parameter_values
from ax_jax_runners.strategies.quantamm.fingerprints import (
    check_run_fingerprint,
    default_set,
    default_set_or_get,
    get_run_location,
    recursive_default_set,
)
from ax_jax_runners.strategies.quantamm.grids import (
    create_product_of_arrays,
    create_product_of_linspaces,
    generate_params_combinations,
    generate_run_fingerprint_combinations,
    make_log_range_with_zero,
)
from ax_jax_runners.strategies.quantamm.hessians import calc_hessian_from_loaded_params
from ax_jax_runners.strategies.quantamm.initial_values import (
    init_params,
    init_params_singleton,
    make_composite_run_params,
    process_initial_values,
)
from ax_jax_runners.strategies.quantamm.loading import (
    load_manually,
    load_result_array,
    retrieve_best,
)
from ax_jax_runners.strategies.quantamm.missing_values import (
    fill_in_missing_values_from_init,
    fill_in_missing_values_from_init_singleton,
)
from ax_jax_runners.strategies.quantamm.plain import (
    NumpyEncoder,
    dict_of_jnp_to_list,
    dict_of_jnp_to_np,
    dict_of_np_to_jnp,
)
from ax_jax_runners.strategies.quantamm.resuming import load, load_or_init

__all__ = [
    "LOAD_METHODS",
    "NumpyEncoder",
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
    "memory_days_to_lamb",
    "memory_days_to_logit_lamb",
    "process_initial_values",
    "recursive_default_set",
    "retrieve_best",
    "split_param_combinations",
    "squareplus",
]
