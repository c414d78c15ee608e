"""A momentum pool on one market as a simulator: parameters by name in, measures by window out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Log2, MemoryDecay, Parameter, ParameterSpace
from ax_jax_runners.strategies.markets import Market
from ax_jax_runners.strategies.momentum import PoolPath, momentum_pool
from ax_jax_runners.strategies.performance import MEASURES, measure
from ax_jax_runners.strategies.windows import Windows

MEMORY, STRENGTH = "memory_days", "k_per_day"
#: Ends of the search box: days, and strength per day.
MEMORY_BOX = (1.0, 365.0)
STRENGTH_BOX = (2.0**-8, 2.0**8)
DEFAULT_MEASURES = ("sharpe", "return", "return_over_uniform_hodl", "drawdown")


@dataclass(frozen=True)
class PoolBacktest:
    """A pool with everything but memory and strength decided; equal by its contents.

    Attributes:
        market: The prices.
        windows: Where it is trained, validated and tested.
        chunk_period: Minutes between two decisions.
        weight_interpolation_period: Minutes in which the weights move after one.
        maximum_change: Largest change of a weight in one row.
        minimum_weight: Smallest weight; None: 0.1 / n.
        per_asset: Whether every asset has a memory and a strength of its own.
        measures: Names of `MEASURES` that are computed in every window.
    """

    market: Market
    windows: Windows
    chunk_period: int = 1440
    weight_interpolation_period: int = 1440
    maximum_change: float = 0.03
    minimum_weight: float | None = None
    per_asset: bool = False
    measures: tuple[str, ...] = DEFAULT_MEASURES

    def __post_init__(self) -> None:
        """Check the measures; the pool checks the rest when it is simulated.

        Raises:
            ConfigurationError: No measure, or one that there is not.
        """
        unknown = [name for name in self.measures if name not in MEASURES]
        if unknown or not self.measures:
            found = repr(unknown[0]) if unknown else "none"
            raise ConfigurationError(f"measures has {found}; choose from {', '.join(MEASURES)}.")

    @property
    def space(self) -> ParameterSpace:
        """Memory in days and strength per day, both searched logarithmically.

        Of every asset ``memory_days_<asset>`` and ``k_per_day_<asset>`` where each has its own.
        """
        labels = [f"_{asset}" for asset in self.market.assets] if self.per_asset else [""]
        decay = MemoryDecay(float(self.chunk_period))
        return ParameterSpace(
            [
                Parameter(name + label, lower=box[0], upper=box[1], bijector=bijector)
                for name, box, bijector in (
                    (MEMORY, MEMORY_BOX, decay),
                    (STRENGTH, STRENGTH_BOX, Log2()),
                )
                for label in labels
            ]
        )

    def path(self, values: Mapping[str, Any]) -> PoolPath:
        """Weights and value of the pool of some parameters, as `momentum_pool` returns them."""
        n = len(self.market.assets)
        return momentum_pool(
            self.market.prices,
            memory_days=self._chosen(values, MEMORY),
            k_per_day=self._chosen(values, STRENGTH),
            chunk_period=self.chunk_period,
            weight_interpolation_period=self.weight_interpolation_period,
            maximum_change=self.maximum_change,
            minimum_weight=0.1 / n if self.minimum_weight is None else self.minimum_weight,
            minutes_per_row=self.market.minutes_per_row,
        )

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Measures by window, and the value of every day; traceable.

        Returns:
            ``{"train": {measure: scalar}, "validation": ..., "test": ..., "value": (days,)}``.
        """
        path = self.path(values)
        stride = max(1, 1440 // self.market.minutes_per_row)
        tracks = self.windows.tracks(path, self.market)
        found: dict[str, Any] = {
            window: measure(track, self.measures) for window, track in tracks.items()
        }
        return {**found, "value": path.value[::stride]}

    @property
    def outputs(self) -> dict[str, WindowMeasure]:
        """What a task reports: ``<window>_<measure>`` for every window and measure."""
        return {
            f"{window}_{name}": WindowMeasure(window, name)
            for name in self.measures
            for window, _ in self.windows.items()
        }

    def _chosen(self, values: Mapping[str, Any], name: str) -> Any:
        if not self.per_asset:
            return values[name]
        return jnp.stack([jnp.asarray(values[f"{name}_{a}"]) for a in self.market.assets])


@dataclass(frozen=True)
class WindowMeasure:
    """An output: one measure in one window.

    Attributes:
        window: "train", "validation" or "test".
        name: Of `MEASURES`.
    """

    window: str
    name: str

    def __call__(self, features: Mapping[str, Any]) -> Array:
        """The measure of a `PoolBacktest`'s features."""
        return features[self.window][self.name]
