"""Test functions with a known optimum, as built-in problems.

Outputs of one objective: ``value``, the observation, whose standard error is the standard deviation
of the noise; constraints ``c1``, ``c2``, ... (at least 0 where they hold); ``simple_regret``, the
true value less the optimum. Outputs of several objectives: each by its name, and ``hypervolume``,
what the arm alone dominates of the box below the reference point. Constraints, regret and
hypervolume are exact, whatever the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ax_jax_runners.problems import synthetic_constrained as constrained
from ax_jax_runners.problems import synthetic_multiobjective as several
from ax_jax_runners.problems import synthetic_single as single
from ax_jax_runners.problems.base import Problem
from ax_jax_runners.problems.synthetic_task import SyntheticFunction, SyntheticTask, synthetic_task

_NOISE = {
    "noise_sd": "standard deviation of Gaussian noise on each objective: a number, or "
    "{base = b, slope = s} for b + s * |true objective|; default 0"
}


def _problem(
    name: str,
    summary: str,
    make: Callable[..., SyntheticFunction],
    options: Mapping[str, str] | None = None,
) -> Problem:
    def build(*, noise_sd: Any = 0.0, **given: Any) -> SyntheticTask:
        return synthetic_task(make(**given), noise_sd)

    function = make()
    return Problem(
        name=name,
        summary=summary,
        build=build,
        objective=", ".join(f"-{output}" for output in function.objectives),
        outcome_constraints=tuple(f"{output} >= 0" for output in function.constraints),
        options={**(options or {}), **_NOISE},
        reference=function.optimum,
        reference_point=function.reference_point,
        max_hypervolume=function.max_hypervolume,
    )


def _free(name: str, summary: str, make: Callable[..., SyntheticFunction]) -> Problem:
    return _problem(name, summary, make, {"dimension": "number of parameters; default 2"})


_ALL = (
    _problem("branin", "Branin: 2 parameters, 3 equal minima", single.branin),
    _problem("hartmann3", "Hartmann: 3 parameters, 4 minima", single.hartmann3),
    _problem("hartmann6", "Hartmann: 6 parameters, 6 minima", single.hartmann6),
    _free("ackley", "Ackley: a plain of small minima around a deep hole", single.ackley),
    _free("levy", "Levy: many minima in a bowl", single.levy),
    _free("rosenbrock", "Rosenbrock: a long, curved, flat valley", single.rosenbrock),
    _free("rastrigin", "Rastrigin: a regular lattice of minima in a bowl", single.rastrigin),
    _free("griewank", "Griewank: thousands of shallow minima in a wide bowl", single.griewank),
    _free("michalewicz", "Michalewicz: steep, narrow valleys in a plain", single.michalewicz),
    _free(
        "styblinski-tang",
        "Styblinski-Tang: two minima along each parameter, of unequal depth",
        single.styblinski_tang,
    ),
    _problem("gardner", "Gardner: 2 parameters, 1 constraint", constrained.gardner),
    _problem(
        "pressure-vessel",
        "Cost of a pressure vessel: 4 parameters, 4 constraints",
        constrained.pressure_vessel,
    ),
    _problem("branin-currin", "Branin and Currin: 2 objectives", several.branin_currin),
    _problem(
        "dtlz2",
        "DTLZ2: 2 or more objectives with a concave front",
        several.dtlz2,
        {
            "dimension": "number of parameters, more than objectives; default 6",
            "objectives": "number of objectives; default 2 (with more, name all of them in the "
            "campaign's objective)",
        },
    ),
    _problem(
        "zdt1",
        "ZDT1: 2 objectives with a convex front",
        several.zdt1,
        {"dimension": "number of parameters, at least 2; default 6"},
    ),
    _problem(
        "vehicle-safety",
        "Crash-worthiness of a vehicle: 5 parameters, 3 objectives",
        several.vehicle_safety,
    ),
)
PROBLEMS: Mapping[str, Problem] = {problem.name: problem for problem in _ALL}
