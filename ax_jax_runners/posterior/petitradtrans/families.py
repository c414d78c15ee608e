"""Flows of one family each, under the names of the original."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.petitradtrans.flow import ConditionalFlowPosterior


class _OneFamily(ConditionalFlowPosterior):
    """A flow of one family, which needs not be named."""

    _family: ClassVar[str] = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments of `ConditionalFlowPosterior`.

        Raises:
            ConfigurationError: Another ``flow_family``.
        """
        bound = inspect.signature(ConditionalFlowPosterior).bind(*args, **kwargs)
        family = bound.arguments.setdefault("flow_family", self._family)
        if family != self._family:
            raise ConfigurationError(
                f"{type(self).__name__} has the flow family {self._family!r}, and flow_family is "
                f"{family!r}; leave it out, or use ConditionalFlowPosterior."
            )
        super().__init__(*bound.args, **bound.kwargs)


class ConditionalSplineFlowPosterior(_OneFamily):
    """`ConditionalFlowPosterior` with rational-quadratic splines."""

    _family: ClassVar[str] = "spline"


class ConditionalAutoregressiveFlowPosterior(_OneFamily):
    """`ConditionalFlowPosterior` with masked affine transforms."""

    _family: ClassVar[str] = "autoregressive"


class ConditionalNeuralAutoregressiveFlowPosterior(_OneFamily):
    """`ConditionalFlowPosterior` with masked monotone networks."""

    _family: ClassVar[str] = "neural_autoregressive"
