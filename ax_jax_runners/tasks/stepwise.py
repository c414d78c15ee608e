"""A task of many slices, written as three JAX functions of one arm."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.tasks.arm_functions import ArmFunctions
from ax_jax_runners.tasks.arm_programs import ArmPrograms
from ax_jax_runners.tasks.protocol import Progress, Scalar


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepwiseState:
    """A batch of B arms between two slices; the arm axis is first on every leaf.

    Attributes:
        arms: What the functions carry on: NumPy arrays and typed keys.
        report: What they reported last: "step" (B,), "done" (B,), "outputs" (mean (B,), error
            (B,), NaN where it is not known) and "arrays" by name.
    """

    arms: Any
    report: dict[str, Any]


@dataclass(frozen=True, init=False, eq=False)
class StepwiseTask:
    """A long computation in bounded slices, from functions of one arm without a batch axis.

    They are vmapped and compiled for ``chunk`` arms at once, whatever the batch: an arm has the
    same bits alone, in any company and after any interruption. An arm that is done stays as it is.

    Example::

        def begin(parameters, key):
            return {"x": parameters["x0"], "rate": parameters["rate"], "t": 0, "key": key}

        def advance(state):
            return {**state, "x": state["x"] * (1 - state["rate"]), "t": state["t"] + 1}

        def report(state):
            return {"step": state["t"], "done": state["t"] >= 100, "outputs": {"x": state["x"]}}

        task = StepwiseTask(space, outputs=["x"], begin=begin, advance=advance, report=report)

    Two tasks are equal when their functions and all else are; bound methods of equal objects and
    partials with equal arguments count as equal functions.

    Attributes:
        space: What an arm gives.
        outputs: Names of the scalars that are reported.
        chunk: Arms computed together. Part of a result's identity: another chunk may change the
            last bit.
        dtype: "float64" or "float32", of parameters and outputs, and whether 64-bit numbers are
            on in the functions.
        functions: The three functions.
    """

    space: ParameterSpace
    outputs: tuple[str, ...]
    chunk: int
    dtype: str
    functions: ArmFunctions

    def __init__(
        self,
        space: ParameterSpace,
        *,
        outputs: Sequence[str],
        begin: Callable[..., Any],
        advance: Callable[..., Any],
        report: Callable[..., Any],
        chunk: int = 8,
        dtype: str = "float64",
    ) -> None:
        """Check that the parts fit; nothing is traced or compiled yet.

        Args:
            space: What an arm gives; at least one parameter is free.
            outputs: Names of the scalars that ``report`` gives.
            begin: (dict of parameters, typed PRNG key) -> state before any work, a pytree of
                arrays, numbers and typed keys. All randomness must come from the key: keep it in
                the state and fold a counter into it in every slice.
            advance: state -> state after one bounded slice, of the same structure, shapes and
                dtypes.
            report: state -> {"step": whole number that grows with every slice, "done": boolean,
                "outputs": {name: mean or (mean, standard error)}}, and optionally "arrays" to keep
                when the arm is done. An error that is not given, or NaN, is not known: Ax infers
                the noise. Give 0.0 where there is none. A mean that is not finite is not known
                yet, and fails an arm that is done.
            chunk: Arms computed together, at least 1.
            dtype: "float64" or "float32".

        Raises:
            ConfigurationError: An argument that cannot be used.
            ParameterError: The space has no free parameter.
        """
        if not isinstance(space, ParameterSpace):
            raise ConfigurationError(
                f"StepwiseTask was given a {type(space).__name__}; give a ParameterSpace first."
            )
        if space.dimension == 0:
            raise ParameterError("The space has no free parameter; leave at least one free.")
        names = _output_names(outputs)
        for role, function in (("begin", begin), ("advance", advance), ("report", report)):
            if not callable(function):
                raise ConfigurationError(
                    f"{role} is a {type(function).__name__}; give a JAX function of one arm."
                )
        if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
            raise ConfigurationError(f"chunk is {chunk!r}; give a whole number of at least 1.")
        if dtype not in ("float32", "float64"):
            raise ConfigurationError(f"dtype is {dtype!r}; give 'float64' or 'float32'.")
        given = ArmFunctions(begin, advance, report, space, names, dtype)
        for name, value in (
            ("space", space),
            ("outputs", names),
            ("chunk", chunk),
            ("dtype", dtype),
            ("functions", given),
        ):
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StepwiseTask):
            return NotImplemented
        return self._contents() == other._contents()

    def __hash__(self) -> int:
        return hash((self.outputs, self.chunk, self.dtype))

    def __getstate__(self) -> dict[str, Any]:
        # Compiled programs are rebuilt on the other side.
        return {name: value for name, value in vars(self).items() if name != "programs"}

    @functools.cached_property
    def programs(self) -> ArmPrograms:
        """The compiled programs."""
        return ArmPrograms(self.functions, self.chunk)

    def begin(self, arms: Sequence[Mapping[str, Scalar]], keys: Array) -> StepwiseState:
        """Make the state of a batch of at least one arm; see `Task.begin`.

        Raises:
            ParameterError: An arm that does not fit the space.
            EvaluationError: A function that cannot be traced, or returns what it should not.
        """
        theta = np.array([self.space.pack(arm) for arm in arms]).astype(self.dtype)
        return StepwiseState(*self.programs.first(theta, keys))

    def advance(self, state: StepwiseState) -> StepwiseState:
        """Do one slice of every arm that is not done.

        Raises:
            EvaluationError: The functions failed for these arms.
        """
        return StepwiseState(*self.programs.next(state.arms, state.report))

    def progress(self, state: StepwiseState) -> list[Progress]:
        """Say what was reported of every arm; arrays of those that are done."""
        report = state.report
        scalars = {
            name: list(zip(mean.tolist(), map(_known, sem.tolist()), strict=True))
            for name, (mean, sem) in report["outputs"].items()
        }
        return [
            Progress(
                step,
                done,
                {name: values[row] for name, values in scalars.items()},
                {name: leaf[row] for name, leaf in report["arrays"].items()} if done else {},
            )
            for row, (step, done) in enumerate(
                zip(report["step"].tolist(), report["done"].tolist(), strict=True)
            )
        ]

    def _contents(self) -> tuple[Any, ...]:
        given = self.functions
        functions = tuple(map(_by_value, (given.begin, given.advance, given.report)))
        return self.space, self.outputs, self.chunk, self.dtype, functions


def _output_names(outputs: Any) -> tuple[str, ...]:
    names = () if isinstance(outputs, str) else tuple(outputs)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f"StepwiseTask needs outputs, a list of names; found {outputs!r}.")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"outputs {list(names)} names one twice; name each once.")
    return names


def _by_value(function: Any) -> Any:
    """Return what a function is compared by: Python compares methods and partials by identity."""
    owner = getattr(function, "__self__", None)
    if owner is not None and hasattr(function, "__func__"):
        return function.__func__, owner
    if isinstance(function, functools.partial):
        return _by_value(function.func), function.args, function.keywords
    return function


def _known(error: float) -> float | None:
    return None if math.isnan(error) else error
