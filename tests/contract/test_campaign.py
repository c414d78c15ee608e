"""What a campaign promises, on every database."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ax.core.trial_status import TrialStatus
from ax.global_stopping.strategies.improvement import ImprovementGlobalStoppingStrategy
from ax.orchestration.orchestrator import Orchestrator
from ax.orchestration.orchestrator_options import TrialType
from ax.storage.sqa_store import db
from ax.storage.sqa_store.structs import DBSettings
from sqlalchemy import select

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    JaxRunner,
    Parameter,
    ParameterSpace,
    Scheduler,
    Store,
    registry_bundle,
)
from ax_jax_runners.campaign.building import build_experiment
from ax_jax_runners.campaign.generation import build_strategy
from ax_jax_runners.campaign.objectives import read_goals
from ax_jax_runners.campaign.results import Best
from ax_jax_runners.campaign.scheduler import immediate_options
from ax_jax_runners.errors import (
    CampaignError,
    CampaignExists,
    CampaignNotFound,
    ConfigurationError,
    NoFeasibleArm,
    ParameterError,
    TaskChanged,
)
from ax_jax_runners.runners import TaskRunner
from ax_jax_runners.runners.execution import Execution, InProcessExecution
from ax_jax_runners.store.tables import attempt, observation
from ax_jax_runners.tasks import Task

GRID = np.linspace(0.0, 1.0, 20)


def curve(parameters: dict) -> dict:
    x = jnp.asarray(GRID)
    value = parameters["gain[0]"] * jnp.sin(parameters["line.k"] * x) + parameters["c"]
    # Every arm with a large offset is a simulator's failure.
    return {"y": jnp.where(parameters["c"] > 0.9, jnp.nan, value)}


def distance(features: dict) -> jax.Array:
    return jnp.sqrt(jnp.mean((features["y"] - jnp.sin(2 * GRID)) ** 2))


def peak(features: dict) -> jax.Array:
    return jnp.max(features["y"])


SPACE = ParameterSpace(
    [
        Parameter("gain[0]", lower=0.1, upper=2.0),
        Parameter("line.k", lower=0.5, upper=8.0, log_scale=True),
        Parameter("c", lower=-1.0, upper=1.0),
    ]
)
TASK = FeatureTask(FeatureEvaluator(curve, SPACE), outputs={"rms.error": distance, "N": peak})
OBJECTIVE = "-rms.error"
GOOD = {"gain[0]": 1.0, "line.k": 2.0, "c": 0.0}
BAD = {"gain[0]": 1.0, "line.k": 2.0, "c": 0.95}


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


def make(store: Store, name: str = "fit", **options: object) -> Campaign:
    settings: dict = {"objective": OBJECTIVE, "generation": "sobol", "seed": 3, **options}
    return Campaign(name, TASK, store=store, **settings)


def statuses(campaign: Campaign) -> dict[int, str]:
    return {index: trial.status.name for index, trial in campaign.experiment.trials.items()}


def test_a_campaign_runs_to_an_absolute_total(store: Store) -> None:
    campaign = make(store).run(trials=10, progress=False)
    assert len(campaign.experiment.trials) == 10
    campaign.run(trials=10, progress=False)
    assert len(campaign.experiment.trials) == 10
    campaign.run(trials=13, progress=False)
    assert sorted(campaign.experiment.trials) == list(range(13))


def test_what_is_loaded_is_what_was_there_to_the_last_bit(store: Store) -> None:
    before = make(store).run(trials=12, progress=False)
    after = Campaign.load("fit", TASK, store=store)
    assert before.to_frame().equals(after.to_frame())
    assert before.best() == after.best()
    frames = [c.experiment.data.full_df.drop(columns="sem") for c in (before, after)]
    assert frames[0].equals(frames[1])
    assert after.experiment.runner == before.experiment.runner


def test_a_resumed_campaign_gives_the_arms_of_a_straight_one(store: Store) -> None:
    straight = make(store, "straight").run(trials=12, progress=False)
    make(store, "halted").run(trials=5, progress=False, cache=False)
    loaded = Campaign.load("halted", TASK, store=store)
    resumed = loaded.run(trials=12, progress=False, cache=False)
    columns = ["trial_index", *SPACE.names, "rms.error", "N"]
    assert straight.to_frame()[columns].equals(resumed.to_frame()[columns])


def test_the_best_arm_is_the_best_row_of_the_table(store: Store) -> None:
    campaign = make(store).run(trials=16, progress=False)
    best, frame = campaign.best(), campaign.to_frame()
    assert isinstance(best, Best)
    row = frame.loc[frame["rms.error"].idxmin()]
    assert best.outputs == {"rms.error": row["rms.error"], "N": row["N"]}
    assert best.parameters == {name: row[name] for name in SPACE.names}
    assert (best.trial_index, best.arm_name) == (row["trial_index"], row["arm_name"])


def test_constraints_decide_what_may_be_best(store: Store) -> None:
    free = make(store, "free").run(trials=16, progress=False)
    frame = free.to_frame()
    bound = float(frame["N"].median())
    bounded = make(store, "bounded", outcome_constraints=[f"N <= {bound!r}"])
    best = bounded.run(trials=16, progress=False).best()
    allowed = frame[frame["N"] <= bound]
    assert isinstance(best, Best)
    assert best.outputs["rms.error"] == allowed["rms.error"].min()
    none = make(store, "none", outcome_constraints=["N <= -1e9"]).run(trials=3, progress=False)
    with pytest.raises(NoFeasibleArm, match="none of them is feasible"):
        none.best()


def test_several_objectives_give_a_pareto_front(store: Store) -> None:
    campaign = make(store, objective="-rms.error, N").run(trials=20, progress=False)
    front = campaign.best()
    assert isinstance(front, tuple)
    assert front
    points = campaign.to_frame().dropna()[["rms.error", "N"]].to_numpy()
    for arm in front:
        error, value = arm.outputs["rms.error"], arm.outputs["N"]
        better = (points[:, 0] <= error) & (points[:, 1] >= value)
        assert (points[better] == (error, value)).all()
    on_front = {arm.outputs["rms.error"] for arm in front}
    for error, value in points:
        if not any((points[:, 0] < error) & (points[:, 1] > value)):
            assert error in on_front or any((points[:, 0] <= error) & (points[:, 1] > value))


def test_a_bad_arm_fails_its_own_trial_with_a_sentence(store: Store) -> None:
    campaign = make(store)
    campaign.attach(BAD)
    campaign.attach(GOOD)
    campaign.run(trials=6, progress=False)
    assert statuses(campaign)[0] == "FAILED"
    assert set(statuses(campaign).values()) <= {"FAILED", "COMPLETED"}
    reason = campaign.experiment.trials[0].status_reason
    assert reason is not None
    assert "nan" in reason.lower()
    assert "'y'" in reason or " y" in reason
    best = campaign.best()
    assert isinstance(best, Best)
    assert best.trial_index == 1
    with store.reading() as connection:
        rows = connection.execute(select(observation.c.value).where(observation.c.trial_index == 0))
        assert [row.value for row in rows] == []
    again = Campaign.load("fit", TASK, store=store)
    assert again.experiment.trials[0].status_reason == reason


def test_attached_measurements_count_and_are_not_run(store: Store) -> None:
    campaign = make(store)
    index = campaign.attach(GOOD, {"rms.error": (0.125, 0.01), "N": 0.3})
    campaign.run(trials=3, progress=False)
    again = Campaign.load("fit", TASK, store=store)
    assert len(again.experiment.trials) == 3
    frame = again.to_frame().set_index("trial_index")
    assert frame.loc[index, "rms.error"] == 0.125
    (row,) = [
        row
        for row in again.experiment.data._data_rows
        if row.trial_index == index and row.mean == 0.125
    ]
    assert row.se == 0.01


@pytest.mark.parametrize(
    ("parameters", "outputs", "error", "sentence"),
    [
        ({"gain[0]": 1.0, "c": 0.0}, None, ParameterError, "line.k"),
        ({**GOOD, "typo": 1.0}, None, ParameterError, "typo"),
        (GOOD, {"N": 1.0}, ConfigurationError, "rms.error"),
        (GOOD, {"rms.error": 1.0, "M": 1.0}, ConfigurationError, "'M' is not known"),
        (GOOD, {"rms.error": math.nan}, ConfigurationError, "finite"),
        (GOOD, {"rms.error": "0.1"}, ConfigurationError, "finite"),
        (GOOD, {"rms.error": (0.1, 0.0, 0.0)}, ConfigurationError, "finite"),
    ],
)
def test_what_cannot_be_attached_is_refused(
    store: Store, parameters: dict, outputs: dict | None, error: type, sentence: str
) -> None:
    campaign = make(store)
    with pytest.raises(error, match=sentence):
        campaign.attach(parameters, outputs)
    assert Campaign.load("fit", TASK, store=store).experiment.trials == {}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", True),
        ("timeout", "soon"),
        ("timeout", math.nan),
        ("global_stopping", "when it is good"),
        ("generation", 3),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(store: Store, option: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"(?i){option} "):
        make(store, **{option: value})
    with pytest.raises(CampaignNotFound):
        Campaign.load("fit", store=store)


def test_a_time_limit_of_one_run_must_be_a_number(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="timeout is 'soon'"):
        make(store).run(trials=1, timeout="soon", progress=False)  # type: ignore[arg-type]


def test_an_output_may_not_take_a_parameters_name(store: Store) -> None:
    task = FeatureTask(TASK.evaluator, outputs={"c": lambda features: features["y"][0]})
    with pytest.raises(ConfigurationError, match="'c' is a parameter's name"):
        Campaign("taken", task, objective="c", store=store)


def test_failed_trials_can_be_run_again_under_their_index(store: Store) -> None:
    campaign = make(store)
    campaign.attach(BAD)
    campaign.run(trials=4, progress=False)
    campaign.retry_failed(progress=False)
    assert statuses(campaign)[0] == "FAILED"
    assert len(campaign.experiment.trials) == 4
    with store.reading() as connection:
        rows = connection.execute(
            select(attempt.c.attempt, attempt.c.status).where(attempt.c.trial_index == 0)
        ).all()
    assert [tuple(row) for row in rows] == [(1, "failed"), (2, "failed")]


def test_a_campaign_of_failures_ends_with_the_reason(store: Store) -> None:
    space = SPACE.replace({"c": {"lower": 0.95}})
    task = FeatureTask(FeatureEvaluator(curve, space), outputs=TASK.output_functions)
    campaign = Campaign(
        "bad", task, objective=OBJECTIVE, generation="sobol", store=store, batch_size=6
    )
    with pytest.raises(CampaignError, match="6 of 6 trials failed.*nan"):
        campaign.run(trials=30, progress=False)
    loaded = Campaign.load("bad", task, store=store)
    assert loaded.record.state == "failed"
    assert set(statuses(loaded).values()) == {"FAILED"}


def test_the_same_configuration_opens_and_another_is_refused(store: Store) -> None:
    make(store).run(trials=4, progress=False)
    assert len(make(store).experiment.trials) == 4
    with pytest.raises(CampaignExists, match="seed is 3 there and 4 here"):
        make(store, seed=4)
    with pytest.raises(CampaignExists, match="objective"):
        make(store, objective="N")
    wider = ParameterSpace([*SPACE.parameters[:2], Parameter("c", lower=-2.0, upper=1.0)])
    changed = FeatureTask(FeatureEvaluator(curve, wider), outputs=TASK.output_functions)
    with pytest.raises(CampaignExists, match="parameters"):
        Campaign("fit", changed, objective=OBJECTIVE, generation="sobol", seed=3, store=store)


def test_a_changed_function_is_refused_unless_accepted(store: Store) -> None:
    make(store).run(trials=4, progress=False)
    changed = FeatureTask(
        FeatureEvaluator(curve, SPACE),
        outputs={"rms.error": lambda features: 2 * distance(features), "N": peak},
    )
    with pytest.raises(TaskChanged, match="accept_changed"):
        Campaign.load("fit", changed, store=store)
    accepted = Campaign.load("fit", changed, store=store, accept_changed=True)
    accepted.run(trials=6, progress=False)
    assert len(accepted.experiment.trials) == 6


def test_a_campaign_without_its_task_can_be_read_but_not_run(store: Store) -> None:
    before = make(store).run(trials=4, progress=False)
    bare = Campaign.load("fit", store=store)
    assert bare.best() == before.best()
    with pytest.raises(Exception, match="curve"):
        bare.run(trials=6, progress=False)
    assert len(Campaign.load("fit", TASK, store=store).experiment.trials) in {4, 6}


def test_an_unknown_campaign_is_named(store: Store) -> None:
    with pytest.raises(CampaignNotFound, match="'nothing'"):
        Campaign.load("nothing", store=store)


def test_options_come_back(store: Store) -> None:
    stopping = ImprovementGlobalStoppingStrategy(min_trials=6, window_size=2, improvement_bar=9.0)
    make(store, batch_size=5, trials=7, timeout=60.0, global_stopping=stopping)
    loaded = Campaign.load("fit", TASK, store=store)
    assert loaded.total_trials == 7
    assert (loaded.options.batch_size, loaded.options.timeout) == (5, 60.0)
    assert loaded.options.global_stopping == stopping


def test_global_stopping_completes_a_campaign_early(store: Store) -> None:
    stopping = ImprovementGlobalStoppingStrategy(min_trials=6, window_size=2, improvement_bar=9.0)
    campaign = make(store, batch_size=3, global_stopping=stopping)
    campaign.run(trials=60, progress=False)
    assert len(campaign.experiment.trials) < 60
    assert Campaign.load("fit", TASK, store=store).record.state == "complete"


def test_two_stores_in_one_process_stay_apart(store: Store, tmp_path: Path) -> None:
    other = Store.open(f"sqlite:///{tmp_path / 'other.db'}")
    here, there = make(store, "here"), make(other, "there", seed=9)
    here.run(trials=4, progress=False)
    there.run(trials=5, progress=False)
    here.run(trials=6, progress=False)
    assert len(Campaign.load("here", TASK, store=store).experiment.trials) == 6
    assert len(Campaign.load("there", TASK, store=other).experiment.trials) == 5
    other.close()


def noisy(parameters: dict, key: jax.Array) -> dict:
    return {"y": parameters["a"] + jax.random.normal(key, (4,))}


def test_a_stochastic_simulator_reports_its_standard_error(store: Store) -> None:
    space = ParameterSpace([Parameter("a", lower=0.0, upper=1.0)])
    task = FeatureTask(
        FeatureEvaluator(noisy, space, stochastic=True),
        outputs={"mean": lambda features: jnp.mean(features["y"])},
        replicates=16,
    )
    campaign = Campaign("noisy", task, objective="mean", generation="sobol", store=store)
    campaign.run(trials=8, progress=False)
    sems = [row.se for row in campaign.experiment.data._data_rows]
    assert all(0.01 < sem < 0.5 for sem in sems)
    assert len(set(sems)) == 8
    loaded = Campaign.load("noisy", task, store=store)
    assert [row.se for row in loaded.experiment.data._data_rows] == sems


def test_arrays_go_to_files_named_by_their_digest(store: Store) -> None:
    campaign = make(store).run(trials=3, progress=False)
    assert store.files is not None
    best = campaign.best()
    assert isinstance(best, Best)
    trial = campaign.experiment.trials[best.trial_index]
    (outcome,) = trial.run_metadata["ax_jax"]["arms"].values()
    (digest,) = set(outcome["artifacts"].values())
    arrays = store.files.read_arrays(digest)
    expected = TASK.evaluator.model_features(SPACE.pack(best.parameters))["y"]
    np.testing.assert_allclose(next(iter(arrays.values())), expected, rtol=1e-15)


def test_run_metadata_is_plain_finite_json(store: Store) -> None:
    campaign = make(store)
    campaign.attach(BAD)
    campaign.run(trials=4, progress=False)
    for trial in campaign.experiment.trials.values():
        text = json.dumps(trial.run_metadata, allow_nan=False)
        assert json.loads(text) == trial.run_metadata
        assert trial.run_metadata["ax_jax"]["version"] == 1


@pytest.mark.slow
def test_a_model_phase_follows_the_quasi_random_start(store: Store) -> None:
    campaign = make(store, generation="fast", batch_size=3).run(trials=8, progress=False)
    nodes = [
        trial.generator_runs[0]._generation_node_name
        for trial in campaign.experiment.trials.values()
    ]
    assert nodes == ["Sobol"] * 6 + ["MBM"] * 2
    again = Campaign.load("fit", TASK, store=store).run(trials=9, progress=False)
    assert again.experiment.trials[8].generator_runs[0]._generation_node_name == "MBM"


class BenchRunner(TaskRunner):
    """A runner of a user's own, beside those that are known by number."""

    __slots__ = ()

    def start_execution(self, task: Task) -> Execution:
        return InProcessExecution(task, seed=self.seed, files=None)


