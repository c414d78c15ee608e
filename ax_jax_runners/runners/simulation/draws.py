"""Counter-based draws: a number depends on its counters and on nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError

RUNTIME, FAILURE, MOMENT = range(3)
"""What a number is drawn for."""

LOW, HIGH = 1.0, 5.0
"""Ends of the runtime where none is given, in seconds."""


def uniform(seed: int, purpose: int, index: int, attempt: int = 0) -> float:
    """Return a number from 0 (included) to 1 (excluded).

    Args:
        seed: Root of all draws, at least 0.
        purpose: One of the constants above.
        index: The trial's index.
        attempt: How often the trial was submitted before.
    """
    sequence = np.random.SeedSequence((seed, purpose, index, attempt))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(11)) * 2.0**-53


def sample_runtime_unif(trial: Any, low: float = LOW, high: float = HIGH) -> float:
    """Return a uniform runtime of a trial, in seconds; the same trial gets the same one.

    Args:
        trial: An Ax trial; its index counts.
        low: Lower end, included.
        high: Upper end.

    Raises:
        ConfigurationError: The ends are not positive and in order.
    """
    if not 0 < low <= high < float("inf"):
        raise ConfigurationError(
            f"A runtime from {low} to {high} s cannot be drawn; give 0 < low <= high."
        )
    return low + (high - low) * uniform(0, RUNTIME, trial.index)
