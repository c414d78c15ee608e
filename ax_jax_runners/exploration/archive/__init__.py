"""The folder in which one random walk keeps its points, and readers of it."""

from __future__ import annotations

from ax_jax_runners.exploration.archive.manifest import Shard
from ax_jax_runners.exploration.archive.states import Checkpoint
from ax_jax_runners.exploration.archive.view import ArchiveView
from ax_jax_runners.exploration.archive.writer import WalkArchive

__all__ = ["ArchiveView", "Checkpoint", "Shard", "WalkArchive"]