def test_a_runner_class_of_ones_own_is_stored_and_loaded(store: Store) -> None:
    runner = BenchRunner(TASK, seed=3)
    before = Campaign("own", runner=runner, objective="N", generation="sobol", store=store)
    before.run(trials=4, progress=False)
    after = Campaign.load("own", TASK, store=store, classes=[BenchRunner])
    assert type(after.experiment.runner) is BenchRunner
    after.run(trials=6, progress=False)
    assert len(after.experiment.trials) == 6


def half_broken(parameters: dict) -> dict:
    return {"y": jnp.where(parameters["a"] > 0.5, jnp.nan, parameters["a"] + parameters["b"])}


def test_a_model_does_not_come_back_to_arms_that_failed(tmp_path: Path) -> None:
    space = ParameterSpace([Parameter(name, lower=0.0, upper=1.0) for name in "ab"])
    task = FeatureTask(FeatureEvaluator(half_broken, space), outputs={"y": lambda f: f["y"]})
    url = f"sqlite:///{tmp_path / 'c.db'}"
    # Everything speaks for the broken half, where there is never any data.
    campaign = Campaign("half", task, objective="y", store=url, batch_size=4, seed=1)
    campaign.run(trials=20, progress=False)
    failed = campaign.experiment.trials_by_status[TrialStatus.FAILED]
    points = np.array([list(trial.arms[0].parameters.values()) for trial in failed])
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(len(points))
    assert len(points) >= 3
    assert apart.min() > 1e-3
    campaign.store.close()


