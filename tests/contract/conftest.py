"""Runners and tasks that the contract suites combine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment

from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.runners import JaxRunner, SimulatedBackendJaxRunner
from ax_jax_runners.tasks import FeatureTask, Progress, Task

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


RUNNERS: dict[str, Callable[..., Any]] = {
    "JaxRunner": JaxRunner,
    "SimulatedBackendJaxRunner": partial(SimulatedBackendJaxRunner, max_concurrency=8, runtime=2.0),
}
TASKS: dict[str, Callable[[], Task]] = {
    "features": lambda: FeatureTask(
        FeatureEvaluator(noisy_curve, SPACE, stochastic=True),
        outputs={"mean": curve_mean, "top": curve_top},
        replicates=3,
    ),
    "long": SlowSum,
}


@dataclass(frozen=True)
class RunnerCase:
    """One combination of a runner and a task.

    Attributes:
        build: Makes the runner of a task.
        task: The task.
        good: Arms with a finite result.
        bad: An arm without one.
    """

    build: Callable[..., Any]
    task: Task
    good: tuple[dict[str, float], ...] = GOOD
    bad: Mapping[str, float] = None  # pyright: ignore[reportAssignmentType]

    def runner(self, **options: Any) -> Any:
        return self.build(self.task, **{"seed": 7, **options})

    def experiment(self, name: str = "contract") -> Experiment:
        return Experiment(name=name, search_space=SPACE.to_ax())

    def trials(self, experiment: Experiment, *arms: Mapping[str, float]) -> list[Any]:
        return [experiment.new_trial().add_arm(Arm(dict(arm))) for arm in arms]

    def batch(self, experiment: Experiment, *arms: Mapping[str, float]) -> Any:
        return experiment.new_batch_trial().add_arms_and_weights([Arm(dict(arm)) for arm in arms])


@pytest.fixture(params=RUNNERS)
def runners_build(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return RUNNERS[request.param]


@pytest.fixture(params=TASKS)
def runners_case(request: pytest.FixtureRequest, runners_build: Callable[..., Any]) -> RunnerCase:
    return RunnerCase(runners_build, TASKS[request.param](), bad=BAD)


@pytest.fixture
def runners_long_case(runners_build: Callable[..., Any]) -> RunnerCase:
    return RunnerCase(runners_build, SlowSum(), bad=BAD)
