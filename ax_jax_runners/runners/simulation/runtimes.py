"""How long trials run on a simulated cluster: drawn, computed from the parameters, or replayed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np
from ax.core.base_trial import BaseTrial

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters.distributions import (
    describe_distribution,
    exact_copy,
    family,
    support_bounds,
)
from ax_jax_runners.runners.sentences import describe_error
from ax_jax_runners.runners.simulation.draws import HIGH, LOW, RUNTIME, uniform
from ax_jax_runners.runners.simulation.functions import (
    FunctionResolver,
    UnboundFunction,
    encode_function,
)

#: None, seconds, a numpyro distribution, a function of the parameters, or recorded seconds.
Runtime: TypeAlias = Any
Arms: TypeAlias = Sequence[Mapping[str, Any]]

_BLOCK = 256
_GIVE = (
    "give seconds, recorded seconds by trial index, a numpyro distribution, or a function of "
    "the parameters"
)


class RuntimeModel(Protocol):
    """Says how long a trial runs."""

    def seconds(self, index: int, arms: Arms) -> float:
        """Return the runtime of a trial.

        Args:
            index: The trial's index.
            arms: Parameters of its arms, at least one.

        Raises:
            ConfigurationError: There is none for any arms.
        """
        ...


def check_runtime(runtime: Runtime) -> Runtime:
    """Return a runtime as it is kept: numbers as floats, sequences as tuples.

    Raises:
        ConfigurationError: It is nothing that a runtime can be.
    """
    if runtime is None or isinstance(runtime, UnboundFunction):
        return runtime
    runtime = runtime.tolist() if isinstance(runtime, (np.ndarray, np.generic)) else runtime
    if isinstance(runtime, (bool, int, float)):
        return _checked("runtime", runtime)
    if isinstance(runtime, Mapping):
        return {_index(k): _checked(f"runtime[{k!r}]", v) for k, v in runtime.items()}
    if isinstance(runtime, (list, tuple)):
        if not runtime:
            raise ConfigurationError(f"runtime is empty; {_GIVE}.")
        return tuple(_checked(f"runtime[{i}]", value) for i, value in enumerate(runtime))
    if _is_distribution(runtime):
        return _check_distribution(runtime)
    if not callable(runtime) or isinstance(runtime, type):
        raise ConfigurationError(f"runtime is {runtime!r}; {_GIVE}.")
    return runtime


def encode_runtime(runtime: Runtime) -> Any:
    """Return a checked runtime as plain JSON."""
    if runtime is None or isinstance(runtime, float):
        return runtime
    if isinstance(runtime, tuple):
        return list(runtime)
    if isinstance(runtime, Mapping):
        return {"recorded": {str(index): seconds for index, seconds in runtime.items()}}
    if _is_distribution(runtime):
        return describe_distribution(runtime)
    return encode_function(runtime)


def decode_runtime(record: Any, functions: FunctionResolver) -> Runtime:
    """Return the runtime that `encode_runtime` wrote.

    Raises:
        ConfigurationError: The record is damaged, or names a distribution that cannot be built.
    """
    if not isinstance(record, Mapping):
        return record
    if "recorded" in record:
        return dict(record["recorded"])
    if "distribution" in record:
        return _build(record)
    return functions.resolve(record)


def runtime_model(runtime: Runtime, seed: int) -> RuntimeModel:
    """Return what says how long trials run.

    Args:
        runtime: A checked runtime; None: uniform from 1 to 5 s.
        seed: Root of all draws.

    Raises:
        RunnerNotBound: A function that was not given again on load.
        RunnerTaskChanged: It was given, but is no longer the same.
    """
    if isinstance(runtime, UnboundFunction):
        runtime.raise_unbound()
    if runtime is None:
        return _Uniform(seed)
    if isinstance(runtime, (float, tuple, Mapping)):
        return _Recorded((runtime,) if isinstance(runtime, float) else runtime)
    return _Drawn(runtime, seed) if _is_distribution(runtime) else _Computed(runtime)


class _Uniform:
    def __init__(self, seed: int) -> None:
        self._seed = seed

    def seconds(self, index: int, arms: Arms) -> float:
        return LOW + (HIGH - LOW) * uniform(self._seed, RUNTIME, index)


class _Recorded:
    """Replays seconds by trial index; a sequence starts again after its last one."""

    def __init__(self, seconds: tuple[float, ...] | Mapping[int, float]) -> None:
        self._seconds = seconds

    def seconds(self, index: int, arms: Arms) -> float:
        if isinstance(self._seconds, tuple):
            return self._seconds[index % len(self._seconds)]
        if index not in self._seconds:
            raise ConfigurationError(
                f"runtime has no recorded runtime of trial {index}; add it, or give a sequence, "
                "which starts again after its last number."
            )
        return self._seconds[index]


class _Drawn:
    """Draws from a distribution with the key ``fold_in(key(seed), index)``, block by block.

    One compiled program for a block of trials, because drawing eagerly would cost more than many
    a simulation.
    """

    def __init__(self, distribution: Any, seed: int) -> None:
        self._seed = np.uint32(seed)
        self._blocks: dict[int, np.ndarray] = {}

        def draw(index: jax.Array, root: jax.Array) -> jax.Array:
            key = jax.random.key(root, impl="threefry2x32")
            return distribution.sample(jax.random.fold_in(key, index))

        self._draw = jax.jit(jax.vmap(draw, in_axes=(0, None)))

    def seconds(self, index: int, arms: Arms) -> float:
        block, place = divmod(index, _BLOCK)
        if block not in self._blocks:
            indices = np.arange(block * _BLOCK, (block + 1) * _BLOCK, dtype=np.uint32)
            with jax.enable_x64(True):
                self._blocks[block] = np.asarray(self._draw(indices, self._seed), float)
        return float(self._blocks[block][place])


class _Computed:
    """Asks a function of the parameters; arms of one trial run side by side."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def seconds(self, index: int, arms: Arms) -> float:
        # Whatever the process computes in, the same parameters give the same bits.
        with jax.enable_x64(True):
            found = [float(np.asarray(self._function(dict(arm)))) for arm in arms]
        # A number that is not one must not be hidden by a larger one.
        return math.nan if any(map(math.isnan, found)) else max(found)