def test_the_scheduler_alone_stores_and_ax_reads_it(store: Store) -> None:
    experiment = build_experiment("plain", JaxRunner(TASK), read_goals("N", (), TASK.outputs))
    strategy = build_strategy("sobol", search_space=experiment.search_space, batch_size=4, seed=1)
    scheduler = Scheduler(experiment, strategy, store=store, options=immediate_options(4))
    assert scheduler.run_to(6)
    before = db.SESSION_FACTORY
    bundle = registry_bundle(tasks=[TASK])
    db.init_engine_and_session_factory(url=store.url, force_init=True)
    try:
        plain = Orchestrator.from_stored_experiment(
            "plain",
            immediate_options(4),
            db_settings=DBSettings(url=store.url, encoder=bundle.encoder, decoder=bundle.decoder),
        )
        plain.run_n_trials(4)
        assert len(plain.experiment.trials) == 10
        assert not plain.running_trials
    finally:
        db.get_engine().dispose()
        db.SESSION_FACTORY = before


def test_an_experiment_of_a_scheduler_alone_is_no_campaign(store: Store) -> None:
    experiment = build_experiment("alone", JaxRunner(TASK), read_goals("N", (), TASK.outputs))
    strategy = build_strategy("sobol", search_space=experiment.search_space, batch_size=4, seed=1)
    Scheduler(experiment, strategy, store=store).run_to(1)
    with pytest.raises(ConfigurationError, match="made by a Scheduler"):
        Campaign.load("alone", TASK, store=store)
    with pytest.raises(ConfigurationError, match="made by a Scheduler"):
        make(store, "alone")


