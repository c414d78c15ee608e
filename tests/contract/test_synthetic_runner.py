"""The contract of runners, for the one that brings its own tasks."""

from __future__ import annotations

import copy
import json
import pickle

import ax.storage.sqa_store.db as ax_db
import pytest
from ax.adapter.registry import Generators
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.objective import Objective
from ax.core.optimization_config import OptimizationConfig
from ax.core.runner import RunnerConfig
from ax.core.trial_status import TrialStatus
from ax.generation_strategy.generation_node import GenerationStep
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.orchestration.orchestrator import Orchestrator
from ax.orchestration.orchestrator_options import OrchestratorOptions
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json
from ax.storage.sqa_store.structs import DBSettings
from typer.testing import CliRunner

from ax_jax_runners import Campaign, problems
from ax_jax_runners.campaign.opening import open_campaign
from ax_jax_runners.campaign.registry import registry_bundle
from ax_jax_runners.campaign.settings import read_settings
from ax_jax_runners.cli.app import app
from ax_jax_runners.metrics import OutputMetric
from ax_jax_runners.problems import hypervolume
from ax_jax_runners.runners import SyntheticJaxRunner

# Stock Ax and its tables use what pandas and SQLAlchemy announce to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:TypeDecorator JSONEncoded"),
]
NOISE = {"base": 0.1, "slope": 0.01}
OPTIONS = {"run_trials_in_batches": True, "max_pending_trials": 4}
QUICK = {"min_seconds_before_poll": 0, "init_seconds_between_polls": 0}


def noisy(seed=7, **more):
    return SyntheticJaxRunner("branin", noise_sd=NOISE, dummy_metadata={"a": 1}, seed=seed, **more)


def new_experiment(problem="branin", name="contract"):
    return Experiment(name=name, search_space=problems.build(problem).space.to_ax())


def new_trials(experiment, count=5):
    arms = [{"x1": 1.0 + i, "x2": 2.0 * i} for i in range(count)]
    return [experiment.new_trial().add_arm(Arm(arm)) for arm in arms]


def deploy(runner, trials):
    for index, metadata in runner.run_multiple(trials=trials).items():
        trial = next(trial for trial in trials if trial.index == index)
        trial.update_run_metadata(metadata)
        trial.mark_running(no_runner_required=True)


def outputs(trials):
    return [arm["outputs"] for t in trials for arm in t.run_metadata["ax_jax"]["arms"].values()]


def test_the_base_contract():
    runner = noisy()
    assert runner.staging_required is False
    assert runner.run_metadata_report_keys == ["name"]
    assert runner.poll_available_capacity() == -1
    assert runner.run_multiple(trials=[]) == {}
    assert runner.poll_trial_status(trials=[]) == {}
    with pytest.raises(TypeError):
        runner.update("not arguments")
    runner.update(RunnerConfig.RunnerUpdateArguments())
    trials = new_trials(new_experiment())
    assert runner.poll_trial_status(trials=trials) == {TrialStatus.CANDIDATE: {0, 1, 2, 3, 4}}
    deploy(runner, trials)
    assert runner.poll_trial_status(trials=trials) == {TrialStatus.COMPLETED: {0, 1, 2, 3, 4}}
    # The poll leaves the names where they are.
    assert [trial.run_metadata["name"] for trial in trials] == [f"contract_{i}" for i in range(5)]
    assert json.loads(json.dumps(trials[0].run_metadata, allow_nan=False)) == trials[0].run_metadata
    assert runner.stop(trials[0], reason="enough")["reason"] == "enough"


def test_the_batch_its_order_and_its_split_never_matter():
    whole, parts = new_trials(new_experiment()), new_trials(new_experiment())
    deploy(noisy(), whole)
    runner = noisy()
    deploy(runner, parts[3:][::-1])
    deploy(runner, parts[:3])
    assert outputs(parts) == outputs(whole)
    other = new_trials(new_experiment())
    deploy(noisy(seed=8), other)
    assert all(
        a["value"] != b["value"] for a, b in zip(outputs(other), outputs(whole), strict=True)
    )


