"""Windows of a history: train, validation and test, in this order and without a common row.

What is optimised is measured on ``train``, what is demanded besides on ``validation``. ``test`` is
computed beside them and reported once: to choose by it would make it another training window.
A window's measures start from the state that the strategy has there, which only the past decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.strategies.markets import Market
from ax_jax_runners.strategies.momentum import PoolPath
from ax_jax_runners.strategies.performance import Track

#: Below this a standard deviation or a drawdown says nothing.
FEWEST_ROWS = 3


@dataclass(frozen=True)
class Windows:
    """Where the three windows are: rows from and up to, the last left out.

    Attributes:
        train: What is optimised.
        validation: What is demanded besides.
        test: What is reported.
    """

    train: tuple[int, int]
    validation: tuple[int, int]
    test: tuple[int, int]

    def __post_init__(self) -> None:
        """Check that the windows follow each other.

        Raises:
            ConfigurationError: One that is too short, or begins before the one before ends.
        """
        end = 0
        for name, (first, last) in self.items():
            if last - first < FEWEST_ROWS:
                raise ConfigurationError(
                    f"The {name} window has the rows {first} to {last}; give at least "
                    f"{FEWEST_ROWS} rows."
                )
            if first < end:
                raise ConfigurationError(
                    f"The {name} window begins at row {first}, before row {end}; windows follow "
                    "each other without a common row."
                )
            end = last

    @classmethod
    def split(
        cls, rows: int, *, train: float = 0.6, validation: float = 0.2, warm_up: int = 0
    ) -> Windows:
        """Cut a history in three; what train and validation leave is the test window.

        Args:
            rows: Length of the history.
            train: Part of the rows after the warm-up.
            validation: Part of them that follows.
            warm_up: Rows at the beginning that belong to no window.

        Raises:
            ConfigurationError: Parts that leave a window too short.
        """
        parts = (train, validation)
        if not all(math.isfinite(part) and part > 0 for part in parts) or sum(parts) >= 1:
            raise ConfigurationError(
                f"train is {train!r} and validation {validation!r}; give positive parts that leave "
                "something for the test window."
            )
        if not 0 <= warm_up < rows:
            raise ConfigurationError(
                f"warm_up is {warm_up!r} of {rows} rows; give a number of rows below that."
            )
        left = rows - warm_up
        first = warm_up + round(train * left)
        second = warm_up + round((train + validation) * left)
        return cls((warm_up, first), (first, second), (second, rows))

    def items(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Name and rows of every window, in their order."""
        yield "train", self.train
        yield "validation", self.validation
        yield "test", self.test

    def tracks(self, path: PoolPath, market: Market) -> dict[str, Track]:
        """What a pool did in every window, by the window's name; traceable.

        Raises:
            ConfigurationError: The path has other rows than the market, or ends before the windows.
        """
        rows = path.value.shape[0]
        if rows != len(market.prices) or rows < self.test[1]:
            raise ConfigurationError(
                f"The path has {rows} rows, the market {len(market.prices)} and the windows end at "
                f"row {self.test[1]}; give a path on this market, as long as the windows."
            )
        return {name: _track(path, market, *ends) for name, ends in self.items()}


def _track(path: PoolPath, market: Market, first: int, last: int) -> Track:
    prices: Any = market.prices[first:last]
    return Track(
        path.value[first:last],
        prices,
        path.weights[first],
        market.minutes_per_row,
        market.days_per_year,
    )