def product(parameters: dict) -> dict:
    return {"y": parameters["n"] * 1.0 + parameters["k"]}


@pytest.mark.slow  # Ax looks long for a new point of a space that is used up
def test_a_space_of_few_points_is_complete_when_all_are_tried(tmp_path: Path) -> None:
    space = ParameterSpace(
        [Parameter("n", lower=1, upper=3, integer=True), Parameter("k", choices=("a", "b"))]
    )
    task = FeatureTask(FeatureEvaluator(product, space), outputs={"y": lambda f: f["y"]})
    url = f"sqlite:///{tmp_path / 'c.db'}"
    campaign = Campaign("few", task, objective="y", generation="sobol", store=url, batch_size=4)
    campaign.run(trials=20, progress=False)
    assert campaign.record.state == "complete"
    tried = campaign.to_frame()[["n", "k"]].drop_duplicates()
    assert len(tried) == len(campaign.experiment.trials) == 6
    assert campaign.best() == Campaign.load("few", task, store=url).best()


def test_the_scheduler_goes_on_with_what_it_stored(store: Store) -> None:
    goals = read_goals("N", (), TASK.outputs)

    def fresh() -> Scheduler:
        experiment = build_experiment("loop", JaxRunner(TASK), goals)
        strategy = build_strategy(
            "sobol", search_space=experiment.search_space, batch_size=4, seed=1
        )
        return Scheduler(experiment, strategy, store=store, options=immediate_options(4))

    fresh().run_to(6)
    with pytest.raises(CampaignExists, match="from_stored_experiment"):
        fresh()
    again = Scheduler.from_stored_experiment("loop", store=store, tasks=[TASK])
    assert again.run_to(10)
    assert sorted(again.experiment.trials) == list(range(10))
    arms = [trial.arms[0].signature for trial in again.experiment.trials.values()]
    assert len(set(arms)) == 10


