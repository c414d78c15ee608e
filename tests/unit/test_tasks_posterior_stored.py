"""Trainings of posteriors in campaigns: identity, copies, storage, early stopping, files."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy
from sqlalchemy import create_engine, inspect, text
from typer.testing import CliRunner

from ax_jax_runners import Campaign, JaxRunner, SimulatedBackendJaxRunner, Store, problems
from ax_jax_runners.campaign.settings import read_settings
from ax_jax_runners.cli.app import app
from ax_jax_runners.errors import (
    ConfigurationError,
    ParameterError,
    TaskChanged,
    TaskNotBound,
)
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.base import with_parameters
from ax_jax_runners.runners import decode_outcomes
from ax_jax_runners.tasks import PosteriorTask, task_identity
from ax_jax_runners.tasks.keys import arm_keys
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters
from tests.unit import posterior_tasks
from tests.unit.posterior_tasks import BASE, DATA, EPOCHS, PRIOR, dataset_of

SEEN = 360
RATE = Parameter("learning_rate", lower=1e-6, upper=1e-1, log_scale=True)
SEARCH = {"learning_rate": RATE, "width": Parameter("width", choices=[8, 16])}
ROOT = Path(__file__).resolve().parents[2]


def task_of(dataset: Any = DATA, **changes: Any) -> PosteriorTask:
    return posterior_tasks.task_of(dataset, **{"search": SEARCH, **changes})


def plain(**changes: Any) -> PosteriorTask:
    """A task that searches the learning rate only, so that one program is compiled."""
    return with_parameters(task_of(**changes), {"width": {"fixed": 16}})


def base_of(group: str, **fields: Any) -> Hyperparameters:
    return dataclasses.replace(BASE, **{group: dataclasses.replace(getattr(BASE, group), **fields)})


TASK = task_of()

# ---- identity

WIDER = ParameterSpace([Parameter(name, lower=-1.5, upper=1.0) for name in "ab"])
OTHER = {
    "data": task_of(dataset_of(seed=1)),
    "held back": task_of(dataset_of(validation_fraction=0.2)),
    "names": task_of(dataset_of(space=None, names=("c", "d")), prior=PRIOR),
    "search": task_of(search={"learning_rate": RATE}),
    "range": TASK.over(TASK.space.replace({"learning_rate": {"upper": 0.2}})),
    "epochs": task_of(epochs=5),
    "prior": task_of(prior=WIDER),
    "flow": task_of(hyperparameters=base_of("flow", layers=3)),
    "encoder": task_of(hyperparameters=base_of("encoder", vector_depth=1)),
    "optimiser": task_of(hyperparameters=base_of("optimiser", weight_decay=0.1)),
    "patience": task_of(hyperparameters=base_of("optimiser", patience=3)),
    "schedule": task_of(hyperparameters=base_of("optimiser", schedule_epochs=11.0)),
    "noise": task_of(hyperparameters=base_of("regularisation", parameter_noise=0.1)),
    "stability": task_of(hyperparameters=base_of("stability", inverse_error=None)),
    "space": task_of(hyperparameters=dataclasses.replace(BASE, parameter_space="cube")),
    "rows": task_of(calibration_rows=21),
    "draws": task_of(calibration_draws=11),
    "together": task_of(together=2),
}


def test_what_decides_the_training_decides_the_digest() -> None:
    digest = task_identity(TASK).digest
    assert task_identity(task_of(dataset_of())).digest == digest
    assert task_identity(task_of(prior=PRIOR)).digest == digest
    digests = {name: task_identity(task).digest for name, task in OTHER.items()}
    assert len({digest, *digests.values()}) == len(OTHER) + 1


def test_tasks_are_equal_by_contents() -> None:
    twin = task_of(dataset_of())
    assert twin == TASK
    assert hash(twin) == hash(TASK)
    assert all(other not in (TASK, None) for other in OTHER.values())
    assert TASK != "a task"


def test_copies_are_equal_and_can_be_sent() -> None:
    TASK.begin([{"learning_rate": 1e-3, "width": 16}], arm_keys(0, [(0, 0)]))
    for task in (TASK, *OTHER.values()):
        for twin in (pickle.loads(pickle.dumps(task)), copy.deepcopy(task)):  # noqa: S301
            assert twin == task
            assert task_identity(twin) == task_identity(task)


def test_the_description_is_plain_json() -> None:
    for task in (TASK, *OTHER.values()):
        assert json.loads(json.dumps(task.describe(), allow_nan=False)) == task.describe()
    assert task_identity(TASK).portable
    assert task_identity(TASK).reference.endswith(":PosteriorTask")


IDENTITY = """
from ax_jax_runners import problems
from ax_jax_runners.tasks import task_identity
task = problems.build("two-moons-npe", simulations=200, epochs=2)
print(task_identity(task).digest)
"""


@pytest.mark.slow
def test_every_process_finds_the_same_digest() -> None:
    found = subprocess.run(
        [sys.executable, "-c", IDENTITY], capture_output=True, text=True, timeout=120, check=True
    )
    task = problems.build("two-moons-npe", simulations=200, epochs=2)
    assert found.stdout.strip() == task_identity(task).digest
    others: tuple[dict[str, Any], ...] = (
        {"simulations": 201},
        {"epochs": 3},
        {"seed": 1},
        {"together": 2},
    )
    digests = {
        task_identity(
            problems.build("two-moons-npe", **{"simulations": 200, "epochs": 2, **changes})
        ).digest
        for changes in others
    }
    assert len(digests | {found.stdout.strip()}) == 5


# ---- the built-in problem


def test_the_problem_is_described_without_simulating() -> None:
    problem = problems.get("two-moons-npe")
    task = problems.build("two-moons-npe", simulations=10**9)
    assert isinstance(task, PosteriorTask)
    assert set(task.space.names) == {
        "learning_rate",
        "batch_size",
        "family",
        "layers",
        "width",
        "bins",
        "weight_decay",
        "parameter_noise",
        "parameter_space",
    }
    assert all(text.split()[0] in task.outputs for text in problem.outcome_constraints)
    assert problem.objective.removeprefix("-") in task.outputs
    assert task.epochs == 100
    assert task.hyperparameters.optimiser.schedule_epochs == 100


def test_overrides_of_the_search_are_remembered() -> None:
    options = {"simulations": 200, "epochs": 2}
    overrides = {"width": {"fixed": 32}, "learning_rate": {"upper": 1e-3}}
    task = problems.build("two-moons-npe", parameters=overrides, **options)
    assert problems.origin(task) == ("two-moons-npe", {**options, "parameters": overrides})
    assert "width" not in task.space.names
    values = {**task.space.unpack(task.space.lower)}
    assert values["width"] == 32
    assert task.hyperparameters.with_values(values).flow.width == 32
    with pytest.raises(ParameterError, match="unknown parameter 'widht'"):
        with_parameters(task, {"widht": {"fixed": 32}})


WRONG = [
    ({"simulations": 199}, "simulations is 199; give a whole number from 200"),
    ({"simulations": 1e4}, "simulations is 10000.0"),
    ({"seed": -1}, "seed is -1"),
    ({"epochs": 0}, "epochs is 0"),
    ({"together": 0}, "together is 0"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG)
def test_options_that_cannot_be_used_are_refused(options: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        problems.build("two-moons-npe", **options)


# ---- in a campaign


def outcome(trial: Any) -> Any:
    (found,) = decode_outcomes(trial.run_metadata).values()
    return found


def campaign_in(store: Store, task: PosteriorTask, name: str, **more: Any) -> Campaign:
    assert store.files is not None
    given = {"batch_size": 3, "generation": "sobol", "seed": 2, **more}
    runner = JaxRunner(task, seed=2, directory=store.files.folder)
    return Campaign(name, runner=runner, objective="-validation_nll", store=store, **given)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("trainings")
    opened = Store.open(f"sqlite:///{folder}/campaigns.db", artifacts=folder / "artifacts")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def campaign(store: Store) -> Campaign:
    """Networks of two shapes, trained in batches."""
    return campaign_in(store, TASK, "trainings").run(6, progress=False)


@pytest.mark.slow
def test_networks_of_different_shapes_are_trained_in_one_campaign(campaign: Campaign) -> None:
    trials = campaign.experiment.trials.values()
    assert [trial.status for trial in trials] == [TrialStatus.COMPLETED] * 6
    assert {trial.arm.parameters["width"] for trial in trials} == {8, 16}
    losses = {trial.index: outcome(trial).outputs["validation_nll"][0] for trial in trials}
    best: Any = campaign.best()
    assert best.trial_index == min(losses, key=losses.__getitem__)
    # Each alone has the same bits.
    trial = campaign.experiment.trials[best.trial_index]
    state = TASK.begin([trial.arm.parameters], arm_keys(2, [(trial.index, 0)]))
    for _ in range(EPOCHS):
        state = TASK.advance(state)
    (alone,) = TASK.progress(state)
    assert dict(alone.outputs) == dict(outcome(trial).outputs)


def test_curves_have_a_point_for_every_epoch(campaign: Campaign) -> None:
    for trial in campaign.experiment.trials.values():
        found = outcome(trial)
        points = found.curves["validation_nll"]
        assert [step for step, _, _ in points] == [SEEN * n for n in range(1, EPOCHS + 1)]
        assert all(error > 0 for _, _, error in points)
        assert [step for step, _, _ in found.curves["sbc_p_value"]] == [SEEN * EPOCHS]


def test_the_estimator_is_a_file_whose_address_is_in_the_database(
    campaign: Campaign, store: Store
) -> None:
    assert store.files is not None
    best: Any = campaign.best()
    engine = create_engine(store.url)
    with engine.connect() as connection:
        query = "SELECT sha256 FROM artifact WHERE name = 'estimator' AND trial_index = :trial"
        (digest,) = connection.execute(text(query), {"trial": best.trial_index}).scalars().all()
        names = connection.execute(text("SELECT DISTINCT name FROM artifact")).scalars().all()
        largest = max(
            len(str(value))
            for table in inspect(connection).get_table_names()
            for row in connection.execute(text(f'SELECT * FROM "{table}"'))  # noqa: S608
            for value in row
        )
    engine.dispose()
    assert sorted(names) == ["estimator", "training"]
    arrays = store.files.read_arrays(digest)
    estimator = PosteriorTask.estimator(arrays["estimator"])
    assert estimator.draw(np.zeros((1, 2)), 100).shape == (1, 100, 2)
    assert estimator.calibration is not None
    assert estimator.calibration["sbc_p_value"] == best.outputs["sbc_p_value"]
    # No weights are in the database.
    assert largest < arrays["training"].nbytes
    assert largest < 20_000
    longer = TASK.extend(arrays, 2 * EPOCHS)
    assert longer.step == 2 * EPOCHS * SEEN
    assert longer.outputs["validation_nll"][0] < best.outputs["validation_nll"]


def test_a_campaign_comes_back_and_refuses_another_task(campaign: Campaign, store: Store) -> None:
    again = Campaign.load("trainings", task_of(dataset_of()), store=store)
    assert again.best() == campaign.best()
    assert len(again.run(7, progress=False).experiment.trials) == 7
    with pytest.raises(TaskNotBound, match="PosteriorTask"):
        Campaign.load("trainings", store=store).run(8, progress=False)
    with pytest.raises(TaskChanged, match="computes something else"):
        Campaign.load("trainings", OTHER["data"], store=store).run(8, progress=False)


def test_trials_that_learn_too_slowly_are_stopped_and_keep_their_curves(store: Store) -> None:
    rule = PercentileEarlyStoppingStrategy(
        percentile_threshold=50.0, min_progression=2.0 * SEEN, min_curves=2
    )
    stopping = campaign_in(
        store,
        plain(),
        "stopped",
        batch_size=4,
        early_stopping=rule,
        outcome_constraints=["leak_fraction <= 0.5"],
    ).run(8, progress=False)
    by_status = stopping.experiment.trials_by_status
    stopped, completed = by_status[TrialStatus.EARLY_STOPPED], by_status[TrialStatus.COMPLETED]
    assert stopped
    assert completed
    assert len(stopped) + len(completed) == 8
    for trial in stopped:
        found = outcome(trial)
        assert 2 * SEEN <= found.step < EPOCHS * SEEN
        steps = [step for step, _, _ in found.curves["validation_nll"]]
        assert steps == [*range(SEEN, found.step + 1, SEEN)]
        assert found.artifacts == {}
    curves = stopping.experiment.lookup_data().df
    assert set(curves[curves.trial_index == stopped[0].index].metric_name) == {"validation_nll"}
    rates = [[t.arm.parameters["learning_rate"] for t in group] for group in (stopped, completed)]
    assert np.median(rates[0]) < np.median(rates[1])
    assert stopping.best().trial_index in {trial.index for trial in completed}


def test_data_that_cannot_be_learned_from_fails_every_trial_with_a_sentence(store: Store) -> None:
    narrow = ParameterSpace([Parameter(name, lower=-0.5, upper=0.5) for name in "ab"])
    runner = JaxRunner(plain(prior=narrow), seed=2)
    trials = deployed(runner, [1e-3, 1e-2])
    for trial in trials:
        assert "lie outside the prior's support" in outcome(trial).failure


# ---- other runners


def deployed(runner: Any, rates: list[float]) -> list[Any]:
    """Run one trial for each learning rate to its end."""
    experiment = Experiment(name="alone", search_space=plain().space.to_ax())
    trials = []
    for rate in rates:
        parameters = {"learning_rate": rate, "width": 16}
        trials.append(experiment.new_trial().add_arm(Arm(parameters)))
    for index, metadata in runner.run_multiple(trials).items():
        trials[index].update_run_metadata(metadata)
        trials[index].mark_running(no_runner_required=True)
    while any(not trial.status.is_terminal for trial in trials):
        for status, indices in runner.poll_trial_status(trials).items():
            for index in indices:
                if trials[index].status != status:
                    trials[index].mark_as(status, unsafe=True)
    return trials


def test_a_simulated_cluster_has_the_same_results() -> None:
    rates = [1e-3, 1e-2, 3e-2]
    expected = deployed(JaxRunner(plain(), seed=4), rates)
    runner = SimulatedBackendJaxRunner(plain(), max_concurrency=2, runtime=[8.0, 4.0, 2.0], seed=4)
    found = deployed(runner, rates)
    for trial, other in zip(found, expected, strict=True):
        assert trial.status == TrialStatus.COMPLETED
        assert outcome(trial).outputs == outcome(other).outputs
        assert outcome(trial).curves == outcome(other).curves
    assert runner.clock(found[0].experiment) == 8.0


# ---- campaign files

FILE = """\
name = "moons"
task = "two-moons-npe"
trials = 2
batch_size = 2
generation = "sobol"
objective = "-validation_nll"
[task_options]
simulations = 300
epochs = 3
[parameters]
family.fixed = "autoregressive"
layers.fixed = 3
width.fixed = 32
batch_size.fixed = 128
bins.fixed = 8
[early_stopping]
rule = "percentile"
min_progression = 540
min_curves = 5
"""


@pytest.mark.slow
def test_a_campaign_file_trains_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("moons.toml").write_text(FILE)
    found = CliRunner().invoke(app, ["run", "moons.toml", "--json"])
    assert found.exit_code == 0, found.stderr
    document = json.loads(found.stdout)
    assert (document["complete"], document["counts"]) == (True, {"COMPLETED": 2})
    assert set(document["best"]["parameters"]) >= {"learning_rate", "weight_decay"}
    more = CliRunner().invoke(app, ["run", "moons.toml", "--trials", "3", "--json"])
    assert json.loads(more.stdout)["run_now"] == 1


def test_the_campaign_file_of_the_notebooks_fits_the_problem() -> None:
    settings = read_settings(ROOT / "notebooks" / "two-moons-npe.toml")
    problem = problems.get("two-moons-npe")
    assert settings.task == problem.name == settings.name
    assert settings.objective == problem.objective
    assert tuple(settings.outcome_constraints) == problem.outcome_constraints
    task = problems.build(settings.task, **settings.task_options)
    assert isinstance(task, PosteriorTask)
    assert settings.early_stopping is not None
    whole = task.epochs * 9_000
    assert 0 < settings.early_stopping.min_progression < whole / 2
