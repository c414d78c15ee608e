"""What Ax and our campaigns expect of every runner, whatever its task."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from ax.core.runner import RunnerConfig
from ax.core.trial_status import TrialStatus
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json

from ax_jax_runners.campaign.registry import registry_bundle
from ax_jax_runners.errors import ConfigurationError, TaskChanged, TaskNotBound
from ax_jax_runners.files import FileStore
from ax_jax_runners.tasks import Progress, UnboundTask
from tests.contract.cases import ERRORS, REPORTS, TASKS, WALKS, Faulty
from tests.contract.combining import RunnerCase
from tests.contract.driving import complete, deploy, finish, plain, poll, record, results, values


@pytest.fixture(params=[*TASKS, "walks"])
def runners_case(request: pytest.FixtureRequest, runners_name: str) -> Iterator[RunnerCase]:
    case = RunnerCase(runners_name, {**TASKS, "walks": WALKS}[request.param])
    yield case
    case.close()


# ---- Ax's base contract


def test_the_base_contract(runners_case):
    runner = runners_case.runner()
    assert runner.staging_required is False
    assert runner.run_metadata_report_keys == []
    assert runner.poll_available_capacity() == -1 or runner.poll_available_capacity() > 0
    assert runner.run_multiple(trials=[]) == {}
    assert runner.poll_trial_status(trials=[]) == {}
    with pytest.raises(TypeError):
        runner.update("not arguments")
    runner.update(RunnerConfig.RunnerUpdateArguments())
    runner.on_search_space_update(runners_case.task.space.to_ax())


def test_run_takes_the_trial_by_keyword_and_is_run_multiple_of_one(runners_case):
    experiment = runners_case.experiment()
    trials = runners_case.trials(experiment, *runners_case.good[:3])
    together = runners_case.runner().run_multiple(trials=trials)
    assert set(together) == {0, 1, 2}
    runner = runners_case.runner()
    assert {t.index: runner.run(trial=t) for t in trials} == together


def test_trials_complete_and_their_record_is_plain_json(runners_case):
    trials = runners_case.trials(runners_case.experiment(), *runners_case.good)
    runner = runners_case.runner()
    complete(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.COMPLETED}
    for trial in trials:
        assert plain(trial.run_metadata)
        record = trial.run_metadata["ax_jax"]["arms"][trial.arm.name]
        assert record["status"] == "completed"
        assert set(record["outputs"]) == set(runners_case.task.outputs)
        assert record["step"] >= 1
        assert json.loads(json.dumps(trial.run_metadata)) == trial.run_metadata


def test_the_batch_its_order_and_its_split_never_matter(runners_case):
    whole = runners_case.trials(runners_case.experiment(), *runners_case.good)
    runner = runners_case.runner()
    complete(runner, whole)
    parts = runners_case.trials(runners_case.experiment(), *runners_case.good)
    runner = runners_case.runner()
    if runners_case.is_single:
        complete(runner, parts[::-1])
    else:
        deploy(runner, parts[5:][::-1])
        deploy(runner, parts[:1])
        poll(runner, parts[5:])
        deploy(runner, parts[1:5])
        finish(runner, parts)
    assert results(parts) == results(whole)


def test_the_seed_matters(runners_case):
    found = []
    for seed in (1, 1, 2):
        trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:2])
        runner = runners_case.runner(seed=seed)
        complete(runner, trials)
        found.append(values(trials))
    assert found[0] == found[1] != found[2]


# ---- failures


def test_a_bad_arm_fails_its_own_trial_with_a_sentence(runners_case):
    trials = runners_case.trials(
        runners_case.experiment(), runners_case.good[0], runners_case.bad, runners_case.good[1]
    )
    runner = runners_case.runner()
    complete(runner, trials)
    assert [t.status.name for t in trials] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert runners_case.subject.complaint in runner.poll_exception(trials[1])
    assert plain(trials[1].run_metadata)
    assert trials[1].run_metadata["ax_jax"]["arms"]["1_0"]["outputs"] == {}
    assert "No failure of trial 0" in runner.poll_exception(trials[0])


def test_in_a_batch_the_bad_arm_is_abandoned_and_the_others_complete(runners_case):
    experiment = runners_case.experiment()
    good = runners_case.good
    batch = runners_case.batch(experiment, good[0], runners_case.bad, good[1])
    single = runners_case.trials(experiment, good[2])[0]
    runner = runners_case.runner()
    complete(runner, [batch, single])
    assert batch.status == single.status == TrialStatus.COMPLETED
    assert [arm.name for arm in batch.abandoned_arms] == ["0_1"]
    (metadata,) = batch.abandoned_arms_metadata
    assert runners_case.subject.complaint in metadata.reason
    assert len(metadata.reason) <= 255
    assert "0_1: " in runner.poll_exception(batch)


def test_a_batch_without_a_good_arm_fails(runners_case):
    batch = runners_case.batch(runners_case.experiment(), *runners_case.subject.bad)
    runner = runners_case.runner()
    deploy(runner, [batch])
    finish(runner, [batch])
    assert batch.status == TrialStatus.FAILED
    assert batch.abandoned_arms == []
    assert "0_0: " in runner.poll_exception(batch)
    assert "0_1: " in runner.poll_exception(batch)


def test_an_arm_that_does_not_fit_fails_alone(runners_case):
    trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:3])
    trials[1].arm._parameters.update(runners_case.subject.wrong)
    runner = runners_case.runner()
    complete(runner, trials)
    assert [t.status.name for t in trials] == ["COMPLETED", "FAILED", "COMPLETED"]
    (wrong,) = runners_case.subject.wrong
    assert f"'{wrong}'" in runner.poll_exception(trials[1])
    alone = runners_case.trials(runners_case.experiment(), *runners_case.good[:3])
    runner = runners_case.runner()
    complete(runner, alone)
    assert [results(trials)[i] for i in (0, 2)] == [results(alone)[i] for i in (0, 2)]


@pytest.mark.parametrize("where", ["begin", "advance", "progress"])
@pytest.mark.parametrize("error", [name for name in ERRORS if name != "KeyboardInterrupt"])
@pytest.mark.fault(5)
def test_a_task_that_raises_fails_every_trial_with_a_bounded_sentence(
    runners_long_case, where, error
):
    runner = runners_long_case.build(Faulty(where, error))
    trials = runners_long_case.trials(runners_long_case.experiment(), *runners_long_case.good[:3])
    complete(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.FAILED}
    for trial in trials:
        sentence = runner.poll_exception(trial)
        assert error in sentence
        assert len(sentence.encode()) <= 10_000
        assert plain(trial.run_metadata)


@pytest.mark.parametrize("where", ["begin", "advance", "progress"])
def test_the_arm_to_blame_is_found(runners_long_case, where):
    task = Faulty(where, "ValueError", limit=4.0)
    trials = runners_long_case.trials(runners_long_case.experiment(), *runners_long_case.good)
    runner = runners_long_case.build(task)
    complete(runner, trials)
    statuses = [trial.status.name for trial in trials]
    assert statuses == ["COMPLETED"] * 6 + ["FAILED"]
    assert [outputs.get("mean", (None,))[0] for outputs in values(trials)][:6] == [
        arm["x"] for arm in runners_long_case.good[:6]
    ]


def test_an_error_of_the_whole_program_is_not_tried_arm_by_arm(runners_long_case, tmp_path):
    log = tmp_path / "calls"
    task = Faulty("advance", "EvaluationError", log=str(log))
    batch = runners_long_case.batch(runners_long_case.experiment(), *runners_long_case.good)
    runner = runners_long_case.build(task)
    deploy(runner, [batch])
    finish(runner, [batch])
    assert log.read_text().split().count("advance") == 2


@pytest.mark.parametrize("wrong", REPORTS)
@pytest.mark.fault(4)
def test_a_wrong_report_fails_every_trial(runners_long_case, wrong):
    runner = runners_long_case.build(Faulty("progress", wrong))
    trials = runners_long_case.trials(runners_long_case.experiment(), *runners_long_case.good[:3])
    complete(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.FAILED}


def test_an_interruption_by_the_user_is_not_caught(runners_long_case):
    if runners_long_case.name.startswith("Worker"):
        pytest.skip("Ctrl-C is for the process that the user sees; its workers ignore it")
    runner = runners_long_case.build(Faulty("advance", "KeyboardInterrupt"))
    trials = runners_long_case.trials(runners_long_case.experiment(), runners_long_case.good[0])
    with pytest.raises(KeyboardInterrupt):
        runner.run_multiple(trials)


# ---- long tasks


def test_the_slices_of_a_long_task_come_in_order(runners_long_case):
    trials = runners_long_case.trials(runners_long_case.experiment(), *runners_long_case.good[:2])
    runner = runners_long_case.runner()
    seen = {0: [], 1: []}
    for group in [trials[:1], trials[1:]] if runners_long_case.is_single else [trials]:
        deploy(runner, group)
        while not all(trial.status.is_terminal for trial in group):
            runner.wait(0.2)
            poll(runner, group)
            for trial in group:
                assert (record(trial)["status"] == "completed") == trial.status.is_terminal
                seen[trial.index].append(record(trial)["step"])
    assert seen == {index: sorted(steps) for index, steps in seen.items()}
    assert [steps[-1] for steps in seen.values()] == [4, 5]
    for trial in trials:
        for name, points in record(trial)["curves"].items():
            assert [step for step, _, _ in points] == list(range(1, 5 + trial.index))
            assert points[-1][1:] == record(trial)["outputs"][name]


@pytest.mark.parametrize("runners_name", ["JaxRunner"], indirect=True)
def test_a_long_task_advances_one_slice_a_poll(runners_long_case):
    trials = runners_long_case.trials(runners_long_case.experiment(), *runners_long_case.good[:2])
    runner = runners_long_case.runner()
    deploy(runner, trials)
    seen = []
    while not all(trial.status.is_terminal for trial in trials):
        seen.append(
            [t.run_metadata["ax_jax"]["arms"][t.arm.name]["step"] for t in trials]
            + [t.status.name for t in trials]
        )
        poll(runner, trials)
    assert seen == [
        [1, 1, "RUNNING", "RUNNING"],
        [2, 2, "RUNNING", "RUNNING"],
        [3, 3, "RUNNING", "RUNNING"],
        [4, 4, "COMPLETED", "RUNNING"],
    ]
    assert trials[1].run_metadata["ax_jax"]["arms"]["1_0"]["step"] == 5


def test_terminal_trials_are_left_alone(runners_long_case):
    trials = runners_long_case.trials(runners_long_case.experiment(), *runners_long_case.good[:3])
    runner = runners_long_case.runner()
    deploy(runner, trials)
    trials[0].mark_abandoned()
    before = copy.deepcopy(trials[0].run_metadata)
    assert 0 not in set().union(*poll(runner, trials).values())
    finish(runner, trials)
    assert trials[0].run_metadata == before
    assert trials[0].status == TrialStatus.ABANDONED


def test_candidates_are_not_started_by_a_poll(runners_case):
    trials = runners_case.trials(runners_case.experiment(), runners_case.good[0])
    assert runners_case.runner().poll_trial_status(trials) == {TrialStatus.CANDIDATE: {0}}
    assert trials[0].run_metadata == {}


def test_stop_keeps_what_there_is_and_the_others_go_on(runners_long_case):
    experiment = runners_long_case.experiment()
    others = 0 if runners_long_case.is_single else 2
    stopped, *trials = runners_long_case.trials(experiment, *runners_long_case.good[: others + 1])
    runner = runners_long_case.runner()
    experiment.runner = runner
    deploy(runner, [stopped, *trials])
    poll(runner, [stopped, *trials])
    if not stopped.status.is_terminal:  # a worker may have been faster
        before = copy.deepcopy(record(stopped))
        stopped.stop(new_status=TrialStatus.ABANDONED, reason="enough")
        assert stopped.stop_metadata == {"reason": "enough"}
        assert record(stopped)["step"] >= before["step"]
        if runners_long_case.is_in_process:
            assert record(stopped) == before
    at_the_end = copy.deepcopy(record(stopped))
    finish(runner, [stopped, *trials])
    assert record(stopped) == at_the_end
    assert all(trial.status == TrialStatus.COMPLETED for trial in trials)
    assert runner.stop(stopped) == {}
    assert runners_long_case.runner().stop(stopped, reason=None) == {}


def test_a_running_trial_of_another_process_is_begun_again(runners_case):
    count = 1 if runners_case.is_single else len(runners_case.good)
    trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:count])
    complete(runners_case.runner(), trials)
    resumed = runners_case.trials(runners_case.experiment(), *runners_case.good[:count])
    begun = resumed[: count // 2]
    runner = runners_case.runner()
    deploy(runner, begun)
    poll(runner, begun)
    for trial in resumed[len(begun) :]:  # marked as running when the process died
        trial.mark_running(no_runner_required=True)
    resumed[-1].update_run_metadata({"ax_jax": {"version": 1, "arms": {"0_0": "damaged"}}})
    finish(runners_case.keep(runner.clone()), resumed)
    assert {trial.status for trial in resumed} == {TrialStatus.COMPLETED}
    assert results(resumed) == results(trials)


def test_a_long_trial_goes_on_from_its_last_slice_in_another_process(runners_long_case, tmp_path):
    options = {"directory": tmp_path}
    count = 1 if runners_long_case.is_single else 3
    straight = runners_long_case.trials(
        runners_long_case.experiment(), *runners_long_case.good[:count]
    )
    complete(runners_long_case.runner(), straight)
    trials = runners_long_case.trials(
        runners_long_case.experiment(), *runners_long_case.good[:count]
    )
    runner = runners_long_case.runner(**options)
    deploy(runner, trials)
    poll(runner, trials)
    runner.close()
    finish(runners_long_case.runner(**options), trials)
    assert [record(t)["outputs"] for t in trials] == [record(t)["outputs"] for t in straight]
    assert [record(t)["curves"] for t in trials] == [record(t)["curves"] for t in straight]
    runner.release(trials)
    frozen = tmp_path / "frozen"
    assert not frozen.is_dir() or list(frozen.iterdir()) == []


def test_finished_arms_of_an_unfinished_batch_are_not_run_again(runners_long_case):
    if runners_long_case.name.startswith("Worker"):
        pytest.skip("a worker is done with both arms before the other one can be looked at")
    batch = runners_long_case.batch(runners_long_case.experiment(), *runners_long_case.good[:2])
    runner = runners_long_case.runner()
    deploy(runner, [batch])
    while batch.run_metadata["ax_jax"]["arms"]["0_0"]["status"] == "running":
        poll(runner, [batch])
    assert batch.status == TrialStatus.RUNNING
    batch.run_metadata["ax_jax"]["arms"]["0_0"]["outputs"]["mean"][0] = 123.0
    finish(runners_long_case.keep(runner.clone()), [batch])
    assert batch.run_metadata["ax_jax"]["arms"]["0_0"]["outputs"]["mean"][0] == 123.0
    assert batch.run_metadata["ax_jax"]["arms"]["0_1"]["status"] == "completed"


def test_one_runner_serves_two_experiments_apart(runners_case):
    runner = runners_case.runner()
    sides = [
        runners_case.trials(runners_case.experiment(n), a)
        for n, a in zip("ab", runners_case.good, strict=False)
    ]
    for trials in sides:
        deploy(runner, trials)
    for trials in reversed(sides):
        finish(runner, trials)
    for name, arm, trials in zip("ab", runners_case.good, sides, strict=False):
        alone = runners_case.trials(runners_case.experiment(name), arm)
        own = runners_case.runner()
        complete(own, alone)
        assert results(trials) == results(alone)


# ---- arrays


def test_arrays_are_kept_as_files_that_the_record_names(runners_case, tmp_path):
    trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:2])
    runner = runners_case.runner(directory=tmp_path / "arrays")
    assert type(runner.directory) is str
    complete(runner, trials)
    for trial in trials:
        artifacts = trial.run_metadata["ax_jax"]["arms"][trial.arm.name]["artifacts"]
        name = runners_case.subject.array
        arrays = FileStore(tmp_path / "arrays").read_arrays(artifacts[name])
        assert set(artifacts) == set(arrays)
        assert np.isfinite(arrays[name]).all()
    plain_trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:2])
    runner = runners_case.runner()
    complete(runner, plain_trials)
    assert results(plain_trials) == results(trials)


def test_arrays_that_cannot_be_kept_fail_the_trial(runners_case, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:2])
    runner = runners_case.runner(directory=tmp_path / "taken")
    complete(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.FAILED}
    assert str(tmp_path / "taken") in runner.poll_exception(trials[0])


# ---- copies and storage


def test_copies_are_equal_and_start_fresh(runners_case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = runners_case.runner(directory="arrays")
    before = dict(vars(runner))
    trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:2])
    for twin in (runner.clone(), copy.deepcopy(runner)):
        assert twin == runner
        assert twin is not runner
        assert twin.task == runner.task
    deploy(runners_case.keep(runner.clone()), trials)
    # Ax compares the instance __dict__ with that of the stored copy.
    assert vars(runner) == before
    assert runner != runners_case.runner(seed=8, directory="arrays")
    assert runner != "a runner"
    assert type(runner).__name__ in repr(runner)


def test_a_runner_can_be_sent_to_another_process(runners_long_case):
    runner = runners_long_case.build(UnboundTask("module:name", "0" * 64), seed=3)
    assert pickle.loads(pickle.dumps(runner)) == runner  # noqa: S301


def stored(runner, bundle):
    encoded = object_to_json(
        runner,
        encoder_registry=bundle.encoder_registry,
        class_encoder_registry=bundle.class_encoder_registry,
    )
    return json.loads(json.dumps(encoded, allow_nan=False))


def loaded(record, bundle):
    return object_from_json(
        copy.deepcopy(record),
        decoder_registry=bundle.decoder_registry,
        class_decoder_registry=bundle.class_decoder_registry,
    )


def test_a_stored_runner_comes_back_equal_and_runs(runners_case):
    runner = runners_case.runner(directory="arrays")
    bundle = registry_bundle(tasks=[runners_case.task])
    again = loaded(stored(runner, bundle), bundle)
    assert again == runner
    assert again.task is runners_case.task
    assert (again.seed, again.directory) == (7, "arrays")


def test_a_runner_whose_task_is_not_given_again_loads_and_says_so(runners_case):
    record = stored(runners_case.runner(), registry_bundle())
    runner = loaded(record, registry_bundle())
    assert runner == runners_case.runner()
    assert stored(runner, registry_bundle()) == record
    trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:2])
    reference = record["task"]["reference"]
    with pytest.raises(TaskNotBound, match=reference):
        runner.run_multiple(trials)
    with pytest.raises(TaskNotBound, match=reference):
        runner.run(trial=trials[0])
    trials[0].mark_running(no_runner_required=True)
    with pytest.raises(TaskNotBound, match=reference):
        runner.poll_trial_status(trials)
    done = runners_case.runner()
    deploy(done, trials[1:])
    finish(done, trials[1:])
    trials[1].mark_running(no_runner_required=True, unsafe=True)
    assert runner.poll_trial_status(trials[1:]) == {TrialStatus.COMPLETED: {1}}


def test_a_changed_task_is_refused_unless_accepted(runners_case):
    record = stored(runners_case.runner(), registry_bundle())
    record["task"]["digest"] = "0" * 64
    tasks = [runners_case.task]
    trials = runners_case.trials(runners_case.experiment(), *runners_case.good[:1])
    runner = loaded(record, registry_bundle(tasks=tasks))
    with pytest.raises(TaskChanged, match="accept_changed"):
        runner.run_multiple(trials)
    assert stored(runner, registry_bundle()) == record
    accepted = loaded(record, registry_bundle(tasks=tasks, accept_changed=True))
    assert accepted.task is runners_case.task
    runners_case.keep(accepted)
    assert set(accepted.run_multiple(trials)) == {0}


def test_a_damaged_record_is_refused(runners_case):
    record = stored(runners_case.runner(), registry_bundle())
    for task in ({}, {"reference": "module:name"}):
        with pytest.raises(ConfigurationError, match="reference and a digest"):
            loaded({**record, "task": task}, registry_bundle())


@pytest.mark.fault(8)
def test_no_module_is_imported_because_a_record_names_it(runners_case, tmp_path, monkeypatch):
    canary = tmp_path / "canary_module.py"
    canary.write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    record = stored(runners_case.runner(), registry_bundle())
    record["task"] = {"reference": "canary_module:task", "digest": "0" * 64, "problem": None}
    assert isinstance(loaded(record, registry_bundle()).task, UnboundTask)
    record["task"]["problem"] = {"name": "canary_module", "options": {}}
    runner = loaded(record, registry_bundle())
    with pytest.raises(TaskNotBound, match="canary_module"):
        runner.poll_available_capacity()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"task": None}, "not a task"),
        ({"task": Progress}, "the class Progress"),
        ({"task": lambda x: x}, "without space, outputs"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"directory": 3}, "directory"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(runners_long_case, arguments, words):
    given = {"task": runners_long_case.task, **arguments}
    with pytest.raises(ConfigurationError, match=words):
        runners_long_case.build(**given)
