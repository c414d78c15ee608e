"""What calibration asks of a posterior."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import ArrayLike, NDArray


class AmortisedPosterior(Protocol):
    """A posterior that is there at once for any observation, as all estimators here are.

    Observations come in any of the forms of a `PosteriorBatch`.
    """

    def draw(
        self, observations: Any, n: int, *, seed: int = 0, space: str = "physical"
    ) -> NDArray[Any]:
        """Return n independent draws for each of B observations, (B, n, d)."""
        ...

    def log_density(
        self, observations: Any, parameters: ArrayLike, *, space: str = "physical"
    ) -> NDArray[Any]:
        """Return the log density (B,) of each row of parameters (B, d) given its observation."""
        ...
