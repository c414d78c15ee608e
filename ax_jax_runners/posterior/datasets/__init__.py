"""Simulations as data sets: written once, read batch by batch, every row once in a pass."""

from __future__ import annotations

from ax_jax_runners.posterior.datasets.arrays import ArrayDataset
from ax_jax_runners.posterior.datasets.gathering import GatheredData, gather
from ax_jax_runners.posterior.datasets.protocol import DatasetReader

__all__ = ["ArrayDataset", "DatasetReader", "GatheredData", "gather"]
