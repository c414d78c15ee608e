"""Every name of the original's parameter module is there, and importing them changes nothing.

Faults of the original: 1 and 2 (import), 3 (printing), 4 (one home of each function).
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ax_jax_runners import strategies
from ax_jax_runners.strategies import quantamm

SIGNATURES = {
    "squareplus": "x",
    "check_run_fingerprint": "run_fingerprint",
    "default_set_or_get": "dictionary key default augment",
    "default_set": "dictionary key default",
    "recursive_default_set": "target_dict default_dict",
    "get_run_location": "run_fingerprint",
    "dict_of_jnp_to_np": "dictionary",
    "dict_of_jnp_to_list": "dictionary",
    "dict_of_np_to_jnp": "dictionary",
    "lamb_to_memory": "lamb",
    "memory_days_to_lamb": "memory_days chunk_period",
    "jax_memory_days_to_lamb": "memory_days chunk_period",
    "memory_days_to_logit_lamb": "memory_days chunk_period",
    "lamb_to_memory_days": "lamb chunk_period",
    "logistic_func": "x",
    "jax_logit_lamb_to_lamb": "logit_lamb",
    "lamb_to_memory_days_clipped": "lamb chunk_period max_memory_days",
    "calc_lamb": "update_rule_parameter_dict",
    "calc_lamb_from_index": "update_rule_parameter_dict logit_lamb_index",
    "calc_alt_lamb": "update_rule_parameter_dict",
    "inverse_squareplus": "y",
    "inverse_squareplus_np": "y",
    "get_raw_value": "value",
    "get_log_amplitude": "amplitude memory_days",
    "init_params_singleton": (
        "initial_values_dict n_tokens n_subsidary_rules chunk_period log_for_k"
    ),
    "fill_in_missing_values_from_init_singleton": (
        "params initial_values_dict n_tokens n_subsidary_rules chunk_period log_for_k"
    ),
    "init_params": (
        "initial_values_dict n_tokens n_subsidary_rules chunk_period n_parameter_sets noise"
    ),
    "fill_in_missing_values_from_init": (
        "params initial_values_dict n_tokens n_subsidary_rules chunk_period n_parameter_sets"
    ),
    "calc_hessian_from_loaded_params": "params partial_fixed_training_step",
    "load_result_array": "run_location key recalc_hess",
    "get_objective_scalar": "obj metric_key",
    "load_manually": (
        "run_location load_method recalc_hess min_test return_as_iterables metric_key "
        "use_continuous_test"
    ),
    "retrieve_best": "data_location load_method re_calc_hess min_alt_obj return_as_iterables",
    "load_or_init": (
        "run_fingerprint initial_values_dict n_tokens n_subsidary_rules recalc_hess chunk_period "
        "force_init load_method n_parameter_sets results_dir partial_fixed_training_step"
    ),
    "load": (
        "run_location initial_values_dict n_tokens n_subsidary_rules chunk_period load_method "
        "n_parameter_sets"
    ),
    "make_composite_run_params": (
        "composite_params list_of_subsidary_pool_run_dicts initial_values_dict n_parameter_sets"
    ),
    "create_product_of_linspaces": "params keys_ranges num_points_per_key inverse_funcs",
    "create_product_of_arrays": "params keys_arrays",
    "generate_run_fingerprint_combinations": (
        "run_fingerprint keys_ranges num_points_per_key inverse_funcs"
    ),
    "make_log_range_with_zero": "x",
    "combine_param_combinations": "param_combinations n_parameter_sets",
    "split_param_combinations": "param_combinations",
    "make_vmap_in_axes_dict": (
        "input_dict in_axes keys_to_recur_on keys_with_no_vamp n_repeats_of_recurred"
    ),
    "generate_params_combinations": (
        "initial_values_dict n_tokens n_subsidary_rules chunk_period n_parameter_sets "
        "k_per_day_range memory_days_range num_points_k_per_day num_points_memory_days"
    ),
    "process_initial_values": "initial_values_dict key n_assets n_parameter_sets force_scalar",
    "convert_parameter_values": "params run_fingerprint max_memory_days",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_have_the_places_that_they_had(name: str) -> None:
    found = inspect.signature(getattr(strategies, name)).parameters.values()
    placed = [p.name for p in found if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert placed == SIGNATURES[name].split()
    beyond = [p for p in found if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert all(p.default is not inspect.Parameter.empty for p in beyond)


def test_the_list_of_names_is_the_original_one() -> None:
    names = {*SIGNATURES, "NumpyEncoder"}
    assert issubclass(strategies.NumpyEncoder, json.JSONEncoder)
    assert len(names) == 47
    assert names <= set(quantamm.__all__)
    assert set(quantamm.__all__) <= set(strategies.__all__)
    with pytest.raises(AttributeError, match="no attribute 'jax_sharpe'"):
        strategies.jax_sharpe  # noqa: B018


def test_every_function_has_one_home() -> None:
    homes: dict[str, set[str]] = {}
    package = Path(quantamm.__file__).parents[2]
    for file in package.rglob("*.py"):
        for line in file.read_text().splitlines():
            if line.startswith("def ") and line[4:].partition("(")[0] in SIGNATURES:
                home = file.relative_to(package).as_posix()
                homes.setdefault(line[4:].partition("(")[0], set()).add(home)
    assert set(homes) == set(SIGNATURES)
    # Campaigns are loaded, too, by a function of their own.
    homes["load"].remove("campaign/loading.py")
    assert all(len(files) == 1 for files in homes.values())


def test_importing_the_names_changes_nothing_and_loads_little() -> None:
    code = """
import json, sys, numpy as np, jax
before = np.geterr(), jax.config.jax_enable_x64
from ax_jax_runners.strategies import init_params, load_manually
init_params({"initial_memory_length": 3.0, "initial_k_per_day": 2.0}, 2, n_parameter_sets=2)
names = {"pandas", "optuna", "optax", "matplotlib", "dask", "torch", "ax", "sqlalchemy"}
heavy = names & set(sys.modules)
after = np.geterr(), jax.config.jax_enable_x64
print(json.dumps([before == after, sorted(heavy)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, []]