def test_a_trial_that_was_lost_is_run_again_with_the_same_noise():
    trials, again = new_trials(new_experiment()), new_trials(new_experiment())
    deploy(noisy(), trials)
    for trial in again:
        trial.mark_running(no_runner_required=True)
    assert noisy().poll_trial_status(again) == {TrialStatus.COMPLETED: {0, 1, 2, 3, 4}}
    assert outputs(again) == outputs(trials)


def test_a_bad_arm_fails_alone():
    experiment = new_experiment("zdt1")
    # Outside the box ZDT1 takes the square root of a negative number.
    rows, rest = [0.5, -0.5, 0.25], {f"x{i}": 0.5 for i in range(2, 7)}
    trials = [experiment.new_trial().add_arm(Arm({"x1": row, **rest})) for row in rows]
    runner = SyntheticJaxRunner("zdt1", noise_sd=0.1)
    deploy(runner, trials)
    assert runner.poll_trial_status(trials) == {
        TrialStatus.COMPLETED: {0, 2},
        TrialStatus.FAILED: {1},
    }
    assert "nan" in runner.poll_exception(trials[1])


def test_copies_are_equal_and_start_fresh():
    runner = noisy()
    deploy(runner, new_trials(new_experiment()))
    for twin in (runner.clone(), copy.deepcopy(runner), pickle.loads(pickle.dumps(runner))):  # noqa: S301
        assert twin == runner
        assert twin is not runner
        assert vars(twin) == vars(runner)
        assert twin.task == runner.task
    assert runner != noisy(seed=8)
    assert runner != SyntheticJaxRunner("branin", noise_sd=NOISE, seed=7)
    assert runner != SyntheticJaxRunner("hartmann3", noise_sd=NOISE, seed=7)


def test_it_is_stored_as_json_without_its_task():
    bundle = registry_bundle()
    runner = noisy()
    record = json.loads(
        json.dumps(
            object_to_json(
                runner,
                encoder_registry=bundle.encoder_registry,
                class_encoder_registry=bundle.class_encoder_registry,
            ),
            allow_nan=False,
        )
    )
    again = object_from_json(
        record,
        decoder_registry=bundle.decoder_registry,
        class_decoder_registry=bundle.class_decoder_registry,
    )
    assert again == runner
    assert vars(again) == vars(runner)
    assert again.task == runner.task


@pytest.fixture
def database(tmp_path):
    """An SQLite file with Ax's tables; Ax's process-wide session is put back afterwards."""
    before = ax_db.SESSION_FACTORY
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    ax_db.init_engine_and_session_factory(url=url, force_init=True)
    ax_db.create_all_tables(ax_db.get_engine())
    bundle = registry_bundle()
    yield DBSettings(url=url, encoder=bundle.encoder, decoder=bundle.decoder)
    ax_db.get_engine().dispose()
    ax_db.SESSION_FACTORY = before


def orchestrator(runner, settings=None):
    goal = Objective(expression="-value", metric_name_to_signature={"value": "value"})
    step = GenerationStep(generator=Generators.SOBOL, num_trials=-1, generator_kwargs={"seed": 5})
    return Orchestrator(
        experiment=Experiment(
            name="plain",
            search_space=runner.task.space.to_ax(),
            optimization_config=OptimizationConfig(objective=goal),
            metrics=[OutputMetric("value"), OutputMetric("simple_regret")],
            runner=runner,
        ),
        generation_strategy=GenerationStrategy(name="sobol", nodes=[step]),
        options=OrchestratorOptions(**OPTIONS, **QUICK),
        db_settings=settings,
    )


def test_a_plain_orchestrator_stores_it_and_goes_on(database):
    straight = orchestrator(noisy())
    straight.run_n_trials(6)
    first = orchestrator(noisy(), database)
    first.run_n_trials(3)
    options = OrchestratorOptions(**OPTIONS, **QUICK)
    second = Orchestrator.from_stored_experiment("plain", options, database)
    assert second.experiment.runner == noisy()
    second.run_n_trials(3)
    for index, trial in straight.experiment.trials.items():
        twin = second.experiment.trials[index]
        assert twin.status == trial.status == TrialStatus.COMPLETED
        assert twin.run_metadata == trial.run_metadata
    # Ax's stored data have ten decimals.
    found = second.experiment.lookup_data().df.sort_values(["trial_index", "metric_name"])
    assert len(found) == 12
    assert (found[found.metric_name == "simple_regret"]["sem"] == 0).all()
    assert (found[found.metric_name == "value"]["sem"] > 0.1).all()


