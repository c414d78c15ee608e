from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from ax.core.arm import Arm
from ax.core.experiment import Experiment

from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.runners import JaxRunner
from ax_jax_runners.tasks import FeatureTask

SPACE = ParameterSpace([Parameter("x", lower=0.0, upper=10.0)])


def picky(x):
    if x > 5:
        raise RuntimeError("the solver did not converge")
    return np.asarray(x) * 2.0


def simulate(p):
    return jax.pure_callback(
        picky, jax.ShapeDtypeStruct((), jnp.float64), p["x"], vmap_method="sequential"
    )


def trials(*xs):
    experiment = Experiment(name="in process", search_space=SPACE.to_ax())
    return [experiment.new_trial().add_arm(Arm({"x": x})) for x in xs]


def statuses(metadata):
    return [
        arm["status"] for record in metadata.values() for arm in record["ax_jax"]["arms"].values()
    ]


def test_an_error_of_the_running_program_is_pinned_on_its_arm():
    task = FeatureTask(FeatureEvaluator(simulate, SPACE), outputs={"double": lambda f: f})
    metadata = JaxRunner(task).run_multiple(trials(1.0, 7.0, 3.0))
    assert statuses(metadata) == ["completed", "failed", "completed"]
    assert metadata[2]["ax_jax"]["arms"]["2_0"]["outputs"] == {"double": [6.0, 0.0]}
    assert "did not converge" in metadata[1]["ax_jax"]["arms"]["1_0"]["failure"]


def test_an_output_that_cannot_be_evaluated_fails_every_trial_by_name():
    def two(features):
        return jnp.stack([features, features])

    task = FeatureTask(FeatureEvaluator(lambda p: p["x"], SPACE), outputs={"pair": two})
    metadata = JaxRunner(task).run_multiple(trials(1.0, 2.0))
    assert statuses(metadata) == ["failed", "failed"]
    assert "Output 'pair' returned an array" in metadata[1]["ax_jax"]["arms"]["1_0"]["failure"]


def test_one_program_serves_every_number_of_trials():
    compiled = []

    def traced(p):
        compiled.append(p)
        return p["x"]

    task = FeatureTask(FeatureEvaluator(traced, SPACE), outputs={"x": lambda f: f})
    runner = JaxRunner(task)
    runner.run_multiple(trials(1.0))
    count = len(compiled)
    for size in (2, 5, 20, 40):
        assert set(statuses(runner.run_multiple(trials(*np.linspace(0, 9, size).tolist())))) == {
            "completed"
        }
    assert len(compiled) == count
