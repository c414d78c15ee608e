"""What a user writes of a stepwise computation: functions of ONE arm, checked while traced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import EvaluationError
from ax_jax_runners.evaluation.features import reason, simulator_name
from ax_jax_runners.parameters import ParameterSpace

_REPORTED = ("step", "done", "outputs", "arrays")
_KINDS: dict[str, tuple[Any, ...]] = {
    "one boolean": (jnp.bool_,),
    "one whole number": (jnp.integer,),
    "one real number": (jnp.bool_, jnp.integer, jnp.floating),
}


@dataclass(frozen=True)
class ArmFunctions:
    """What a user writes of a stepwise computation, with what it is called on.

    Attributes:
        begin: (parameters by name, typed key) -> state, a pytree of arrays and typed keys.
        advance: state -> state of the same structure, shapes and dtypes.
        report: state -> {"step", "done", "outputs"[, "arrays"]}.
        space: What an arm gives.
        outputs: Names that every report must have.
        dtype: "float64" or "float32".
    """

    begin: Callable[..., Any]
    advance: Callable[..., Any]
    report: Callable[..., Any]
    space: ParameterSpace
    outputs: tuple[str, ...]
    dtype: str

    def first(self, theta: Array, key: Array) -> tuple[Any, dict[str, Any]]:
        """Return the state of one arm before any work, and its report; traceable.

        Args:
            theta: (d,).
            key: A typed PRNG key.

        Raises:
            EvaluationError: A function raises, or returns what it should not.
        """
        state = _called("begin", self.begin, self.space.traced(theta), key)
        leaves, tree = jax.tree_util.tree_flatten_with_path(state)
        arrays = [_array(self.begin, path, leaf) for path, leaf in leaves]
        state = jax.tree.unflatten(tree, arrays)
        return state, self._report(state)

    def next(self, state: Any, report: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return state and report of one arm after one slice more, or the same if it is done.

        Raises:
            EvaluationError: A function raises, or returns what it should not.
        """
        advanced = self._same_kind(state, _called("advance", self.advance, state))
        reported = self._report(advanced)

        def chosen(old: Any, new: Any) -> Any:
            return jax.tree.map(lambda a, b: jax.lax.select(report["done"], a, b), old, new)

        return chosen(state, advanced), chosen(report, reported)

    def _same_kind(self, state: Any, advanced: Any) -> Any:
        where = f"The advance function {simulator_name(self.advance)}"
        before, tree = jax.tree_util.tree_flatten_with_path(state)
        after, found = jax.tree_util.tree_flatten_with_path(advanced)
        if tree != found:
            raise EvaluationError(
                f"{where} returns the structure {found}, where begin gave {tree}; "
                "return a state of the same structure."
            )
        arrays = []
        for (path, old), (_, leaf) in zip(before, after, strict=True):
            new = _array(self.advance, path, leaf)
            if (new.shape, new.dtype) != (old.shape, old.dtype):
                raise EvaluationError(
                    f"{where} returns state{jax.tree_util.keystr(path)} as {_kind(new)}, where it "
                    f"was given {_kind(old)}; return the same shape and dtype."
                )
            arrays.append(new)
        return jax.tree.unflatten(tree, arrays)

    def _report(self, state: Any) -> dict[str, Any]:
        where = f"The report function {simulator_name(self.report)}"
        found = _called("report", self.report, state)
        if not isinstance(found, Mapping) or not {"step", "done", "outputs"} <= set(found):
            shown = sorted(found, key=str) if isinstance(found, Mapping) else type(found).__name__
            raise EvaluationError(
                f"{where} returns {shown}; return a dict with 'step', 'done' and 'outputs'."
            )
        unknown = [key for key in found if key not in _REPORTED]
        outputs, arrays = found["outputs"], found.get("arrays", {})
        if unknown or not isinstance(outputs, Mapping) or not isinstance(arrays, Mapping):
            wrong = unknown[0] if unknown else "outputs or arrays"
            raise EvaluationError(
                f"{where} returns {wrong!r} that cannot be read; its keys are "
                f"{', '.join(map(repr, _REPORTED))}, the last two of them dicts."
            )
        if set(outputs) != set(self.outputs):
            raise EvaluationError(
                f"{where} gives the outputs {', '.join(map(repr, outputs)) or 'none'}; "
                f"the task has {', '.join(map(repr, self.outputs))}."
            )
        return {
            "step": self._scalar(where, "step", found["step"], "one whole number", int),
            "done": self._scalar(where, "done", found["done"], "one boolean", bool),
            "outputs": {name: self._output(where, name, outputs[name]) for name in self.outputs},
            "arrays": {str(k): _array(self.report, (), v) for k, v in sorted(arrays.items())},
        }

    def _output(self, where: str, name: str, value: Any) -> tuple[Array, Array]:
        """Return mean and standard error; an error that is not given is NaN."""
        mean, sem = value if isinstance(value, tuple) and len(value) == 2 else (value, np.nan)
        label = f"output {name!r}"
        return (
            self._scalar(where, label, mean, "one real number", self.dtype),
            self._scalar(where, f"the error of {label}", sem, "one real number", self.dtype),
        )

    def _scalar(self, where: str, label: str, value: Any, wanted: str, dtype: Any) -> Array:
        try:
            array = jnp.asarray(value)
        except (TypeError, ValueError):
            array = None
        kinds = _KINDS[wanted]
        if array is None or array.shape or not any(jnp.issubdtype(array.dtype, k) for k in kinds):
            found = repr(value) if array is None else _kind(array)
            raise EvaluationError(f"{where}: {label} is {found}; return {wanted}.")
        return array.astype(dtype)


def _called(role: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise EvaluationError(
            f"The {role} function {simulator_name(function)} raised {type(error).__name__}: "
            f"{reason(error)} (it is called with traced JAX scalars: use jax.numpy and no Python "
            "branches on their values)."
        ) from error


def _array(function: Callable[..., Any], path: Any, leaf: Any) -> Array:
    try:
        if isinstance(leaf, (str, bytes)):
            raise TypeError
        array = jnp.asarray(leaf)
    except (TypeError, ValueError) as error:
        raise EvaluationError(
            f"The function {simulator_name(function)} returns {leaf!r} at "
            f"{jax.tree_util.keystr(path) or 'its result'}; return numbers, arrays or typed keys."
        ) from error
    # A Python number has a weak type at the first slice only; from here on it has a dtype.
    return array if is_key(array) else array.astype(array.dtype)


def _kind(array: Array) -> str:
    return f"{array.dtype} {array.shape}"


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed PRNG keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
