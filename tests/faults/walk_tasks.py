"""Trials that are random walks, every slice of which is noted and takes its time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.problems.regions import Ball
from ax_jax_runners.tasks import RandomWalkTask


class NotedWalks(RandomWalkTask):
    """Walks in a ball, of which every slice leaves a line in a file."""

    @classmethod
    def make(cls, log: str, slices: int, seconds: float) -> NotedWalks:
        """Make the task; ``seconds`` is what a slice takes at least."""
        ball = Ball(3)
        task = cls(
            RandomWalk(ball.evaluator(chunk=8), ball.constraints, n_iterations=1),
            seed_points=[[0.5, 0.5, 0.5], [0.4, 0.5, 0.6]],
            evaluations=8 * 240,
            particles=8,
            slices=slices,
        )
        object.__setattr__(task, "_log", log)
        object.__setattr__(task, "_seconds", seconds)
        return task

    def advance(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        own: Any = self
        going = int((np.asarray(state["slice"]) < self.slices).sum())
        handle = os.open(own._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, b"slice\n" * going)
        finally:
            os.close(handle)
        time.sleep(own._seconds)
        return super().advance(state)


def count_slices(log: Path) -> int:
    """How many slices were begun, of all trials."""
    return len(log.read_bytes().splitlines()) if log.exists() else 0