def test_batch_trials_abandon_their_bad_arms(store: Store) -> None:
    experiment = build_experiment("batches", JaxRunner(TASK), read_goals("N", (), TASK.outputs))
    strategy = build_strategy("sobol", search_space=experiment.search_space, batch_size=4, seed=1)
    options = immediate_options(1, trial_type=TrialType.BATCH_TRIAL)
    object.__setattr__(options, "batch_size", 40)
    scheduler = Scheduler(experiment, strategy, store=store, options=options)
    scheduler.run_to(1)
    (trial,) = experiment.trials.values()
    bad = {arm.name for arm in trial.arms if arm.parameters["c"] > 0.9}
    assert bad
    assert trial.status is TrialStatus.COMPLETED
    assert {arm.name for arm in trial.abandoned_arms} == bad
    assert {row.arm_name for row in experiment.data._data_rows} == {
        arm.name for arm in trial.arms
    } - bad
    with store.reading() as connection:
        names = connection.exec_driver_sql("SELECT name FROM abandoned_arm_v2").scalars()
        assert set(names) == bad


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"objective": "-rms"}, "correct the name"),
        ({"objective": OBJECTIVE, "generation": "magic"}, "choose auto"),
        ({"objective": OBJECTIVE, "batch_size": 0}, "at least 1"),
        ({"objective": OBJECTIVE, "trials": 0}, "at least 1"),
        ({"objective": OBJECTIVE, "timeout": -1.0}, "positive"),
        ({"objective": OBJECTIVE, "outcome_constraints": "N <= 1"}, "give a list"),
    ],
)
def test_a_campaign_that_cannot_be_is_refused_and_leaves_nothing(
    tmp_path: Path, arguments: dict, sentence: str
) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'c.db'}")
    with pytest.raises(ConfigurationError, match=sentence):
        Campaign("fit", TASK, store=store, **arguments)
    with pytest.raises(CampaignNotFound, match="none"):
        Campaign.load("fit", store=store)
    store.close()


@pytest.mark.parametrize("task", ["ring", 3, curve])
def test_something_that_is_no_task_is_refused(tmp_path: Path, task: object) -> None:
    with pytest.raises(ConfigurationError, match="The task is a"):
        Campaign("fit", task, objective="a", store=f"sqlite:///{tmp_path / 'c.db'}")  # type: ignore
