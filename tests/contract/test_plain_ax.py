"""A plain Ax Orchestrator with Ax's own storage drives our runners, metrics and registry bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import ax.storage.sqa_store.db as ax_db
import pytest
from ax.adapter.registry import Generators
from ax.core.experiment import Experiment
from ax.core.objective import Objective
from ax.core.optimization_config import OptimizationConfig
from ax.core.trial_status import TrialStatus
from ax.generation_strategy.generation_node import GenerationStep
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.orchestration.orchestrator import FailureRateExceededError, Orchestrator
from ax.orchestration.orchestrator_options import OrchestratorOptions, TrialType
from ax.storage.sqa_store.structs import DBSettings

from ax_jax_runners.campaign.registry import registry_bundle
from ax_jax_runners.errors import TaskNotBound
from ax_jax_runners.metrics import OutputMetric
from ax_jax_runners.runners import JaxRunner

# Stock Ax and its tables use what pandas and SQLAlchemy announce to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:TypeDecorator JSONEncoded"),
]


@pytest.fixture
def database(tmp_path):
    """An SQLite file with Ax's tables; Ax's process-wide session is put back afterwards."""
    before = ax_db.SESSION_FACTORY
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    ax_db.init_engine_and_session_factory(url=url, force_init=True)
    ax_db.create_all_tables(ax_db.get_engine())
    yield url
    ax_db.get_engine().dispose()
    ax_db.SESSION_FACTORY = before


def settings(url, tasks):
    bundle = registry_bundle(tasks=tasks)
    return DBSettings(url=url, encoder=bundle.encoder, decoder=bundle.decoder)


def options(**more):
    return OrchestratorOptions(
        run_trials_in_batches=True,
        max_pending_trials=4,
        min_seconds_before_poll=0,
        init_seconds_between_polls=0,
        **more,
    )


def experiment(task, runner):
    goal = Objective(expression="mean", metric_name_to_signature={"mean": "mean"})
    return Experiment(
        name="plain",
        search_space=task.space.to_ax(),
        optimization_config=OptimizationConfig(objective=goal),
        metrics=[OutputMetric("mean"), OutputMetric("top")],
        runner=runner,
    )


def sobol():
    step = GenerationStep(generator=Generators.SOBOL, num_trials=-1, generator_kwargs={"seed": 5})
    return GenerationStrategy(name="sobol", nodes=[step])


def orchestrator(task, runner, db_settings=None, **more):
    return Orchestrator(
        experiment=experiment(task, runner),
        generation_strategy=sobol(),
        options=options(**more),
        db_settings=db_settings,
    )


def outcomes(experiment_):
    return {
        index: (trial.status.name, trial.run_metadata)
        for index, trial in experiment_.trials.items()
    }


TOLERANT = {"tolerated_trial_failure_rate": 0.99}


def test_a_campaign_is_stored_reloaded_and_continued(runners_case, database):
    straight = orchestrator(runners_case.task, runners_case.runner(), **TOLERANT)
    straight.run_n_trials(8)
    dbs = settings(database, [runners_case.task])
    first = orchestrator(runners_case.task, runners_case.runner(), dbs, **TOLERANT)
    first.run_n_trials(4)
    second = Orchestrator.from_stored_experiment("plain", options(**TOLERANT), dbs)
    assert second.experiment.runner == runners_case.runner()
    assert second.experiment.runner.task is runners_case.task
    assert outcomes(second.experiment) == outcomes(first.experiment)
    second.run_n_trials(4)
    assert outcomes(second.experiment) == outcomes(straight.experiment)
    stored = Orchestrator.from_stored_experiment("plain", options(), dbs).experiment
    assert outcomes(stored) == outcomes(straight.experiment)
    # About half of the arms have a negative x, whose logarithm is not finite.
    statuses = {status for status, _ in outcomes(stored).values()}
    assert statuses == {"COMPLETED", "FAILED"}
    for trial in stored.trials.values():
        if trial.status == TrialStatus.FAILED:
            assert "nan" in trial.status_reason
            assert "nan" in next(iter(trial.run_metadata["ax_jax"]["arms"].values()))["failure"]
    data = stored.lookup_data().df
    assert set(data["trial_index"]) == {
        index for index, (status, _) in outcomes(stored).items() if status == "COMPLETED"
    }
    for row in data.itertuples():
        record = stored.trials[row.trial_index].run_metadata["ax_jax"]["arms"][row.arm_name]
        assert row.mean == pytest.approx(record["outputs"][row.metric_name][0], rel=1e-9, abs=1e-9)


def test_a_batch_with_a_bad_arm_goes_through_the_loop(runners_case, database):
    dbs = settings(database, [runners_case.task])
    loop = orchestrator(
        runners_case.task,
        runners_case.runner(),
        dbs,
        trial_type=TrialType.BATCH_TRIAL,
        batch_size=4,
        **TOLERANT,
    )
    runners_case.batch(loop.experiment, *runners_case.good[:2], runners_case.bad)
    worse = {**runners_case.bad, "y": 0.7}
    runners_case.batch(loop.experiment, runners_case.bad, worse)
    loop.run_n_trials(2)
    statuses = [trial.status for trial in loop.experiment.trials.values()]
    assert statuses == [TrialStatus.COMPLETED, TrialStatus.FAILED]
    stored = Orchestrator.from_stored_experiment("plain", options(), dbs).experiment
    assert [arm.name for arm in stored.trials[0].abandoned_arms] == ["0_2"]
    assert "nan" in stored.trials[0].abandoned_arms_metadata[0].reason
    assert stored.trials[1].status == TrialStatus.FAILED
    assert set(stored.lookup_data().df["arm_name"]) == {"0_0", "0_1"}


def test_a_task_that_raises_fails_its_trials_and_the_loop_ends_clearly(runners_case, database):
    if runners_case.name.startswith("Worker"):
        pytest.skip("a class of this function cannot travel to a worker")

    class Broken(type(runners_case.task)):
        calls = 0

        def advance(self, state):
            type(self).calls += 1
            raise OSError("the licence server is away")

    task = Broken.__new__(Broken)
    task.__dict__.update(vars(runners_case.task))
    dbs = settings(database, [task])
    loop = orchestrator(task, runners_case.build(task), dbs, **TOLERANT)
    with pytest.raises(FailureRateExceededError):
        loop.run_n_trials(2)
    assert outcomes(loop.experiment).keys() == {0, 1}
    for trial in loop.experiment.trials.values():
        assert trial.status == TrialStatus.FAILED
        assert "licence server" in trial.status_reason
    # Once together, where both run together, and once for each arm: nothing is repeated by Ax.
    assert Broken.calls == (2 if runners_case.is_single else 3)


@pytest.mark.slow
def test_a_campaign_loaded_without_its_task_ends_with_a_sentence(runners_case, database):
    dbs = settings(database, [runners_case.task])
    loop = orchestrator(runners_case.task, runners_case.runner(), dbs, **TOLERANT)
    loop.run_n_trials(4)
    before = outcomes(loop.experiment)
    bare = Orchestrator.from_stored_experiment("plain", options(), settings(database, []))
    assert outcomes(bare.experiment) == before
    assert bare.experiment.runner == runners_case.runner()
    with pytest.raises(TaskNotBound, match="registry_bundle"):
        bare.run_n_trials(2)
    again = Orchestrator.from_stored_experiment("plain", options(**TOLERANT), dbs)
    again.run_n_trials(2)
    assert {i: outcomes(again.experiment)[i] for i in before} == before


SCRIPT = """
import sys
import jax.numpy as jnp
from ax_jax_runners import FeatureEvaluator, FeatureTask, JaxRunner, Parameter, ParameterSpace