def sampled(model: RuntimeModel, trial: BaseTrial) -> float | str:
    """Return the runtime of a trial in seconds, or one sentence on why it has none.

    Raises:
        ConfigurationError: A recorded runtime is missing.
    """
    try:
        seconds = model.seconds(trial.index, [arm.parameters for arm in trial.arms])
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        return f"The runtime function failed: {describe_error(error)}"
    if not 0 < seconds < math.inf:
        return f"The runtime is {seconds} s; it must be finite and above 0."
    return seconds


def _checked(name: str, value: Any) -> float:
    try:
        seconds = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigurationError(f"{name} is {value!r}; give finite seconds above 0.")
    return seconds


def _index(key: Any) -> int:
    try:
        return int(key)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"runtime has the key {key!r}; give recorded runtimes by trial index."
        ) from error


def _is_distribution(value: Any) -> bool:
    # numpyro is imported by whoever made the distribution.
    return any(
        kind.__name__ == "Distribution" and kind.__module__.startswith("numpyro.")
        for kind in type(value).__mro__
    )


def _check_distribution(distribution: Any) -> Any:
    if distribution.batch_shape != () or distribution.event_shape != ():
        raise ConfigurationError(
            f"runtime is a {family(distribution)} of vectors; give a distribution of one number."
        )
    lower, _ = support_bounds(distribution, "runtime")
    if lower < 0:
        raise ConfigurationError(
            f"runtime is a {family(distribution)}, which can be negative; give a distribution of "
            "positive numbers, such as LogNormal or Gamma."
        )
    copy = exact_copy(distribution)
    try:
        is_stored = describe_distribution(_build(describe_distribution(copy))) == (
            describe_distribution(copy)
        )
    except ConfigurationError:
        is_stored = False
    if not is_stored:
        raise ConfigurationError(
            f"runtime is a {family(distribution)}, which cannot be built again from its "
            "arguments when the runner is loaded; give one of numpyro's own distributions, made "
            "of numbers."
        )
    return copy


def _build(record: Any) -> Any:
    """Return the distribution that `describe_distribution` described."""
    from numpyro import distributions

    try:
        kind = getattr(distributions, record["distribution"])
        if not (isinstance(kind, type) and issubclass(kind, distributions.Distribution)):
            raise TypeError(f"{record['distribution']} is not a distribution")
        arguments = {
            name: _build(value) if isinstance(value, Mapping) else value
            for name, value in record["arguments"].items()
        }
        return exact_copy(kind(**arguments))
    except Exception as error:
        raise ConfigurationError(
            f"The runtime distribution {record!r} cannot be built: {error}"
        ) from error
