"""Tasks that the contract suites run, importable by worker processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.errors import EvaluationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.regions import Ball
from ax_jax_runners.tasks import FeatureTask, Progress, RandomWalkTask, Task

SPACE = ParameterSpace(
    [Parameter("x", lower=-5.0, upper=5.0), Parameter("y", lower=0.0, upper=1.0)]
)
GOOD = tuple({"x": float(x), "y": 0.1 * i} for i, x in enumerate(np.linspace(0.5, 4.5, 7)))
# Both tasks take the logarithm of x.
BAD = {"x": -1.0, "y": 0.5}


def noisy_curve(p: Mapping[str, Any], key: jax.Array) -> dict[str, jax.Array]:
    noise = jax.random.normal(key, (4,))
    return {"curve": jnp.log(p["x"]) * jnp.arange(4.0) + p["y"] * noise}


def curve_mean(features: Mapping[str, jax.Array]) -> jax.Array:
    return features["curve"].mean()


def curve_top(features: Mapping[str, jax.Array]) -> jax.Array:
    return features["curve"].max()


@dataclass(frozen=True)
class SlowSum:
    """A random sum that grows by one term a slice; arm i needs ``slices + i % 2`` of them."""

    slices: int = 4
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("mean", "top")

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: jax.Array) -> dict[str, Any]:
        x = np.array([self.space.pack(arm)[0] for arm in arms])
        wanted = self.slices + np.array([int(10 * arm["y"]) % 2 for arm in arms])
        zero = np.zeros(len(arms))
        return {"x": x, "wanted": wanted, "step": zero.astype(int), "sum": zero, "keys": keys}

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        live = state["step"] < state["wanted"]
        draws = np.asarray(_draw(state["keys"], state["step"]), dtype=float)
        with np.errstate(invalid="ignore"):
            terms = np.log(state["x"]) * draws
        return {
            **state,
            "step": state["step"] + live,
            "sum": np.where(live, state["sum"] + terms, state["sum"]),
        }

    def progress(self, state: dict[str, Any]) -> list[Progress]:
        return [
            Progress(
                step=step,
                done=bool(step == wanted),
                outputs={"mean": (total / max(step, 1), 0.1), "top": (total, None)},
                arrays={"curve": np.full(3, total)},
            )
            for step, wanted, total in zip(
                state["step"].tolist(), state["wanted"].tolist(), state["sum"].tolist(), strict=True
            )
        ]


@jax.jit
@jax.vmap
def _draw(key: jax.Array, step: jax.Array) -> jax.Array:
    return jax.random.uniform(jax.random.fold_in(key, step))


def features_task() -> FeatureTask:
    return FeatureTask(
        FeatureEvaluator(noisy_curve, SPACE, stochastic=True),
        outputs={"mean": curve_mean, "top": curve_top},
        replicates=3,
    )


def walk_task() -> RandomWalkTask:
    """Walks in a disc from three points, the last of which is outside."""
    disc = Ball(2)
    return RandomWalkTask(
        RandomWalk(disc.evaluator(chunk=8), disc.constraints, n_iterations=1),
        seed_points=[[0.5, 0.5], [0.4, 0.6], [0.9, 0.5]],
        evaluations=4 * 120,
        particles=4,
        slices=4,
    )


def walk_arm(number: int, **changes: Any) -> dict[str, Any]:
    kernel = "hit_and_run" if number % 3 == 2 else "self_loop"
    step = 0.15 + 0.05 * number
    arm = {"max_step_size": step, "step_ratio": 0.5, "kernel": kernel, "adapt": False}
    return {"seed_point": number % 2, **arm, **changes}


@dataclass(frozen=True)
class Subject:
    """A task with arms to try it on.

    Attributes:
        build: Makes the task.
        good: Arms with a result.
        bad: Two arms without one.
        complaint: A word of what is said of those.
        wrong: A parameter, and a value that it cannot have.
        array: An array that is kept of every good arm, finite for the first two.
    """

    build: Callable[[], Task]
    good: tuple[Mapping[str, Any], ...] = GOOD
    bad: tuple[Mapping[str, Any], ...] = (BAD, {**BAD, "y": 0.7})
    complaint: str = "nan"
    wrong: Mapping[str, Any] = field(default_factory=lambda: {"y": "high"})
    array: str = "curve"


TASKS = {"features": Subject(features_task), "long": Subject(SlowSum)}
WALKS = Subject(
    walk_task,
    good=tuple(walk_arm(number) for number in range(7)),
    bad=tuple(walk_arm(number, seed_point=2) for number in range(2)),
    complaint="outside",
    wrong={"kernel": "leap"},
    array="unit_states",
)

ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("no luck"),
    "SystemExit": lambda: SystemExit(3),
    "MemoryError": MemoryError,
    "RecursionError": lambda: RecursionError("deep"),
    "EvaluationError": lambda: EvaluationError("every arm is wrong"),
    "RuntimeError": lambda: RuntimeError("x" * 1_000_000 + "\0"),
    "Unpicklable": lambda: type("Unpicklable", (Exception,), {"__reduce__": None})("local"),
    "KeyboardInterrupt": KeyboardInterrupt,
}
REPORTS: dict[str, Any] = {
    "no progress": [None] * 3,
    "too few": [Progress(2, True, {})],
    "a text": "three",
    "a number": 3,
}


@dataclass(frozen=True)
class Faulty:
    """A task of two slices that misbehaves on demand, for arms with x above a limit.

    Attributes:
        where: "begin", "advance" or "progress".
        fault: A name of `ERRORS` to raise or of `REPORTS` to return; empty: all is well.
        limit: The largest x of a batch that does not matter.
        log: A file that notes every call.
    """

    where: str = ""
    fault: str = ""
    limit: float = -math.inf
    log: str = ""
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("mean",)

    def _maybe(self, where: str, xs: np.ndarray) -> Any:
        if self.log:
            with open(self.log, "a") as stream:
                stream.write(f"{where}\n")
        if where != self.where or max(xs) <= self.limit or not self.fault:
            return None
        if self.fault in ERRORS:
            raise ERRORS[self.fault]()
        return REPORTS[self.fault]

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: Any) -> dict[str, np.ndarray]:
        del keys
        xs = np.array([arm["x"] for arm in arms])
        self._maybe("begin", xs)
        return {"x": xs, "step": np.zeros(len(xs), int)}

    def advance(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._maybe("advance", state["x"])
        return {**state, "step": state["step"] + 1}

    def progress(self, state: dict[str, np.ndarray]) -> Any:
        return self._maybe("progress", state["x"]) or [
            Progress(int(step), bool(step >= 2), {"mean": (float(x), 0.0)})
            for x, step in zip(state["x"], state["step"], strict=True)
        ]
