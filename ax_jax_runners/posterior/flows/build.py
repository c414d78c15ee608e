"""New flows."""

from __future__ import annotations

from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.configuration import FlowConfiguration
from ax_jax_runners.posterior.flows.affine import Affine
from ax_jax_runners.posterior.flows.autoregressive import MaskedAutoregressive
from ax_jax_runners.posterior.flows.base import Base
from ax_jax_runners.posterior.flows.conditioner import (
    Conditioner,
    NetworkPlan,
    draw_networks,
    layer_sizes,
)
from ax_jax_runners.posterior.flows.coupling import Coupling, SplineCoupling
from ax_jax_runners.posterior.flows.flow import ConditionalFlow
from ax_jax_runners.posterior.flows.neural_autoregressive import MonotoneNetwork
from ax_jax_runners.posterior.flows.regression import Regression
from ax_jax_runners.posterior.flows.spline import RationalQuadratic
from ax_jax_runners.posterior.flows.stack import Stack, layer_orders
from ax_jax_runners.posterior.flows.transformer import Transformer

_LAYERS = {
    "spline": SplineCoupling,
    "affine": Coupling,
    "autoregressive": MaskedAutoregressive,
    "neural_autoregressive": MaskedAutoregressive,
}


def build_flow(
    key: Array, configuration: FlowConfiguration, *, dimension: int, embedding_dim: int
) -> ConditionalFlow:
    """Return a new flow, which is the base distribution until it has been trained.

    Works under `jax.vmap` and `equinox.filter_vmap` over keys, which gives stacked flows.

    Args:
        key: Typed; decides the hidden layers of all networks.
        configuration: Of the flow.
        dimension: d, at least 1.
        embedding_dim: Length of the embeddings, at least 1.

    Raises:
        ConfigurationError: A dimension below 1, or a least slope of 1 and more, with which no
            monotone network can begin as the identity.
    """
    for name, value in (("dimension", dimension), ("embedding_dim", embedding_dim)):
        if value < 1:
            raise ConfigurationError(f"{name} of a flow is {value}; give at least 1.")
    transformer = _transformer(configuration)
    masked = _LAYERS[configuration.family] is MaskedAutoregressive
    kept = dimension if masked else dimension // 2
    moved = dimension if masked else dimension - kept
    hidden = {"width": configuration.width, "depth": configuration.depth}
    outputs = moved * transformer.parameters
    plan: list[NetworkPlan] = [
        (
            (configuration.layers,),
            layer_sizes(inputs=kept + embedding_dim, outputs=outputs, **hidden),
        )
    ]
    if configuration.base_affine:
        plan.append(((), layer_sizes(inputs=embedding_dim, outputs=2 * dimension, **hidden)))
    drawn = draw_networks(key, plan)
    shapes: dict[str, tuple[int, ...]] = {"shape": (dimension,), "cond_shape": (embedding_dim,)}
    layers = _LAYERS[configuration.family](
        conditioner=Conditioner(*drawn[0], kept, transformer.parameters, masked),
        transformer=transformer,
        **shapes,
    )
    orders = layer_orders(configuration.layers, dimension)
    base_affine = Conditioner(*drawn[1], 0, 2, False) if configuration.base_affine else None
    regression = Regression.new(dimension, embedding_dim) if configuration.regression else None
    return ConditionalFlow(
        regression=regression,
        stack=Stack(layers=layers, orders=orders, **shapes),
        base_affine=base_affine,
        base=Base(configuration.base, dimension),
        dimension=dimension,
        embedding_dim=embedding_dim,
        effective_family=configuration.family,
    )


def _transformer(configuration: FlowConfiguration) -> Transformer:
    if configuration.family == "spline":
        return RationalQuadratic(configuration.bins, configuration.bound)
    if configuration.family != "neural_autoregressive":
        return Affine()
    if configuration.min_slope >= 1.0:
        raise ConfigurationError(
            f"min_slope is {configuration.min_slope}; give less than 1, the slope of a new flow."
        )
    return MonotoneNetwork(
        configuration.transform_units,
        configuration.min_slope,
        configuration.min_residual,
        configuration.bisection_steps,
    )
