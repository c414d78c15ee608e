"""A simulator and the functions of its features as one function of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import EvaluationError
from ax_jax_runners.evaluation.features import simulate

FEATURES = "features"
OUTPUTS = "outputs"


@dataclass(frozen=True)
class FeaturesAndOutputs:
    """The composed function, equal to one composed of equal parts.

    Attributes:
        function: The simulator, of named parameters and, if stochastic, a key.
        kept: Names of the features to keep, or None for all that the simulator returns.
        outputs: Pairs of an output's name and its function of the features.
        dtype: "float64" or "float32", of features and outputs.
    """

    function: Callable[..., Any]
    kept: tuple[str, ...] | None
    outputs: tuple[tuple[str, Callable[[Any], Any]], ...]
    dtype: str

    def __call__(self, parameters: Mapping[str, Any], *key: Array) -> dict[str, Any]:
        """Return ``{"features": ..., "outputs": {name: scalar}}``; traceable.

        Raises:
            EvaluationError: The simulator or an output function raises, the simulator returns
                something other than numbers, or an output is not one real number.
        """
        features = simulate(self.function, (parameters, *key), names=self.kept, dtype=self.dtype)
        scalars = {name: self._scalar(name, fn, features) for name, fn in self.outputs}
        return {FEATURES: features, OUTPUTS: scalars}

    def _scalar(self, name: str, function: Callable[[Any], Any], features: Any) -> Array:
        try:
            value = function(features)
        except Exception as error:
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            raise EvaluationError(
                f"Output {name!r} raised {type(error).__name__}: {reason} (its function gets the "
                "features as traced JAX arrays: use jax.numpy and names that the simulator "
                "returns)."
            ) from error
        found = _unlike_a_real_scalar(value)
        if found:
            raise EvaluationError(
                f"Output {name!r} returned {found}; return one real number, "
                "such as a mean, a sum or a maximum of the features."
            )
        return jnp.asarray(value, dtype=self.dtype)


def _unlike_a_real_scalar(value: Any) -> str | None:
    """Say what a value is when it is not one real number."""
    if value is None:
        return "None"
    if not isinstance(value, (bool, int, float, complex, np.ndarray, np.generic, jax.Array)):
        text = repr(value)
        return f"a {type(value).__name__} ({text if len(text) <= 60 else text[:57] + '...'})"
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "biufcV":
        return f"values of the dtype {value.dtype}"
    kind = jnp.result_type(value)
    if jnp.issubdtype(kind, jnp.complexfloating):
        return "a complex number"
    if not (jnp.issubdtype(kind, jnp.number) or kind == jnp.bool_):
        return f"values of the dtype {kind}"
    shape = np.shape(value)
    return f"an array of the shape {shape}" if shape else None
