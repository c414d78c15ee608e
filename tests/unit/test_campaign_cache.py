"""What was computed once is not computed again, whichever campaign asks; and only then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    JaxRunner,
    Parameter,
    ParameterSpace,
    SimulatedBackendJaxRunner,
    SingleRunningTrialJaxRunner,
    StepwiseTask,
    Store,
    SyntheticJaxRunner,
)
from ax_jax_runners.campaign.outcome_rows import arm_outcomes
from ax_jax_runners.cli.app import app
from ax_jax_runners.runners import TaskRunner
from ax_jax_runners.store import events
from ax_jax_runners.store.copying import copy_campaign
from ax_jax_runners.store.tables import attempt, evaluation, observation
from ax_jax_runners.tasks import Progress, RandomWalkTask, Task
from tests.contract.cases import walk_task

SPACE = ParameterSpace(
    [
        Parameter("x", lower=-1.0, upper=1.0),
        Parameter("n", lower=1, upper=5, integer=True),
        Parameter("c", fixed=2.0),
    ]
)
CALLS: list[float] = []


def _measure(x: np.ndarray, pause: float) -> np.ndarray:
    CALLS.extend(np.atleast_1d(x).tolist())
    time.sleep(pause * np.size(x))
    return np.asarray(x, np.float64) ** 2


def simulate(values: Mapping[str, Any]) -> dict[str, jax.Array]:
    x = jnp.asarray(values["x"])
    shape = jax.ShapeDtypeStruct((), np.float64)
    y = jax.pure_callback(lambda v: _measure(v, 0.0), shape, x, vmap_method="sequential")
    return {"y": y * values["n"] + values["c"]}


def noisy(values: Mapping[str, Any], key: jax.Array) -> dict[str, jax.Array]:
    return {"y": values["x"] + jax.random.normal(key)}


def output(features: Mapping[str, jax.Array]) -> jax.Array:
    return features["y"]


# A chunk of one row, so that every call is an arm.
TASK = FeatureTask(FeatureEvaluator(simulate, SPACE, chunk=1, capacity=8), outputs={"y": output})
NOISY = FeatureTask(FeatureEvaluator(noisy, SPACE, stochastic=True), outputs={"y": output})


def begin(values: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
    return {"x": values["x"], "t": 0, "key": key}


def advance(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "x": 0.5 * state["x"], "t": state["t"] + 1}


def report(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "step": state["t"],
        "done": state["t"] >= 3,
        "outputs": {"y": (state["x"], 0.0)},
        "arrays": {"end": state["x"]},
    }


LONG = StepwiseTask(SPACE, outputs=["y"], begin=begin, advance=advance, report=report)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'c.db'}")
    yield opened
    opened.close()


@pytest.fixture
def any_store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


def make(store: Store, name: str, task: Task | None = TASK, **options: Any) -> Campaign:
    settings = {"objective": "-y", "generation": "sobol", "seed": 3, "batch_size": 4, **options}
    return Campaign(name, task, store=store, **settings)


def run(store: Store, name: str, task: Task | None = TASK, **options: Any) -> Campaign:
    return make(store, name, task, **options).run(4, progress=False)


def sources(campaign: Campaign) -> list[str | None]:
    return [
        outcome.get("cached")
        for trial in campaign.experiment.trials.values()
        for outcome in arm_outcomes(trial).values()
    ]


def results(campaign: Campaign) -> Any:
    return campaign.to_frame().drop(columns="arm_name")


def calls_of(work: Callable[[], Any]) -> tuple[Any, int]:
    before = len(CALLS)
    found = work()
    return found, len(CALLS) - before


def test_a_repeated_campaign_evaluates_nothing(any_store: Store) -> None:
    store = any_store
    first, calls = calls_of(lambda: run(store, "first"))
    assert calls >= 4
    again, calls = calls_of(lambda: run(store, "again", objective="y"))
    assert calls == 0
    assert results(first).equals(results(again))
    assert sources(first) == [None] * 4
    assert sources(again)[2] == "campaign 'first', trial 2, arm 2_0"
    frames = [c.experiment.data.full_df.drop(columns="arm_name") for c in (first, again)]
    assert frames[0].equals(frames[1])


def test_what_was_reused_is_recorded_as_cached(store: Store) -> None:
    run(store, "first")
    again = run(store, "again")
    experiment_id = again.record.experiment_id
    with store.reading() as connection:
        for table, status in ((observation, "cached"), (attempt, "cached")):
            rows = connection.execute(
                select(table.c.status).where(table.c.experiment_id == experiment_id)
            )
            assert [row.status for row in rows] == [status] * 4
        found = connection.execute(select(evaluation).order_by(evaluation.c.id)).all()
        reasons = [e.reason for e in events.read_events(connection, again.record.id, limit=None)]
    assert [row.cached_from for row in found[:4]] == [None] * 4
    assert [row.evaluation_id for row in found[4:]] == [row.evaluation_id for row in found[:4]]
    assert "the result of campaign 'first', trial 1, arm 1_0" in reasons
    assert Campaign.load("again", TASK, store=store).best() == again.best()


def test_without_the_cache_everything_is_evaluated(store: Store) -> None:
    run(store, "first")
    again, calls = calls_of(lambda: make(store, "again").run(4, cache=False, progress=False))
    assert calls >= 4
    assert sources(again) == [None] * 4


def test_an_arm_of_one_campaign_is_not_evaluated_twice(store: Store) -> None:
    campaign = run(store, "first")
    arm = dict(campaign.experiment.trials[1].arms[0].parameters)
    arm.pop("c")
    campaign.attach(arm)
    _, calls = calls_of(lambda: campaign.run(5, progress=False))
    assert calls == 0
    assert sources(campaign)[4] == "campaign 'first', trial 1, arm 1_0"


def test_failed_arms_and_own_measurements_are_no_results(store: Store) -> None:
    first = make(store, "first")
    first.attach({"x": 0.5, "n": 2}, {"y": 7.0})
    first.run(1, progress=False)
    second = make(store, "second")
    second.attach({"x": 0.5, "n": 2})
    second.run(1, progress=False)
    assert sources(second) == [None]
    assert second.to_frame()["y"].tolist() == [2.5]


def test_another_computation_is_another_evaluation(store: Store) -> None:
    run(store, "first")
    wider = SPACE.replace({"c": {"fixed": 3.0}})
    other = FeatureTask(
        FeatureEvaluator(simulate, wider, chunk=1, capacity=8), outputs={"y": output}
    )
    assert sources(run(store, "constant", other)) == [None] * 4
    doubled = FeatureTask(TASK.evaluator, outputs={"y": lambda features: features["y"] * 2})
    assert sources(run(store, "output", doubled)) == [None] * 4


def test_random_results_are_reused_under_the_same_key_only(store: Store) -> None:
    first = run(store, "first", NOISY)
    arm = dict(first.experiment.trials[1].arms[0].parameters)
    arm.pop("c")
    other_place = make(store, "other place", NOISY)
    other_place.attach(arm)
    other_place.run(1, progress=False)
    assert sources(other_place) == [None]
    other_seed = make(store, "other seed", None, runner=JaxRunner(NOISY, seed=4))
    other_seed.run(4, progress=False)
    assert sources(other_seed) == [None] * 4
    assert sources(run(store, "again", NOISY)) == [
        f"campaign 'first', trial {index}, arm {index}_0" for index in range(4)
    ]


@pytest.mark.parametrize(
    "kind", [JaxRunner, SingleRunningTrialJaxRunner, SimulatedBackendJaxRunner]
)
def test_every_runner_takes_what_is_known(store: Store, kind: type[TaskRunner]) -> None:
    first = run(store, "first")
    again, calls = calls_of(lambda: run(store, "again", None, runner=kind(TASK, seed=3)))
    assert calls == 0
    assert results(first).equals(results(again))
    assert None not in sources(again)


def test_a_simulated_cluster_has_its_history_all_the_same(store: Store) -> None:
    def timeline(name: str, **options: Any) -> Any:
        runner = SimulatedBackendJaxRunner(TASK, max_concurrency=2, seed=3)
        campaign = make(store, name, None, runner=runner).run(4, progress=False, **options)
        return runner.timeline(campaign.experiment)

    assert timeline("first").equals(timeline("again"))


def test_synthetic_trials_keep_their_labels(store: Store) -> None:
    for name in ("first", "again"):
        runner = SyntheticJaxRunner("branin", dummy_metadata={"bench": 2})
        output_name = runner.bound_task.outputs[0]
        campaign = run(store, name, None, runner=runner, objective=f"-{output_name}")
    assert None not in sources(campaign)
    assert campaign.experiment.trials[2].run_metadata["dummy_metadata"] == {"bench": 2}
    assert campaign.experiment.trials[2].run_metadata["name"] == "again_2"


def test_long_trials_come_with_their_curves_and_arrays(store: Store) -> None:
    first, again = run(store, "first", LONG), run(store, "again", LONG)
    assert None not in sources(again)
    for index in range(4):
        (one,), (other,) = (
            arm_outcomes(c.experiment.trials[index]).values() for c in (first, again)
        )
        assert one["curves"] == other["curves"]
        assert one["artifacts"] == other["artifacts"]
        (digest,) = set(other["artifacts"].values())
        assert store.files is not None
        assert "end" in store.files.read_arrays(digest)
    with store.reading() as connection:
        rows = connection.execute(
            select(observation.c.step, observation.c.status)
            .where(observation.c.experiment_id == again.record.experiment_id)
            .where(observation.c.trial_index == 1)
            .order_by(observation.c.step)
        ).all()
    assert [tuple(row) for row in rows] == [(1, "running"), (2, "running"), (3, "cached")]
    loaded = Campaign.load("again", LONG, store=store)
    assert loaded.best() == again.best()
    assert loaded.experiment.data.full_df.equals(again.experiment.data.full_df)


def test_a_result_whose_arrays_are_gone_is_computed_again(store: Store) -> None:
    first = run(store, "first", LONG)
    (outcome,) = arm_outcomes(first.experiment.trials[1]).values()
    assert store.files is not None
    store.files.path(outcome["artifacts"]["end"]).unlink()
    again = run(store, "again", LONG)
    assert [source is None for source in sources(again)] == [False, True, False, False]
    assert results(first).equals(results(again))


def test_a_trial_that_was_cut_short_is_no_result(store: Store) -> None:
    runner = SingleRunningTrialJaxRunner(LONG, seed=3)
    campaign = make(store, "first", None, runner=runner)
    trials = [campaign.experiment.new_trial() for _ in range(2)]
    for number, trial in enumerate(trials):
        trial.add_arm(_arm(0.25 + number))
        trial.mark_running(no_runner_required=True)
        trial.update_run_metadata(runner.run(trial))
    runner.poll_trial_status(trials)
    (outcome,) = arm_outcomes(trials[0]).values()
    assert (outcome["status"], outcome["is_cut"], outcome["step"]) == ("completed", True, 1)


def _arm(x: float) -> Any:
    from ax.core.arm import Arm

    return Arm({"x": x, "n": 1, "c": 2.0})


@dataclass(frozen=True)
class Undescribed:
    """Its text may call anything, so that nobody knows what decides its results."""

    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("y",)

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: jax.Array) -> dict[str, np.ndarray]:
        return {"x": np.array([arm["x"] for arm in arms])}

    def advance(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return state

    def progress(self, state: dict[str, np.ndarray]) -> list[Progress]:
        return [Progress(1, True, {"y": (float(x), 0.0)}) for x in state["x"]]


@dataclass(frozen=True)
class Described(Undescribed):
    scale: float = 1.0
    told: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {"scale": self.scale}


def test_own_tasks_are_reused_where_they_describe_themselves(store: Store) -> None:
    run(store, "plain", Undescribed())
    assert sources(run(store, "plain again", Undescribed())) == [None] * 4
    run(store, "told", Described())
    assert None not in sources(run(store, "told again", Described()))
    assert sources(run(store, "told otherwise", Described(scale=2.0))) == [None] * 4


def test_a_simulator_that_acts_on_its_surroundings_acts_each_time(store: Store) -> None:
    acted: list[float] = []

    def bench(values: Mapping[str, Any]) -> dict[str, jax.Array]:
        jax.debug.callback(lambda x: acted.append(float(x)), values["x"])
        return {"y": values["x"]}

    task = FeatureTask(FeatureEvaluator(bench, SPACE), outputs={"y": output})
    run(store, "first", task)
    before = len(acted)
    assert sources(run(store, "again", task)) == [None] * 4
    assert len(acted) > before


def test_a_copied_campaign_brings_its_evaluations(store: Store, tmp_path: Path) -> None:
    run(store, "first")
    target = Store.open(f"sqlite:///{tmp_path / 'other.db'}")
    copy_campaign(store, target, "first")
    _, calls = calls_of(lambda: run(target, "again"))
    assert calls == 0
    target.close()


@pytest.mark.slow
def test_random_walks_are_reused_with_their_states(store: Store) -> None:
    task = walk_task()
    assert isinstance(task, RandomWalkTask)
    first = run(store, "first", task, objective="ess_per_1000")
    again = run(store, "again", task, objective="ess_per_1000")
    assert results(first).equals(results(again))
    completed = first.to_frame()["trial_status"] == "COMPLETED"
    assert [source is not None for source in sources(again)] == completed.tolist()
    assert completed.any()


def test_the_command_line_reuses_unless_told_not_to(tmp_path: Path, store: Store) -> None:
    def told(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--store", store.url, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    for name in ("first", "again", "afresh"):
        lines = [f'name = "{name}"', 'task = "branin"', "trials = 4", 'generation = "sobol"']
        (tmp_path / f"{name}.toml").write_text("\n".join(lines))
    for name, options in (("first", ()), ("again", ()), ("afresh", ("--no-cache",))):
        told("run", str(tmp_path / f"{name}.toml"), *options)
    with store.reading() as connection:
        found = connection.execute(select(evaluation.c.cached_from).order_by(evaluation.c.id)).all()
    assert [row.cached_from is not None for row in found] == [False] * 4 + [True] * 4 + [False] * 4
    told("resume", "again", "--trials", "6", "--no-cache")
    told("resume", "afresh", "--trials", "6")
    with store.reading() as connection:
        found = connection.execute(select(evaluation.c.cached_from).order_by(evaluation.c.id)).all()
    assert [row.cached_from is not None for row in found[12:]] == [False, False, True, True]


def test_the_command_line_takes_further_conditions(store: Store) -> None:
    campaign = run(store, "first")
    frame = campaign.to_frame()
    middle = float(frame["y"].median())
    asked = ["best", "first", "--store", store.url, "--json", "--subject-to"]
    result = CliRunner().invoke(app, [*asked, f"y >= {middle!r}"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["outputs"]["y"] == frame["y"][frame["y"] >= middle].min()
    assert CliRunner().invoke(app, [*asked, "z >= 0"]).exit_code == 2
    assert CliRunner().invoke(app, [*asked, "y >= 1000"]).exit_code == 1
