"""Random walks in campaigns: identity, copies, storage, arrays, early stopping, campaign files."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle

import numpy as np
import pytest
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy
from sqlalchemy import create_engine, inspect, text

from ax_jax_runners import Campaign, JaxRunner, Store
from ax_jax_runners.errors import TaskChanged, TaskNotBound
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.exploration.diagnostics import ess_from_jumps
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.base import with_parameters
from ax_jax_runners.problems.regions import Ball
from ax_jax_runners.runners import decode_outcomes
from ax_jax_runners.tasks import RandomWalkTask, task_identity
from ax_jax_runners.tasks.keys import arm_keys

BALL = Ball(3)
WALK = RandomWalk(BALL.evaluator(chunk=8), BALL.constraints, n_iterations=1)


def task_of(walk=WALK, **changes):
    given = {"seed_points": [[0.5, 0.5, 0.5], [0.4, 0.5, 0.6]], "evaluations": 960, "particles": 8}
    return RandomWalkTask(walk, **{**given, **changes})


def walk_of(**changes):
    return dataclasses.replace(WALK, **changes)


def plain(task=None):
    """A task that searches step sizes only, so that one program is compiled."""
    fixed = {"kernel": {"fixed": "self_loop"}, "adapt": {"fixed": False}}
    return with_parameters(task or task_of(), fixed)


TASK = task_of()

# ---- identity


SAME = {
    "another object": task_of(),
    "checkpoints": task_of(
        walk_of(checkpoint_every=7, checkpoint_by_time=2.0, concat_every_n_save=9)
    ),
    "iterations": task_of(walk_of(n_iterations=10**6)),
    "what arms have of their own": task_of(
        walk_of(kernel="hit_and_run", max_step_size=0.3, adapt=True, seed=4)
    ),
}
OTHER = {
    "seed points": task_of(seed_points=[[0.5, 0.5, 0.5]]),
    "evaluations": task_of(evaluations=961),
    "particles": task_of(particles=7),
    "slices": task_of(slices=7),
    "known points": task_of(known_points=[[0.5, 0.5, 0.5]]),
    "other known points": task_of(known_points=[[0.5, 0.5, 0.6]]),
    "settings": TASK.over(TASK.space.replace({"step_ratio": {"upper": 0.9}})),
    "constraint": task_of(dataclasses.replace(WALK, constraints=[Constraint("radius", upper=0.2)])),
    "simulator": task_of(dataclasses.replace(WALK, evaluator=Ball(3, 0.2).evaluator(chunk=4))),
    "chunk": task_of(dataclasses.replace(WALK, evaluator=BALL.evaluator(chunk=16))),
    "dtype": task_of(dataclasses.replace(WALK, evaluator=BALL.evaluator("float32", chunk=8))),
    "explored": task_of(walk_of(params_to_explore=("x0", "x1"))),
    "mode": task_of(walk_of(mode="expand")),
    "aims": task_of(walk_of(aim_params={"x0": 0.6})),
    "other aims": task_of(walk_of(aim_params={"x0": 0.61})),
    "stop": task_of(walk_of(aim_params={"x0": 0.6}, stop_n_inside_with_aim_params=3)),
    "warm-up": task_of(walk_of(warm_up=200)),
    "suggestions": task_of(walk_of(max_suggestions=99)),
    "thin": task_of(walk_of(thin=2)),
}


def test_what_decides_the_paths_decides_the_digest():
    digest = task_identity(TASK).digest
    assert {name: task_identity(task).digest for name, task in SAME.items()} == dict.fromkeys(
        SAME, digest
    )
    digests = {name: task_identity(task).digest for name, task in OTHER.items()}
    assert len({digest, *digests.values()}) == len(OTHER) + 1


def test_tasks_are_equal_by_contents():
    assert TASK == task_of()
    assert hash(TASK) == hash(task_of())
    assert all(other not in (TASK, None) for other in OTHER.values())
    known = task_of(known_points=[[0.5, 0.5, 0.5]])
    assert known == task_of(known_points=np.array([[0.5, 0.5, 0.5]]))
    assert known != TASK
    assert TASK != "a task"


def test_copies_are_equal_and_can_be_sent():
    known = task_of(known_points=BALL.sample(0, 50))
    arm = {"seed_point": 0, "max_step_size": 0.1, "step_ratio": 0.5}
    known.begin([{**arm, "kernel": "self_loop", "adapt": False}], arm_keys(0, [(0, 0)]))
    for task in (TASK, known, *OTHER.values()):
        for twin in (pickle.loads(pickle.dumps(task)), copy.deepcopy(task)):  # noqa: S301
            assert twin == task
            assert task_identity(twin) == task_identity(task)


def test_the_description_is_plain_json():
    for task in (TASK, *OTHER.values()):
        assert json.loads(json.dumps(task.describe(), allow_nan=False)) == task.describe()


def test_only_a_simulator_of_a_module_can_be_found_again():
    assert task_identity(TASK).portable
    assert task_identity(TASK).reference.endswith(":RandomWalkTask")
    space = ParameterSpace([Parameter("a", lower=0.0, upper=1.0)])
    lambda_walk = RandomWalk(
        FeatureEvaluator(lambda p: {"f": p["a"]}, space),
        [Constraint("f", upper=0.5)],
        n_iterations=1,
    )
    assert not task_identity(task_of(lambda_walk, seed_points=[0.2])).portable


def broken(values):
    raise ValueError(values)


def test_a_simulator_that_cannot_be_traced_has_an_identity_and_fails_with_its_own_words():
    space = ParameterSpace([Parameter("a", lower=0.0, upper=1.0)])
    walk = RandomWalk(FeatureEvaluator(broken, space), [Constraint("f", upper=0.5)], n_iterations=1)
    task = task_of(walk, seed_points=[0.2])
    assert task_identity(task) == task_identity(task_of(walk, seed_points=[0.2]))


# ---- in a campaign


def campaign_in(store, task, name="walks", **more):
    given = {"trials": 5, "batch_size": 3, "generation": "sobol", "seed": 2, **more}
    runner = JaxRunner(task, seed=2, directory=store.files.folder)
    return Campaign(name, runner=runner, objective="log10_jump_ess_per_1000", store=store, **given)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    opened = Store.open(f"sqlite:///{folder}/campaigns.db", artifacts=folder / "artifacts")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def finished(store):
    return campaign_in(store, plain()).run(progress=False)


def outcome(trial):
    (found,) = decode_outcomes(trial.run_metadata).values()
    return found


def test_a_campaign_of_walks_is_stored_and_comes_back(finished, store):
    assert len(finished.experiment.trials) == 5
    assert finished.best().outputs["log10_jump_ess_per_1000"] > 0
    again = Campaign.load("walks", plain(), store=store)
    assert again.experiment.runner == finished.experiment.runner
    assert again.best() == finished.best()
    longer = again.run(6, progress=False)
    assert len(longer.experiment.trials) == 6
    unbound = Campaign.load("walks", store=store)
    with pytest.raises(TaskNotBound, match="RandomWalkTask"):
        unbound.run(7, progress=False)
    with pytest.raises(TaskChanged, match="computes something else"):
        Campaign.load("walks", plain(task_of(evaluations=961)), store=store).run(7, progress=False)


def test_arrays_are_files_that_their_digest_finds_and_no_point_is_in_the_database(finished, store):
    trial = finished.experiment.trials[0]
    report = outcome(trial)
    arrays = store.files.read_arrays(report.artifacts["unit_states"])
    assert set(arrays) == set(report.artifacts)
    assert arrays["unit_states"].shape == (120, 8, 3)
    assert BALL.contains(arrays["unit_states"]).all()
    extended = plain().extend(arrays, 1920)
    assert extended.arrays["unit_states"].shape == (240, 8, 3)
    np.testing.assert_array_equal(extended.arrays["unit_states"][:120], arrays["unit_states"])
    engine = create_engine(store.url)
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        size = max(
            len(str(value))
            for table in tables
            for row in connection.execute(text(f'SELECT * FROM "{table}"'))  # noqa: S608
            for value in row
        )
        kept = connection.execute(text("SELECT name, sha256 FROM artifact")).all()
    engine.dispose()
    assert ("unit_states", report.artifacts["unit_states"]) in [tuple(row) for row in kept]
    # One row of a walk alone would be 8 particles x 3 numbers; 120 of them are 50 kB of text.
    assert size < 40_000


@pytest.mark.slow
def test_curves_have_a_point_for_every_slice(finished):
    for trial in finished.experiment.trials.values():
        curves = outcome(trial).curves
        # 15 states of each particle are known after the first slice, too few to tell of mixing.
        assert [step for step, _, _ in curves["acceptance"]] == [*range(120, 961, 120)]
        assert [step for step, _, _ in curves["rhat"]] == [*range(240, 961, 120)]
        errors = [sem for _, _, sem in curves["log10_jump_ess_per_1000"]]
        assert all(error > 0 for error in errors)
        assert [sem is None for _, _, sem in curves["rhat"]] == [True] * 6 + [False]


@pytest.mark.slow
def test_bad_steps_are_stopped_early_and_the_best_goes_on(store):
    ball = Ball(10)
    walk = RandomWalk(ball.evaluator("float32", chunk=64), ball.constraints, n_iterations=1)
    task = plain(RandomWalkTask(walk, seed_points=[[0.5] * 10], evaluations=64 * 400, slices=4))
    rule = PercentileEarlyStoppingStrategy(
        metric_signatures=["log10_jump_ess_per_1000"],
        percentile_threshold=60.0,
        min_progression=6400.0,
        min_curves=2,
    )
    campaign = campaign_in(
        store, task, "stopped", trials=12, batch_size=4, early_stopping=rule
    ).run(progress=False)
    by_status = campaign.experiment.trials_by_status
    stopped, completed = by_status[TrialStatus.EARLY_STOPPED], by_status[TrialStatus.COMPLETED]
    assert len(stopped) >= 4
    assert len(stopped) + len(completed) == 12

    def value(trial):
        return outcome(trial).outputs["log10_jump_ess_per_1000"][0]

    straight = [log_ess(task, trial) for trial in stopped]
    best = max(map(value, completed))
    assert campaign.best().outputs["log10_jump_ess_per_1000"] == best
    # None of those that were stopped would have become the best.
    assert max(straight) < best
    assert log_ess(task, completed[0]) == pytest.approx(value(completed[0]))
    assert all(6400 <= outcome(trial).step < 25600 for trial in stopped)
    assert all(outcome(trial).artifacts == {} for trial in stopped)


def log_ess(task, trial):
    """Logarithm of effective draws per 1,000 evaluations of a trial that goes to its end."""
    state = task.begin([trial.arm.parameters], arm_keys(2, [(trial.index, 0)]))
    for _ in range(task.slices):
        state = task.advance(state)
    draws, _ = ess_from_jumps(np.moveaxis(state["unit"][0], 1, -1), variance=1 / 12)
    return math.log10(max(draws.min() * 1000 / task.evaluations, 1e-3))
