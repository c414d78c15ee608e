"""The campaigns on neurons that fire alike: how they are built, and that their parts fit."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ax_jax_runners import Campaign, Store, problems
from ax_jax_runners.campaign.settings import read_settings
from ax_jax_runners.cli.app import app
from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.problems.exploring import FURTHER_SEED_POINTS
from ax_jax_runners.problems.neurons import HodgkinHuxley
from ax_jax_runners.runners import decode_outcomes
from ax_jax_runners.tasks import FeatureTask, RandomWalkTask, task_identity
from ax_jax_runners.tasks.keys import arm_keys

SMALL = {"evaluations": 96, "particles": 4, "slices": 2, "seed_points": 1}


def test_the_finder_minimises_the_violation_of_the_neurons_constraints():
    task = problems.build("neuron-find")
    assert isinstance(task, FeatureTask)
    assert task.outputs == ("misfit", "violation")
    assert task.space == HodgkinHuxley().space
    assert problems.get("neuron-find").objective == "-misfit"
    points = [HodgkinHuxley().seed_point, *FURTHER_SEED_POINTS]
    far = {**points[0], "gNa": task.space.lower[task.space.names.index("gNa")]}
    state = task.begin([*points, far], arm_keys(0, [(i, 0) for i in range(4)]))
    found = [p.outputs["violation"][0] for p in task.progress(task.advance(state))]
    assert max(found[:3]) <= 0 < found[3]


def test_all_seed_points_of_the_explorer_are_inside():
    task = problems.build("neuron-explore")
    assert isinstance(task, RandomWalkTask)
    assert (task.evaluations, task.particles, task.slices) == (32_000, 64, 8)
    assert len(task.seed_points) == 3
    arm = {"max_step_size": 0.1, "step_ratio": 1.0, "kernel": "self_loop", "adapt": False}
    # A walk that begins outside would be refused.
    task.begin(
        [{**arm, "seed_point": i} for i in range(3)], arm_keys(0, [(i, 0) for i in range(3)])
    )
    assert problems.get("neuron-explore").objective in task.outputs
    # They are far from each other: in some parameter by half of its range.
    unit = task.walk.region.box.to_unit(np.array(task.seed_points))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(unit[i] - unit[j]).max() > 0.4


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("neuron-find", {"dtype": "float16"}, "dtype is 'float16'"),
        ("neuron-find", {"seed_points": 2}, "no option 'seed_points'"),
        ("neuron-explore", {"dtype": 32}, "dtype is 32"),
        ("neuron-explore", {"seed_points": 4}, "there are 3"),
        ("neuron-explore", {"seed_points": 0}, "seed_points is 0"),
        ("neuron-explore", {"seed_points": True}, "seed_points is True"),
        ("neuron-explore", {"evaluations": 100}, "at least 512"),
        ("neuron-explore", {"particles": "many"}, "particles is 'many'"),
        ("neuron-explore", {"slices": 1.5}, "slices is 1.5"),
    ],
)
def test_options_that_cannot_be_used_are_refused(name, options, words):
    with pytest.raises(ConfigurationError, match=words):
        problems.build(name, **options)


def test_every_option_changes_the_task():
    base = problems.build("neuron-explore", **SMALL)
    changes = {"evaluations": 97, "particles": 5, "slices": 3, "seed_points": 2, "dtype": "float64"}
    assert set(changes) == set(problems.get("neuron-explore").options)
    digests = {
        task_identity(problems.build("neuron-explore", **{**SMALL, name: value})).digest
        for name, value in changes.items()
    }
    assert len(digests | {task_identity(base).digest}) == len(changes) + 1


OVERRIDES = {"max_step_size": {"upper": 0.5}, "kernel": {"fixed": "reflect"}}


def test_settings_are_overridden_and_remembered_in_copies():
    task = problems.build("neuron-explore", **SMALL, parameters=OVERRIDES)
    assert task.space.names == ("max_step_size", "step_ratio", "adapt")
    assert task.space.upper[0] == 0.5
    for twin in (task, copy.deepcopy(task)):
        found = problems.origin(twin)
        assert found == ("neuron-explore", {**SMALL, "parameters": OVERRIDES})
        again = problems.build(found[0], **found[1])
        assert again == task
        assert task_identity(again) == task_identity(task)


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        ({"max_step": {"upper": 0.5}}, ParameterError, "unknown parameter 'max_step'"),
        ({"kernel": {"fixed": "leap"}}, ParameterError, "'leap' is not among its choices"),
        ({"seed_point": {"fixed": 3}}, ParameterError, "3"),
        ({"step_ratio": {"upper": 2.0}}, ConfigurationError, "step_ratio may be 2"),
    ],
)
def test_wrong_overrides_are_refused(overrides, error, words):
    with pytest.raises(error, match=words):
        problems.build("neuron-explore", parameters=overrides)


FILE = """
name = "cells"
task = "neuron-explore"
trials = 2
batch_size = 2
generation = "sobol"
[task_options]
evaluations = 96
particles = 4
slices = 2
seed_points = 1
[parameters.max_step_size]
upper = 0.5
[parameters.kernel]
fixed = "self_loop"
[parameters.adapt]
fixed = false
"""


@pytest.mark.slow
def test_a_campaign_file_explores_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("cells.toml").write_text(FILE)
    assert read_settings("cells.toml").objective in (None, "log10_jump_ess_per_1000")
    done = CliRunner().invoke(app, ["run", "cells.toml", "--json"])
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["counts"] == {"COMPLETED": 2}
    task = problems.build("neuron-explore", **SMALL)
    store = Store.open("sqlite:///campaigns.db")
    trial = Campaign.load("cells", store=store).experiment.trials[0]
    (outcome,) = decode_outcomes(trial.run_metadata).values()
    assert set(outcome.outputs) == set(task.outputs)
    assert store.files is not None
    arrays = store.files.read_arrays(outcome.artifacts["unit_states"])
    store.close()
    states = arrays["unit_states"]
    assert states.shape == (24, 4, 7)
    assert states.dtype == np.float32
    assert ((arrays["violations"] <= 0) & (states > 0).all(-1) & (states < 1).all(-1)).all()
    again = CliRunner().invoke(app, ["resume", "cells", "--trials", "3", "--json"])
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["counts"] == {"COMPLETED": 3}
    Path("cells.toml").write_text(FILE.replace("max_step_size", "step_size"))
    wrong = CliRunner().invoke(app, ["run", "cells.toml", "--store", "sqlite:///other.db"])
    assert wrong.exit_code == 2
    assert "unknown parameter 'step_size'" in wrong.stderr
