"""Tasks for worker processes, which import this module by its name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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
    [Parameter("x", lower=-5.0, upper=5.0), Parameter("trouble", lower=0, upper=9, integer=True)]
)


class Unpicklable(Exception):
    """Refuses to be sent anywhere."""

    def __reduce__(self) -> Any:
        raise TypeError("no")


class Escaping(BaseException):
    """Passes every ``except Exception``."""


def _sleep() -> None:
    time.sleep(3600)


def _allocate() -> None:
    held = []
    while True:
        held.append(np.ones(4_000_000))
        time.sleep(0.01)


def _allocate_elsewhere() -> None:
    subprocess.run(
        [sys.executable, "-c", "import time; held = bytearray(600_000_000); time.sleep(3600)"],
        check=True,
    )


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _leave() -> None:
    os._exit(7)


def _hang_up() -> None:
    os.closerange(3, 256)


def _exit() -> None:
    raise SystemExit(3)


def _unpicklable() -> None:
    raise Unpicklable("local")


def _escape() -> None:
    raise Escaping("beyond Exception")


def _shout() -> None:
    raise RuntimeError("x" * 1_000_000 + "\0")


TROUBLES = {
    "sleep": _sleep,
    "allocate": _allocate,
    "allocate elsewhere": _allocate_elsewhere,
    "kill": _kill,
    "segfault": _segfault,
    "stop": _stop,
    "leave": _leave,
    "hang up": _hang_up,
    "exit": _exit,
    "unpicklable": _unpicklable,
    "escape": _escape,
    "shout": _shout,
}


@dataclass(frozen=True)
class Walk:
    """A random sum of one term a slice; every slice is noted before it begins.

    Attributes:
        log: File of the slices.
        slices: How many an arm needs.
        seconds: What a slice takes at least.
        troubles: What befalls arms in the slice ``at``: nothing those with trouble=0, the first one
            those with 1 and so on.
        at: The slice that troubles.
        times: How often in all, over all processes.
    """

    log: str
    slices: int = 4
    seconds: float = 0.0
    troubles: tuple[str, ...] = ()
    at: int = 2
    times: int = 1_000
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("total",)

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: jax.Array) -> dict[str, Any]:
        return {
            "x": np.array([arm["x"] for arm in arms]),
            "trouble": np.array([arm["trouble"] for arm in arms]),
            "step": np.zeros(len(arms), int),
            "total": np.zeros(len(arms)),
            "keys": keys,
        }

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        step = int(state["step"][0]) + 1
        note = {"pid": os.getpid(), "step": step, "x": state["x"].tolist()}
        with Path(self.log).open("a") as file:
            file.write(json.dumps(note) + "\n")
        time.sleep(self.seconds)
        trouble = int(state["trouble"][0]) if self.troubles else 0
        if trouble and step == self.at and self._is_due():
            TROUBLES[self.troubles[trouble - 1]]()
        draws = np.asarray(_draw(state["keys"], state["step"]), dtype=float)
        return {
            **state,
            "step": state["step"] + 1,
            "total": state["total"] + draws * state["x"],
        }

    def progress(self, state: dict[str, Any]) -> list[Progress]:
        return [
            Progress(
                step=step,
                done=step >= self.slices,
                outputs={"total": (total, 0.0)},
                arrays={"curve": np.full(3, total)},
            )
            for step, total in zip(state["step"].tolist(), state["total"].tolist(), strict=True)
        ]

    def _is_due(self) -> bool:
        """Count what happens, in a file, since the process may not survive it."""
        with Path(self.log + ".troubles").open("a+") as file:
            file.seek(0)
            if len(file.read()) >= self.times:
                return False
            file.write("x")
        return True


@jax.jit
@jax.vmap
def _draw(key: jax.Array, step: jax.Array) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(key, step))


def read_slices(log: Path) -> list[tuple[int, int, float]]:
    """Process, slice and x of the first arm, of every slice that was begun."""
    if not log.exists():
        return []
    notes = [json.loads(line) for line in log.read_text().splitlines()]
    return [(note["pid"], note["step"], note["x"][0]) for note in notes]


def response(parameters: Mapping[str, Any], key: jax.Array) -> dict[str, jax.Array]:
    noise = jax.random.normal(key, (64,))
    wave = jnp.sin(jnp.arange(64.0) * parameters["x"])
    return {"wave": wave + 0.1 * noise * parameters["trouble"]}


def power(features: Mapping[str, jax.Array]) -> jax.Array:
    return jnp.sum(features["wave"] ** 2)


def feature_task() -> FeatureTask:
    """One slice, compiled in float64, with noise and replicates."""
    evaluator = FeatureEvaluator(response, SPACE, stochastic=True)
    return FeatureTask(evaluator, outputs={"power": power}, replicates=3)
