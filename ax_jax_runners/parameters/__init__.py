"""Parameters with priors, bounds, bijectors and linear constraints; one module maps them to Ax."""

from __future__ import annotations

from ax_jax_runners.parameters.bijector import Bijector
from ax_jax_runners.parameters.bijectors import (
    Identity,
    Interval,
    Log2,
    Logit,
    MemoryDecay,
    Squareplus,
)
from ax_jax_runners.parameters.constraints import LinearConstraint
from ax_jax_runners.parameters.designs import Design, Linear, Logarithmic, product_design
from ax_jax_runners.parameters.ensembles import (
    initialise,
    stack,
    stack_batches,
    unstack,
    vmap_axes,
)
from ax_jax_runners.parameters.exact_decimal import fixed_point, fixed_point_simplex
from ax_jax_runners.parameters.heat_map import plot_heat_map
from ax_jax_runners.parameters.parameter import Parameter
from ax_jax_runners.parameters.space import ParameterSpace
from ax_jax_runners.parameters.space_filling import latin_hypercube_design, sobol_design

__all__ = [
    "Bijector",
    "Design",
    "Identity",
    "Interval",
    "Linear",
    "LinearConstraint",
    "Log2",
    "Logarithmic",
    "Logit",
    "MemoryDecay",
    "Parameter",
    "ParameterSpace",
    "Squareplus",
    "fixed_point",
    "fixed_point_simplex",
    "initialise",
    "latin_hypercube_design",
    "plot_heat_map",
    "product_design",
    "sobol_design",
    "stack",
    "stack_batches",
    "unstack",
    "vmap_axes",
]
