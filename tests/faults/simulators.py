"""Tasks whose evaluations can be counted from outside the database."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ax_jax_runners import FeatureEvaluator, FeatureTask, Parameter, ParameterSpace
from ax_jax_runners.tasks import Progress

SPACE = ParameterSpace(
    [
        Parameter("gain", lower=0.5, upper=3.0),
        Parameter("decay", lower=1e-3, upper=1.0, log_scale=True),
        Parameter("order", lower=1, upper=9, integer=True),
    ]
)


IN_THE_MIDDLE: list[Callable[[], None]] = []
"""Called when half of a batch is computed. No part of the task: what it is must not change."""


def note_evaluations(log: str, arms: Sequence[Mapping[str, Any]]) -> None:
    """Append one line an arm, on the disk before this returns."""
    lines = "".join(
        json.dumps({"pid": os.getpid(), "arm": dict(arm)}, sort_keys=True) + "\n" for arm in arms
    )
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, lines.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def read_evaluations(log: Path) -> list[tuple[int, str]]:
    """Process and arm (as sorted JSON) of every evaluation so far."""
    if not log.exists():
        return []
    notes = [json.loads(line) for line in log.read_text().splitlines()]
    return [(note["pid"], json.dumps(note["arm"], sort_keys=True)) for note in notes]


@dataclass(frozen=True)
class LoggedTask:
    """Two outputs and one array of three parameters in numpy; every evaluation is noted.

    Attributes:
        log: File of the evaluations.
        slow: File that holds the seconds an arm takes; missing or empty: none. It is no part of
            the result, and may change while a campaign runs.
    """

    log: str
    slow: str = ""
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("cost", "peak")

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: Any) -> Any:
        del keys
        return {
            "arms": np.stack([self.space.pack(arm) for arm in arms]),
            "curves": np.zeros((len(arms), 16)),
        }

    def advance(self, state: Any) -> Any:
        theta = state["arms"]
        half = (len(theta) + 1) // 2
        curves = np.empty((len(theta), 16))
        for rows in (slice(0, half), slice(half, None)):
            curves[rows] = _curve(theta[rows])
            note_evaluations(self.log, [self.space.unpack(row) for row in theta[rows]])
            if rows.stop is not None:
                time.sleep(self._seconds() * len(theta))
                for listener in IN_THE_MIDDLE:
                    listener()
        return {"arms": theta, "curves": curves}

    def progress(self, state: Any) -> list[Progress]:
        return [
            Progress(
                step=1,
                done=True,
                outputs={
                    "cost": (float(np.mean((curve - 1.0) ** 2)), 0.0),
                    "peak": (float(np.max(curve)), 0.0),
                },
                arrays={"curve": curve},
            )
            for curve in state["curves"]
        ]

    def _seconds(self) -> float:
        path = Path(self.slow) if self.slow else None
        return float(path.read_text() or 0) if path is not None and path.exists() else 0.0


def _curve(theta: np.ndarray) -> np.ndarray:
    x = np.linspace(0.0, 1.0, 16)
    gain, decay, order = theta.T[:, :, None]
    return gain * np.exp(-decay * x) * np.cos(math.pi * order * x / 9)


def _response(parameters: Mapping[str, Any]) -> dict[str, Any]:
    x = jnp.linspace(0.0, 1.0, 16)
    gain, decay, order = (parameters[name] for name in ("gain", "decay", "order"))
    return {"curve": gain * jnp.exp(-decay * x) * jnp.cos(math.pi * order * x / 9)}


def _cost(features: Mapping[str, Any]) -> Any:
    return jnp.mean((features["curve"] - 1.0) ** 2)


def feature_task() -> FeatureTask:
    """The same curve, compiled by JAX in float64."""
    return FeatureTask(FeatureEvaluator(_response, SPACE), outputs={"cost": _cost})
