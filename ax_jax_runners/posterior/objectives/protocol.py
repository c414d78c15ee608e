"""What a training needs of the loss that it minimises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from jax import Array

from ax_jax_runners.posterior.training.rows import Rows


class Objective(Protocol):
    """Losses of one row, traced by JAX. Frozen and hashable: equal ones share programs."""

    @property
    def is_log_density(self) -> bool:
        """Whether epochs are compared by minus the log density of y."""
        ...

    @property
    def scored_rows(self) -> int | None:
        """Validation rows whose log density is computed after every epoch; None: all."""
        ...

    @property
    def needs_raw(self) -> bool:
        """Whether rows carry the observations as they were given."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what decides the loss, as plain JSON."""
        ...

    def training_loss(
        self, model: Any, row: Rows, key: Array, scales: Mapping[str, Array]
    ) -> Array:
        """Return what is minimised, (), with everything that only training adds.

        Args:
            model: The model.
            row: One row, without the leading axis.
            key: A typed key of the row and the step.
            scales: Traced weights and targets; see `RegularisationConfiguration`.
        """
        ...

    def validation_loss(self, model: Any, row: Rows, key: Array) -> Array:
        """Return what epochs are compared by, (); not asked for where that is a log density.

        Args:
            model: The model.
            row: One row, without the leading axis.
            key: A typed key of the row, the same after every epoch.
        """
        ...

    def closure(self, model: Any, row: Rows, key: Array) -> Array:
        """Return how far the model is from numerically sound, (3,).

        Largest difference between a point and the image of its image, difference of the log
        determinants there and back, and 1.0 if a draw rounds to an edge of the cube.
        """
        ...
