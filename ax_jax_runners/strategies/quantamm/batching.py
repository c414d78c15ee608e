"""Parameter sets put together along a leading axis, taken apart again, and mapped over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters import stack_batches, unstack


def combine_param_combinations(
    param_combinations: Sequence[Mapping[str, Any]], n_parameter_sets: int
) -> list[dict[str, Any]]:
    """Return dictionaries of parameters stacked so many at a time; the last batch has the rest.

    Everything nested, subsidiary parameters as well, is stacked leaf by leaf.

    Raises:
        ParameterError: Dictionaries of different structures or shapes, or no number of at least 1.
    """
    return stack_batches(param_combinations, size=n_parameter_sets)


def split_param_combinations(
    param_combinations: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the single sets of dictionaries of stacked parameters, all in one list.

    Raises:
        ParameterError: A dictionary without arrays, or whose arrays differ in their leading axis.
    """
    return [single for batch in param_combinations for single in unstack(batch)]


def make_vmap_in_axes_dict(
    input_dict: Mapping[str, Any],
    in_axes: Any,
    keys_to_recur_on: Iterable[str],
    keys_with_no_vamp: Iterable[str] = (),
    n_repeats_of_recurred: int = 0,
) -> dict[str, Any]:
    """Return ``in_axes`` of `jax.vmap` for a dictionary of parameters.

    Args:
        input_dict: The parameters.
        in_axes: The axis of what is mapped.
        keys_to_recur_on: Keys with lists of dictionaries; their axes have the structure of what
            is there.
        keys_with_no_vamp: Keys, at any depth, that are shared rather than mapped: None.
        n_repeats_of_recurred: How many nested dictionaries there are; 0: as many as there are.

    Raises:
        ParameterError: A key that is nowhere, or another number of nested dictionaries.
    """
    recurred, shared = set(keys_to_recur_on), set(keys_with_no_vamp)
    unknown = sorted((recurred | shared) - _keys(input_dict, recurred))
    if unknown:
        raise ParameterError(
            f"{unknown[0]!r} is no key of the parameters; they have {', '.join(input_dict)}."
        )
    for key in (recurred - shared) & set(input_dict):
        found = len(input_dict[key])
        if n_repeats_of_recurred not in (0, found):
            raise ParameterError(
                f"n_repeats_of_recurred is {n_repeats_of_recurred}, and {key!r} holds {found}; "
                "give the number that it holds."
            )
    return _axes(input_dict, in_axes, recurred, shared)


def _axes(
    params: Mapping[str, Any], in_axes: Any, recurred: set[str], shared: set[str]
) -> dict[str, Any]:
    axes: dict[str, Any] = {}
    for key, value in params.items():
        if key in shared:
            axes[key] = None
        elif key in recurred:
            axes[key] = [_axes(nested, in_axes, recurred, shared) for nested in value]
        else:
            axes[key] = in_axes
    return axes


def _keys(params: Mapping[str, Any], recurred: set[str]) -> set[str]:
    nested = [each for key in recurred & set(params) for each in params[key]]
    return set(params).union(*(_keys(each, recurred) for each in nested))