def test_a_campaign_runs_it_and_loads_by_name(store_url):
    runner = noisy()
    campaign = Campaign(
        "synthetic", runner=runner, objective="-value", store=store_url, generation="sobol"
    )
    campaign.run(trials=4)
    campaign.store.close()
    again = Campaign.load("synthetic", store=store_url)
    assert again.experiment.runner == runner
    again.run(trials=6)
    frame = again.to_frame()
    assert frame["trial_status"].tolist() == ["COMPLETED"] * 6
    assert [t.run_metadata["name"] for t in again.experiment.trials.values()] == [
        f"synthetic_{i}" for i in range(6)
    ]
    exact = runner.task.function.evaluate(frame[["x1", "x2"]])
    assert frame["simple_regret"].tolist() == exact["simple_regret"].tolist()
    again.store.close()


def test_a_campaign_of_several_objectives_has_a_front_and_its_hypervolume(tmp_path):
    problem = problems.get("branin-currin")
    campaign = Campaign(
        "front",
        runner=SyntheticJaxRunner("branin-currin"),
        objective=problem.objective,
        store=f"sqlite:///{tmp_path / 'front.db'}",
        generation="sobol",
    ).run(trials=16)
    frame = campaign.to_frame()
    volume = hypervolume(frame[["branin", "currin"]], problem.reference_point)
    front = [(best.outputs["branin"], best.outputs["currin"]) for best in campaign.best()]
    assert volume == pytest.approx(hypervolume(front, problem.reference_point), rel=1e-12)
    assert frame["hypervolume"].max() <= volume <= problem.max_hypervolume
    campaign.store.close()


def test_a_campaign_of_a_constrained_problem_keeps_the_constraints(tmp_path):
    problem = problems.get("gardner")
    campaign = Campaign(
        "constrained",
        runner=SyntheticJaxRunner("gardner"),
        objective=problem.objective,
        outcome_constraints=problem.outcome_constraints,
        store=f"sqlite:///{tmp_path / 'constrained.db'}",
        generation="sobol",
    ).run(trials=16)
    frame = campaign.to_frame()
    feasible = frame[frame["c1"] >= 0]
    assert 0 < len(feasible) < len(frame)
    best = campaign.best()
    assert best.outputs["value"] == feasible["value"].min()
    assert best.outputs["simple_regret"] == frame["simple_regret"].min()
    campaign.store.close()


def test_a_campaign_file_names_a_test_function_and_its_noise(tmp_path):
    path = tmp_path / "campaign.toml"
    path.write_text(
        f"""
name = "from a file"
store = "sqlite:///{tmp_path / "file.db"}"
task = "pressure-vessel"
generation = "sobol"
trials = 3

[task_options.noise_sd]
base = 1.0
slope = 0.01
"""
    )
    campaign = open_campaign(read_settings(path)).run()
    assert len(campaign.goals.constraints) == 4
    assert campaign.goals.objectives == ((("value", -1.0),),)
    data = campaign.experiment.lookup_data().df
    noise = data[data.metric_name == "value"]["sem"]
    assert len(noise) == 3
    assert (noise > 1.0).all()
    campaign.store.close()
    path.write_text(
        path.read_text()
        .replace("from a file", "free")
        .replace("trials = 3", "trials = 3\noutcome_constraints = []")
    )
    campaign = open_campaign(read_settings(path))
    assert campaign.goals.constraints == ()
    campaign.store.close()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("ackley", ["Best known value of the first output: 0", "noise_sd", "dimension"]),
        ("gardner", ["Outcome constraints: c1 >= 0", "Best known value of the first output: -2"]),
        ("zdt1", ["Largest known hypervolume: 120.667 below the point (11, 11)"]),
    ],
)
def test_the_command_line_shows_what_is_known_of_a_test_function(name, lines):
    result = CliRunner().invoke(app, ["problems", name])
    assert result.exit_code == 0
    assert all(line in result.output for line in lines)
