"""Tasks that other processes can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners import FeatureEvaluator, FeatureTask, Parameter, ParameterSpace
from ax_jax_runners.tasks import Progress

SPACE = ParameterSpace(
    [Parameter("x", lower=-5.0, upper=5.0), Parameter("y", lower=0.0, upper=1.0)]
)


def noisy_curve(p: Mapping[str, Any], key: jax.Array) -> dict[str, jax.Array]:
    noise = jax.random.normal(key, (4,))
    return {"curve": jnp.log(p["x"]) * jnp.arange(4.0) + p["y"] * noise}


def curve_mean(features: Mapping[str, jax.Array]) -> jax.Array:
    return features["curve"].mean()


def feature_task() -> FeatureTask:
    return FeatureTask(
        FeatureEvaluator(noisy_curve, SPACE, stochastic=True), outputs={"mean": curve_mean}
    )


@jax.jit
@jax.vmap
def _draw(key: jax.Array, step: jax.Array) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(key, step))


@dataclass(frozen=True)
class Walk:
    """A random walk of ``slices`` steps, whose drift is x.

    Attributes:
        slices: How many.
        pause: Seconds that a slice takes.
        log: File that gets one line a slice, or "".
    """

    slices: int = 4
    pause: float = 0.0
    log: str = ""
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("end",)

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: jax.Array) -> dict[str, Any]:
        x = np.array([self.space.pack(arm)[0] for arm in arms])
        return {"x": x, "step": np.zeros(len(arms), int), "sum": np.zeros(len(arms)), "keys": keys}

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        self.happen(state)
        if self.log:
            with Path(self.log).open("a") as log:
                log.write(f"{os.getpid()}\n")
        time.sleep(self.pause)
        live = state["step"] < self.slices
        draws = np.asarray(_draw(state["keys"], state["step"]), dtype=float)
        total = np.where(live, state["sum"] + state["x"] + draws, state["sum"])
        return {**state, "step": state["step"] + live, "sum": total}

    def progress(self, state: dict[str, Any]) -> list[Progress]:
        return [
            Progress(step, step == self.slices, {"end": (total, 0.0)}, {"sum": np.full(2, total)})
            for step, total in zip(state["step"].tolist(), state["sum"].tolist(), strict=True)
        ]

    def happen(self, state: dict[str, Any]) -> None:
        """What goes wrong in a slice."""


@dataclass(frozen=True)
class DyingWalk(Walk):
    """Kills its process in the third slice of an arm with x above 2.

    Attributes:
        marker: File to which each death adds one byte.
        deaths: After so many it goes on.
    """

    marker: str = ""
    deaths: int = 1

    def happen(self, state: dict[str, Any]) -> None:
        marker = Path(self.marker)
        died = marker.stat().st_size if marker.exists() else 0
        if state["step"].max() == 2 and state["x"].max() > 2.0 and died < self.deaths:
            with marker.open("a") as log:
                log.write("x")
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class HangingWalk(Walk):
    """Never comes back from the second slice of an arm with x above 2."""

    def happen(self, state: dict[str, Any]) -> None:
        while state["step"].max() == 1 and state["x"].max() > 2.0:
            time.sleep(0.05)


@dataclass(frozen=True)
class GreedyWalk(Walk):
    """Takes ever more memory in the second slice of an arm with x above 2."""

    def happen(self, state: dict[str, Any]) -> None:
        taken = []
        while state["step"].max() == 1 and state["x"].max() > 2.0:
            taken.append(np.ones(2**22))
            time.sleep(0.02)
