"""What an encoder sees of a block: channels in which masked entries are 0."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.posterior.encoders.grids import standardised_grid
from ax_jax_runners.posterior.encoders.noise import Row
from ax_jax_runners.posterior.encoders.schema import BlockSchema

# A standardised uncertainty may be of any order of magnitude, and its order is what matters: this
# brings 1e-4 ... 1, below and above which nothing is told any more, to -1 ... 1.
_LEAST_UNCERTAINTY = 1e-4
_HALF_RANGE = -0.5 * float(np.log(_LEAST_UNCERTAINTY))


class BlockInputs(eqx.Module):
    """Reads the channels of one block; has no weights.

    Attributes:
        schema: Of the block.
        with_grid: Whether the coordinates of a common grid are a channel as well.
    """

    schema: BlockSchema = eqx.field(static=True)
    with_grid: bool = eqx.field(static=True, default=True)

    @property
    def count(self) -> int:
        """How many channels there are."""
        return len(self.schema.stacked_channels) + self._has_grid

    @property
    def _has_grid(self) -> bool:
        return self.with_grid and self.schema.grid is not None

    def __call__(self, row: Row) -> tuple[Array, Array]:
        """Return the channels (L, count) and where anything was measured, (L,) booleans."""
        block = row[self.schema.name]
        shape = block["values"].shape
        mask = block["mask"] if self.schema.maskable else jnp.ones(shape, bool)
        columns = [block["values"]]
        if "uncertainties" in self.schema.stacked_channels:
            measured = jnp.where(mask, block["uncertainties"], 1)
            columns.append(jnp.log(measured + _LEAST_UNCERTAINTY) / _HALF_RANGE + 1)
        if "coordinates" in self.schema.stacked_channels:
            columns.append(block["coordinates"])
        if self._has_grid and self.schema.grid is not None:
            columns.append(jnp.asarray(standardised_grid(self.schema.grid)))
        if self.schema.maskable:
            columns.append(jnp.ones(shape, block["values"].dtype))
        seen = jnp.where(mask[:, None], jnp.stack(columns, axis=1), 0)
        return seen, mask
