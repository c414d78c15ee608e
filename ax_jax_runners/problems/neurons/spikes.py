"""Features of a spike train that is observed a few time steps at a time; no trace is kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array


class SpikeTrain(NamedTuple):
    """What is remembered of a voltage trace of known duration; scalars of one neuron.

    Attributes:
        spikes: How many so far, as a float.
        first: Time of the first spike [ms]; the duration before there is one.
        last: Time of the last spike [ms].
        squares: Sum of the squared interspike intervals [ms^2].
        peak: Highest voltage.
        trough: Lowest voltage since the first spike, or since the onset before there is one.
    """

    spikes: Array
    first: Array
    last: Array
    squares: Array
    peak: Array
    trough: Array


def silent_train(voltage: Array, duration: float) -> SpikeTrain:
    """The train at the onset, before the first step."""
    zero = jnp.zeros_like(voltage)
    return SpikeTrain(zero, zero + duration, zero, zero, voltage, voltage)


def upstroke(
    before: Array, voltages: Sequence[Array], threshold: float, dt: float
) -> tuple[Array, Array]:
    """Find the upward crossing of a threshold in a few steps that hold one spike at most.

    Args:
        before: Voltage at the block's start.
        voltages: Voltages after each of its steps.
        threshold: What a spike's upstroke crosses.
        dt: Length of a step [ms].

    Returns:
        Whether there is a crossing, and its time since the block's start [ms], interpolated
        linearly; the time means nothing without a crossing.
    """
    crossed = jnp.asarray(False)
    below, above, steps = before, voltages[0], jnp.zeros_like(before)
    for k, (low, high) in enumerate(zip((before, *voltages), voltages, strict=False)):
        here = (low < threshold) & (high >= threshold)
        crossed = crossed | here
        below, above = jnp.where(here, low, below), jnp.where(here, high, above)
        steps = jnp.where(here, float(k), steps)
    return crossed, dt * (steps + (threshold - below) / (above - below))


def observed(
    train: SpikeTrain, spiked: Array, time: Array, voltages: Sequence[Array]
) -> SpikeTrain:
    """The train after a few steps that held one spike at most.

    Args:
        train: The train before them.
        spiked: Whether there was a spike.
        time: When, since the onset [ms]; ignored without a spike.
        voltages: Voltages after each of the steps.
    """
    first_one = spiked & (train.spikes == 0.0)
    interval = time - train.last
    again = spiked & (train.spikes > 0.0)
    lowest = reduce(jnp.minimum, voltages, train.trough)
    return SpikeTrain(
        spikes=train.spikes + spiked,
        first=jnp.where(first_one, time, train.first),
        last=jnp.where(spiked, time, train.last),
        squares=jnp.where(again, train.squares + interval * interval, train.squares),
        peak=reduce(jnp.maximum, voltages, train.peak),
        trough=jnp.where(first_one, voltages[-1], lowest),
    )


def train_features(train: SpikeTrain, duration: float) -> dict[str, Any]:
    """Scalar features of a whole train, all of them finite whatever the train.

    Returns:
        ``latency``: time of the first spike since the onset [ms]; without one, the duration.
        ``mean_isi``: mean interspike interval [ms]; the duration for fewer than two spikes.
        ``rate``: 1000 / mean_isi [Hz]; for fewer than two spikes, their number in the duration.
        ``isi_cv``: standard deviation (over all intervals, the first one too, divided by their
        number) of the intervals over their mean; 0 for fewer than two intervals.
        ``maximum_voltage``, ``trough``: as in `SpikeTrain`; ``spike_count``: its spikes.
    """
    intervals = train.spikes - 1.0
    several = intervals > 0.0
    number = jnp.maximum(intervals, 1.0)
    mean = jnp.where(several, (train.last - train.first) / number, duration)
    variance = jnp.maximum(train.squares / number - mean * mean, 0.0)
    return {
        "latency": train.first,
        "mean_isi": mean,
        "rate": jnp.where(several, 1000.0 / mean, train.spikes * (1000.0 / duration)),
        "isi_cv": jnp.where(intervals > 1.0, jnp.sqrt(variance) / mean, 0.0),
        "maximum_voltage": train.peak,
        "trough": train.trough,
        "spike_count": train.spikes,
    }
