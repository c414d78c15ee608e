"""One simulation of a parameter vector, with named scalar outputs of its features."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import jax
import numpy as np
from jax import Array

from ax_jax_runners.errors import (
    AxJaxError,
    ConfigurationError,
    EvaluationError,
    FeaturesNotConfigured,
)
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.features import leaf_names, simulator_name
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.tasks.composition import FEATURES, OUTPUTS, FeaturesAndOutputs
from ax_jax_runners.tasks.failures import describe_failure
from ax_jax_runners.tasks.keys import replicate_keys
from ax_jax_runners.tasks.protocol import Progress, Scalar


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FeatureState:
    """A batch of B arms, before or after its only slice.

    Attributes:
        theta: Parameter vectors, (B, d) float64.
        keys: Typed PRNG keys, (B,).
        results: Features and outputs, each (B, replicates, ...); empty before the slice.
        valid: Whether every replicate is finite, (B,); None before the slice.
    """

    theta: np.ndarray
    keys: Array
    results: dict[str, np.ndarray] = field(default_factory=dict)
    valid: np.ndarray | None = None


@dataclass(frozen=True, init=False)
class FeatureTask:
    """Features of one parameter vector, and scalar outputs computed from them.

    Features and outputs are ONE compiled program: all arms of a batch go through one vmapped
    call, and nothing is read back between a simulation and its outputs.

    Attributes:
        evaluator: The simulator with its parameter space, chunk, dtype and other options.
        replicates: Evaluations of each arm of a stochastic simulator, each with its own key.
    """

    evaluator: FeatureEvaluator
    replicates: int
    _output_functions: tuple[tuple[str, Callable[[Any], Any]], ...]

    def __init__(
        self,
        evaluator: FeatureEvaluator,
        *,
        outputs: Mapping[str, Callable[[Any], Any]],
        replicates: int = 1,
    ) -> None:
        """Check that the parts fit; nothing is compiled yet.

        Args:
            evaluator: A `FeatureEvaluator` with a function.
            outputs: For each output's name a JAX function of the features, in the structure
                that ``evaluator.model_features`` gives for one theta, to one real scalar.
            replicates: At least 1; more than 1 needs a stochastic evaluator. The mean is
                reported with its standard error sd / sqrt(replicates) (sd with one degree of
                freedom less).

        Raises:
            ConfigurationError: No outputs, something that is not a function, or replicates of a
                deterministic simulator.
            FeaturesNotConfigured: The evaluator has no function.
        """
        if not isinstance(evaluator, FeatureEvaluator):
            raise ConfigurationError(
                f"FeatureTask was given a {type(evaluator).__name__}; "
                "wrap the simulator as FeatureEvaluator(function, space)."
            )
        if evaluator.fn is None:
            raise FeaturesNotConfigured(
                "The evaluator of a FeatureTask has no function; "
                "give FeatureEvaluator the simulator as its first argument."
            )
        _check_outputs(outputs)
        _check_replicates(replicates, evaluator.stochastic)
        object.__setattr__(self, "evaluator", evaluator)
        object.__setattr__(self, "replicates", int(replicates))
        object.__setattr__(self, "_output_functions", tuple(outputs.items()))

    @property
    def space(self) -> ParameterSpace:
        """The evaluator's parameter space."""
        return self.evaluator.space

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order given."""
        return tuple(name for name, _ in self._output_functions)

    @property
    def output_functions(self) -> dict[str, Callable[[Any], Any]]:
        """The outputs' functions by name."""
        return dict(self._output_functions)

    @functools.cached_property
    def joint_evaluator(self) -> FeatureEvaluator:
        """The evaluator of features and outputs together, with the same options."""
        given = self.evaluator
        simulator = cast("Callable[..., Any]", given.fn)
        function = FeaturesAndOutputs(
            simulator, given.features, self._output_functions, given.dtype
        )
        return replace(given, fn=function, features=None)

    def begin(self, arms: Sequence[Mapping[str, Scalar]], keys: Array) -> FeatureState:
        """Pack the arms; see `Task.begin`."""
        theta = np.empty((len(arms), self.space.dimension))
        for row, arm in zip(theta, arms, strict=True):
            row[:] = self.space.pack(arm)
        return FeatureState(theta, keys)

    def advance(self, state: FeatureState) -> FeatureState:
        """Evaluate every arm in one compiled call.

        Raises:
            EvaluationError: A simulator or an output that cannot be evaluated for any arm.
        """
        if state.valid is not None:
            return state
        batch, repeats = len(state.theta), self.replicates
        theta, keys = state.theta, None
        if self.evaluator.stochastic:
            theta = np.repeat(theta, repeats, axis=0)
            keys = replicate_keys(state.keys, repeats)
        try:
            evaluation = self.joint_evaluator.evaluate(theta, keys)
        except EvaluationError as error:
            # The evaluator names the composed function; what lies beneath names the culprit.
            cause = error.__cause__
            if isinstance(cause, AxJaxError):
                raise cause from None
            if isinstance(cause, jax.errors.JaxRuntimeError):
                raise self._runtime_error(cause, batch) from cause
            raise
        leaves = jax.tree.leaves(evaluation.features)
        results = {
            name: leaf.reshape(batch, repeats, *leaf.shape[1:])
            for name, leaf in zip(leaf_names(evaluation.features), leaves, strict=True)
        }
        valid = np.asarray(evaluation.valid.reshape(batch, repeats).all(axis=1))
        return FeatureState(state.theta, state.keys, results, valid)

    def progress(self, state: FeatureState) -> list[Progress]:
        """Report means, standard errors and feature arrays of every arm.

        The arrays have a leading replicate axis where there is more than one replicate.
        """
        if state.valid is None:
            return [Progress(0, False, {}) for _ in state.theta]
        scalars = {
            name: self._statistics(state.results[f"{OUTPUTS}.{name}"]) for name in self.outputs
        }
        features = {
            name.removeprefix(f"{FEATURES}."): leaf if self.replicates > 1 else leaf[:, 0]
            for name, leaf in state.results.items()
            if not name.startswith(f"{OUTPUTS}.")
        }
        reports = []
        for row, valid in enumerate(state.valid.tolist()):
            arrays = {name: np.asarray(leaf[row]) for name, leaf in features.items()}
            if valid:
                outputs = {name: values[row] for name, values in scalars.items()}
                reports.append(Progress(1, True, outputs, arrays))
            else:
                reports.append(
                    Progress(
                        1,
                        True,
                        {},
                        arrays,
                        describe_failure(
                            state.theta[row],
                            {n: v[row] for n, v in state.results.items()},
                            self.evaluator,
                        ),
                    )
                )
        return reports

    def _runtime_error(self, cause: object, batch: int) -> EvaluationError:
        lines = str(cause).strip().splitlines() or ["no message"]
        # A callback's own error is the last line of the traceback that JAX passes on.
        reason = lines[-1].strip() if any("Traceback" in line for line in lines) else lines[0]
        return EvaluationError(
            f"Simulator {simulator_name(self.evaluator.fn)} failed while it ran a batch of "
            f"{batch} arms: {reason}; if memory is short, lower the evaluator's capacity."
        )

    def _statistics(self, values: np.ndarray) -> list[tuple[float, float | None]]:
        """Mean and standard error of every arm from (B, replicates) values."""
        repeats = self.replicates
        if repeats == 1:
            error = None if self.evaluator.stochastic else 0.0
            return [(value, error) for value in values[:, 0].tolist()]
        values = values.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):  # bad arms are reported, not warned of
            means = values.mean(axis=1).tolist()
            errors = (values.std(axis=1, ddof=1) / math.sqrt(repeats)).tolist()
        return list(zip(means, errors, strict=True))


def _check_outputs(outputs: Any) -> None:
    if not isinstance(outputs, Mapping) or not outputs:
        raise ConfigurationError(
            f"FeatureTask needs outputs, a mapping from names to functions; found {outputs!r}."
        )
    for name, function in outputs.items():
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"Output name {name!r} is not a text; name every output.")
        if not callable(function):
            raise ConfigurationError(
                f"Output {name!r} is a {type(function).__name__}; "
                "give a JAX function of the features that returns one scalar."
            )


def _check_replicates(replicates: Any, stochastic: bool) -> None:
    if isinstance(replicates, bool) or not isinstance(replicates, int) or replicates < 1:
        raise ConfigurationError(
            f"replicates is {replicates!r}; give a whole number of at least 1."
        )
    if replicates > 1 and not stochastic:
        raise ConfigurationError(
            f"{replicates} replicates of a deterministic simulator are all equal; "
            "drop replicates, or say stochastic=True and take a key as second argument."
        )
