"""How long trials run on a simulated cluster: drawn, computed from the parameters, or replayed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np
from ax.core.base_trial import BaseTrial

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.sentences import describe_error
from ax_jax_runners.runners.simulation.draws import HIGH, LOW, RUNTIME, uniform
from ax_jax_runners.runners.simulation.functions import UnboundFunction
from ax_jax_runners.runners.simulation.runtimes import Runtime, is_distribution

Arms: TypeAlias = Sequence[Mapping[str, Any]]

_BLOCK = 256


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
    return _Drawn(runtime, seed) if is_distribution(runtime) else _Computed(runtime)


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
