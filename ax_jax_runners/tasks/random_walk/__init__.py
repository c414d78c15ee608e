"""Random walks as trials."""

from __future__ import annotations

from ax_jax_runners.tasks.random_walk.task import RandomWalkTask

__all__ = ["RandomWalkTask"]
