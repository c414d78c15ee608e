"""Simulations as data sets: written once, read batch by batch, every row once in a pass."""

from __future__ import annotations

from ax_jax_runners.posterior.datasets.arrays import ArrayDataset
from ax_jax_runners.posterior.datasets.gathering import GatheredData, gather
from ax_jax_runners.posterior.datasets.protocol import DatasetReader
from ax_jax_runners.posterior.datasets.simulated import SimulatedDataset
from ax_jax_runners.posterior.datasets.simulation import simulate
from ax_jax_runners.posterior.datasets.walk import WalkDataset

__all__ = [
    "ArrayDataset",
    "DatasetReader",
    "GatheredData",
    "SimulatedDataset",
    "WalkDataset",
    "gather",
    "simulate",
]