def simulate(p):
    return {"y": p["x"] * jnp.arange(3.0)}

def mean(features):
    return features["y"].mean()

space = ParameterSpace([Parameter("x", lower=-1.0, upper=1.0)])
task = FeatureTask(FeatureEvaluator(simulate, space), outputs={"mean": mean, "top": mean})
"""

RESUME = """
import json, logging, sys
logging.disable(logging.CRITICAL)
import simulator
from ax.orchestration.orchestrator import Orchestrator
from ax.orchestration.orchestrator_options import OrchestratorOptions
from ax.storage.sqa_store.structs import DBSettings
from ax_jax_runners.campaign.registry import registry_bundle

bundle = registry_bundle(tasks=[simulator.task])
loop = Orchestrator.from_stored_experiment(
    "plain",
    OrchestratorOptions(run_trials_in_batches=True, max_pending_trials=4,
                        min_seconds_before_poll=0, init_seconds_between_polls=0),
    DBSettings(url=sys.argv[1], encoder=bundle.encoder, decoder=bundle.decoder),
)
assert loop.experiment.runner == simulator.JaxRunner(simulator.task, seed=7)
loop.run_n_trials(4)
print(json.dumps([t.run_metadata for t in loop.experiment.trials.values()]))
"""


def test_a_fresh_process_goes_on(database, tmp_path: Path, monkeypatch):
    (tmp_path / "simulator.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    import simulator  # pyright: ignore[reportMissingImports]

    runner = JaxRunner(simulator.task, seed=7)
    orchestrator(simulator.task, runner, settings(database, [simulator.task])).run_n_trials(4)
    straight = orchestrator(simulator.task, runner.clone())
    straight.run_n_trials(8)
    done = subprocess.run(
        [sys.executable, "-c", RESUME, database],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    continued = json.loads(done.stdout.splitlines()[-1])
    assert continued == [t.run_metadata for t in straight.experiment.trials.values()]
