"""Generation strategies by name: how the next arms are chosen.

``sobol`` is quasi-random throughout; ``fast`` and ``quality`` follow a quasi-random start with
BoTorch (a Gaussian process with Ax's defaults, or a fully Bayesian one with input warping);
``auto`` is ``fast``.
"""

from __future__ import annotations

import math
from typing import Any

from ax.adapter.registry import Generators
from ax.api.utils.generation_strategy_dispatch import choose_generation_strategy
from ax.api.utils.structs import GenerationStrategyDispatchStruct
from ax.core.parameter import ChoiceParameter, Parameter, ParameterType, RangeParameter
from ax.core.search_space import SearchSpace
from ax.generation_strategy.generation_node import GenerationNode
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.generation_strategy.generator_spec import GeneratorSpec

from ax_jax_runners.errors import ConfigurationError

# A point is missed by so many quasi-random draws with a probability of 1e-13.
_DRAWS_PER_POINT, _FEWEST_DRAWS, _MOST_DRAWS = 30, 200, 10_000

NAMES = ("auto", "sobol", "fast", "quality")


def check_generation(generation: str | GenerationStrategy) -> None:
    """Refuse what is no way of generating.

    Raises:
        ConfigurationError: Neither one of `NAMES` nor an Ax strategy.
    """
    if not isinstance(generation, GenerationStrategy) and generation not in NAMES:
        raise ConfigurationError(
            f"Generation {generation!r} is not known; choose {', '.join(NAMES)}, or pass an Ax "
            "GenerationStrategy."
        )


def build_strategy(
    generation: str | GenerationStrategy,
    *,
    search_space: SearchSpace,
    batch_size: int,
    seed: int,
) -> GenerationStrategy:
    """Make a fresh generation strategy, or a fresh copy of the given one.

    Args:
        generation: One of `NAMES`, or an Ax strategy.
        search_space: Decides the length of the quasi-random start and whether it must avoid
            repeated points.
        batch_size: Trials generated together; the start is a whole number of batches.
        seed: Seed of the quasi-random sequence.

    Raises:
        ConfigurationError: As `check_generation`.
    """
    check_generation(generation)
    if isinstance(generation, GenerationStrategy):
        return generation.clone_reset()
    start = _start_length(search_space, batch_size)
    method = {"auto": "fast", "sobol": "random_search"}.get(generation, generation)
    strategy = choose_generation_strategy(
        GenerationStrategyDispatchStruct(
            method=method,  # pyright: ignore[reportArgumentType]
            initialization_budget=start,
            initialize_with_center=False,
            use_existing_trials_for_initialization=False,
            allow_exceeding_initialization_budget=False,
            initialization_random_seed=seed,
        )
    )
    nodes = [
        _quasi_random(node, search_space, seed) if is_quasi_random(node) else node
        for node in strategy._nodes
    ]
    return GenerationStrategy(name=f"ax-jax-{generation}", nodes=nodes)


def is_quasi_random(node: GenerationNode) -> bool:
    """Whether the node draws points without looking at data."""
    return all(spec.generator_enum == Generators.SOBOL for spec in node.generator_specs)


def _quasi_random(node: GenerationNode, search_space: SearchSpace, seed: int) -> GenerationNode:
    """A Sobol node that compares with earlier arms only where a point can come twice."""
    repeats = not _has_continuous(search_space)
    spec = GeneratorSpec(
        generator_enum=Generators.SOBOL,
        generator_kwargs={"seed": seed, "deduplicate": repeats},
        generator_gen_kwargs=_search_for_new_points(search_space) if repeats else {},
    )
    return GenerationNode(
        name=node.name,
        generator_specs=[spec],
        transition_criteria=node.transition_criteria,
        pausing_criteria=node.pausing_criteria,
        should_deduplicate=repeats,
        suggested_experiment_status=node.suggested_experiment_status,
    )


def _search_for_new_points(search_space: SearchSpace) -> dict[str, Any]:
    """Bound the draws after which all points count as tried; Ax's 10,000 take a minute."""
    points = math.prod(_count(parameter) for parameter in search_space.parameters.values())
    draws = min(max(_DRAWS_PER_POINT * points, _FEWEST_DRAWS), _MOST_DRAWS)
    return {"model_gen_options": {"max_rs_draws": draws}}


def _count(parameter: Parameter) -> int:
    if isinstance(parameter, ChoiceParameter):
        return len(parameter.values)
    if isinstance(parameter, RangeParameter):
        return int(parameter.upper) - int(parameter.lower) + 1
    return 1


def _start_length(search_space: SearchSpace, batch_size: int) -> int:
    wanted = max(5, 2 * len(search_space.tunable_parameters))
    return batch_size * math.ceil(wanted / batch_size)


def _has_continuous(search_space: SearchSpace) -> bool:
    return any(
        isinstance(parameter, RangeParameter) and parameter.parameter_type is ParameterType.FLOAT
        for parameter in search_space.parameters.values()
    )
