"""WorkerJaxRunner: arguments, storage, what may travel to a worker, and what it finds there."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
import pytest
from ax.exceptions.core import UnsupportedError
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json

from ax_jax_runners import FeatureEvaluator, FeatureTask, JaxRunner, WorkerJaxRunner, problems
from ax_jax_runners.campaign.registry import RUNNERS, registry_bundle
from ax_jax_runners.errors import ConfigurationError, TaskNotBound
from ax_jax_runners.runners.execution import ArmRequest
from ax_jax_runners.runners.execution.processes import Limits, ProcessExecution, WorkerOptions
from ax_jax_runners.runners.execution.processes.environment import (
    discard_half_written,
    jax_configuration,
    worker_environment,
)
from ax_jax_runners.runners.execution.processes.job import Job
from ax_jax_runners.runners.execution.processes.limits import read_memory
from ax_jax_runners.runners.execution.processes.messages import Report
from ax_jax_runners.runners.outcome import ArmOutcome
from tests.faults import worker_tasks
from tests.faults.worker_tasks import SPACE, Walk, feature_task

ROOT = Path(__file__).resolve().parents[2]
REQUESTS = [
    ArmRequest((0, trial), position, f"{trial}_{position}", {"x": x, "trouble": trouble})
    for trial, arms in enumerate([[(0.5, 0), (1.5, 3)], [(-2.0, 1)], [(4.0, 2)]])
    for position, (x, trouble) in enumerate(arms)
]


def finish(execution: Any, requests: Sequence[ArmRequest] = REQUESTS) -> dict[Any, ArmOutcome]:
    found = dict(execution.submit(requests))
    for _ in range(1_000):
        if all(outcome.is_final for outcome in found.values()):
            return found
        execution.wait(1.0)
        found |= execution.poll({request.trial for request in requests})
    raise AssertionError("not finished")


# ---- results


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module", params=["features", "long", "ring-slot"])
def pair(request: pytest.FixtureRequest, files: Path) -> Iterator[tuple[Any, Any]]:
    task: Any = {
        "features": feature_task,
        "long": lambda: Walk(str(files / "log"), slices=12),
        "ring-slot": lambda: problems.build("ring-slot"),
    }[request.param]()
    options = {"seed": 11, "directory": files / request.param}
    runner = WorkerJaxRunner(task, **options)
    yield JaxRunner(task, **options), runner
    runner.close()


@pytest.mark.fault(23)
def test_results_are_those_of_the_runner_in_process_to_the_last_bit(pair) -> None:
    alone, workers = pair
    requests = REQUESTS
    if alone.task.space != SPACE:
        space = alone.task.space
        arms = [space.unpack(theta) for theta in space.icdf(np.full((2, space.dimension), 0.3))]
        requests = [ArmRequest((0, n), 0, f"{n}_0", arm) for n, arm in enumerate(arms)]
    # This process has used JAX when the workers start.
    expected = finish(alone.execution, requests)
    assert finish(workers.execution, requests) == expected
    assert {outcome.status for outcome in expected.values()} == {"completed"}


def test_what_a_worker_finds_in_jax_is_what_the_user_has_set(tmp_path) -> None:
    with jax.enable_x64(True):
        task = Walk(str(tmp_path / "log"))
        execution = ProcessExecution(
            task, seed=0, workers=1, limits=Limits(), options=WorkerOptions()
        )
        try:
            precise = finish(execution)
        finally:
            execution.close()
        expected = finish(JaxRunner(task).execution)
    assert precise == expected
    assert precise != finish(JaxRunner(task).execution)


def test_a_worker_imports_neither_ax_nor_torch_nor_sql() -> None:
    code = (
        "import ax_jax_runners.runners.execution.processes.worker, sys; "
        "print([m for m in ('ax', 'torch', 'botorch', 'sqlalchemy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_an_execution_that_is_collected_ends_its_workers(tmp_path) -> None:
    execution = ProcessExecution(
        Walk(str(tmp_path / "log")),
        seed=0,
        workers=1,
        limits=Limits(),
        options=WorkerOptions(),
    )
    finish(execution)
    (pid,) = {pid for pid, _, _ in worker_tasks.read_slices(tmp_path / "log")}
    assert psutil.pid_exists(pid)
    del execution
    assert not psutil.pid_exists(pid)


# ---- what cannot travel


@dataclass(frozen=True)
class OfThisProgram(Walk):
    """Pretends to belong to the program that was started."""


OfThisProgram.__module__ = "__main__"


def test_functions_without_a_name_are_refused() -> None:
    evaluator = FeatureEvaluator(lambda p: {"y": p["x"]}, SPACE)
    for task in (
        FeatureTask(evaluator, outputs={"y": worker_tasks.power}),
        FeatureTask(feature_task().evaluator, outputs={"y": lambda f: f["wave"][0]}),
    ):
        with pytest.raises(ConfigurationError, match="put the task's class and functions"):
            WorkerJaxRunner(task)


def test_what_belongs_to_main_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "OfThisProgram", OfThisProgram, raising=False)
    with pytest.raises(ConfigurationError, match="uses 'OfThisProgram' of __main__"):
        WorkerJaxRunner(OfThisProgram("log"))


# ---- arguments


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"max_retries": True}, "max_retries is True"),
        ({"time_limit": 0}, "time_limit is 0"),
        ({"time_limit": float("nan")}, "time_limit is nan"),
        ({"memory_limit": "much"}, "memory_limit is 'much'"),
        ({"memory_limit": 0}, "memory_limit is 0"),
        ({"engine": "fork"}, "engine is 'fork'"),
        ({"engine_options": ["threads"]}, "engine_options"),
        ({"engine_options": {"threads": {1}}}, "engine_options"),
        ({"engine_options": {"threads": 0}}, "0 threads"),
        ({"engine_options": {"devices": []}}, "devices"),
        ({"engine_options": {"compilation_cache": 3}}, "compilation_cache"),
        ({"engine_options": {"colour": "red"}}, "'colour'"),
        pytest.param(
            {"engine_options": {"start_method": "fork"}},
            "has used JAX hangs",
            marks=pytest.mark.fault(23),
        ),
        pytest.param(
            {"engine_options": {"start_method": "forkserver"}},
            "'forkserver'",
            marks=pytest.mark.fault(23),
        ),
        ({"executor": "threads"}, "executor is a str"),
        ({"engine": "dask", "executor": ThreadPoolExecutor(1)}, "give one of them"),
        ({"engine_options": {"threads": 1}, "executor": ThreadPoolExecutor(1)}, "leave them out"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options, sentence) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        WorkerJaxRunner(feature_task(), **options)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, None),
        (1_000_000, 1_000_000),
        ("500 MB", 500_000_000),
        ("2 GiB", 2 * 1024**3),
        ("1.5kib", 1536),
        ("7 B", 7),
    ],
)
def test_memory_limits_are_read_as_people_write_them(text, size) -> None:
    assert read_memory(text) == size


# ---- storage


def test_all_arguments_come_back_from_storage() -> None:
    task = feature_task()
    runner = WorkerJaxRunner(
        task,
        workers=3,
        engine_options={"threads": 1, "devices": ["0"]},
        time_limit=60,
        memory_limit="2 GiB",
        max_retries=4,
        seed=9,
        directory="kept",
    )
    bundle = registry_bundle(tasks=[task])
    written = json.dumps(object_to_json(runner, encoder_registry=bundle.encoder_registry))
    loaded = object_from_json(json.loads(written), decoder_registry=bundle.decoder_registry)
    assert loaded == runner
    assert vars(loaded) == vars(runner)
    assert runner.clone() == runner == copy.deepcopy(runner)
    assert runner != WorkerJaxRunner(task, workers=3)
    assert (WorkerJaxRunner, 7205) in RUNNERS


def test_an_executor_is_not_stored_and_must_be_given_again() -> None:
    task = feature_task()
    with ThreadPoolExecutor(1) as executor:
        runner = WorkerJaxRunner(task, executor=executor)
        assert runner.engine == "executor"
        assert runner.clone().executor is executor
        assert copy.deepcopy(runner).executor is executor
        stored = WorkerJaxRunner.serialize_init_args(runner)
        assert "executor" not in stored
        assert stored["engine"] == "executor"
        registry = registry_bundle(tasks=[task]).decoder_registry
        arguments = WorkerJaxRunner.deserialize_init_args(stored, registry)
        loaded = WorkerJaxRunner(**arguments)
        assert loaded == runner
        with pytest.raises(TaskNotBound, match="set its executor again") as caught:
            _ = loaded.execution
        assert isinstance(caught.value, UnsupportedError)
        loaded.executor = executor
        assert loaded.executor is executor
        assert loaded == runner


# ---- the machine


def test_the_cores_are_shared_out_and_what_the_user_set_stays(monkeypatch) -> None:
    for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    made = worker_environment(WorkerOptions(), index=0, workers=3)
    assert (made["NPROC"], made["OPENBLAS_NUM_THREADS"], made["OMP_NUM_THREADS"]) == ("2", "2", "5")
    assert worker_environment(WorkerOptions(), index=0, workers=20)["NPROC"] == "1"
    made = worker_environment(WorkerOptions(threads=4), index=0, workers=3)
    assert (made["NPROC"], made["OMP_NUM_THREADS"]) == ("4", "4")


def test_a_worker_of_one_thread_keeps_to_it(tmp_path) -> None:
    code = (
        "import os, jax, jax.numpy as jnp\n"
        "x = jnp.ones((300, 300)); jnp.linalg.qr(x @ x)[0].block_until_ready()\n"
        "root = '/proc/self/task'\n"
        "names = [open(f'{root}/{thread}/comm').read() for thread in os.listdir(root)]\n"
        "print(sum('XLAEigen' in name for name in names))"
    )

    def threads(workers: int) -> int:
        environment = worker_environment(
            WorkerOptions(threads=None if workers else 3), index=0, workers=max(workers, 1)
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        return int(done.stdout)

    assert threads(0) >= 3
    assert threads(1_000) <= 1


def test_devices_are_dealt_out_in_turns(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)

    def dealt(options: WorkerOptions, workers: int) -> list[str]:
        made = [worker_environment(options, index=i, workers=workers) for i in range(workers)]
        shared = {one.get("XLA_PYTHON_CLIENT_PREALLOCATE") for one in made}
        assert shared == {"false"}
        return [one["CUDA_VISIBLE_DEVICES"] for one in made]

    assert dealt(WorkerOptions(), 3) == ["4", "6", "4"]
    assert dealt(WorkerOptions(devices=("1", "0")), 2) == ["1", "0"]


def test_compiled_programs_are_kept_where_the_options_or_the_directory_say(tmp_path) -> None:
    assert WorkerOptions().cache(None) is None
    assert WorkerOptions().cache(str(tmp_path)) == str(tmp_path / "compiled")
    assert WorkerOptions(compilation_cache="/elsewhere").cache(str(tmp_path)) == "/elsewhere"
    assert "jax_compilation_cache_dir" not in jax_configuration(None)
    kept = tmp_path / "cache"
    execution = ProcessExecution(
        feature_task(),
        seed=0,
        workers=1,
        limits=Limits(),
        options=WorkerOptions(compilation_cache=str(kept)),
    )
    finish(execution)
    execution.close()
    assert list(kept.glob("*-cache"))


def test_what_a_killed_worker_may_have_half_written_is_removed(tmp_path) -> None:
    old, new, other = (tmp_path / name for name in ("a-cache", "b-cache", "note"))
    for path in (old, new, other):
        path.write_text("x")
    os.utime(old, (1_000, 1_000))
    discard_half_written(str(tmp_path), since=2_000)
    assert sorted(os.listdir(tmp_path)) == ["a-cache", "note"]
    discard_half_written(str(tmp_path / "missing"), since=0)


# ---- messages


def test_reports_come_back_as_they_were(tmp_path) -> None:
    outcome = ArmOutcome(
        "running", {"y\u2028\ud800": (0.1 + 0.2, None)}, 3, {}, None, {"y": ((1, 0.5, 0.1),)}
    )
    report = Report("progress", 7, {((2, 5), "arm \n name"): outcome})
    line = report.encode()
    assert line.count(b"\n") == 1
    assert Report.decode(line) == report
    assert Report.decode(Report("refused", sentence="no\n").encode()).sentence == "no\n"


# ---- jobs


def test_the_running_times_of_all_attempts_add_up_and_waiting_counts_nothing() -> None:
    job = Job.of(1, REQUESTS[:2])
    limits = Limits(retries=2)
    for begin in (10.0, 100.0):
        job.started = begin
        assert job.lose("It died.", limits, begin + 4.0)
    assert job.running_time(1_000.0) == 8.0
    job.started = 2_000.0
    assert job.running_time(2_001.5) == 9.5
    assert not job.lose("It died again.", limits, 2_002.0)
    assert job.is_final
    (sentence,) = {outcome.failure for outcome in job.outcomes.values()}
    assert sentence is not None
    assert sentence.startswith("It died again. This was attempt 3. Earlier: (1) It died. (2)")


def test_an_attempt_that_begins_again_takes_nothing_back() -> None:
    job = Job.of(1, REQUESTS[:2])
    first, second = (request.key for request in REQUESTS[:2])
    done = ArmOutcome("completed", {"y": (1.0, 0.0)}, 3)
    job.learn({first: done, second: ArmOutcome("running", {"y": (1.0, 0.0)}, 3)})
    assert job.lose("It died.", Limits(retries=1), 1.0)
    assert job.open_requests() == [REQUESTS[1]]
    job.learn({first: ArmOutcome("running", {}, 1), second: ArmOutcome("running", {}, 1)})
    assert job.outcomes[first] == done
    assert job.outcomes[second].step == 3
    job.learn({second: ArmOutcome("completed", {"y": (2.0, 0.0)}, 4)})
    assert job.is_final
    assert job.outcomes[second].lost == ("It died.",)


def test_a_failure_is_bounded_however_much_was_lost() -> None:
    job = Job.of(1, REQUESTS[:1])
    for _ in range(50):
        job.lose("x" * 100_000, Limits(retries=49), 0.0)
    (outcome,) = job.outcomes.values()
    assert outcome.failure is not None
    assert len(outcome.failure.encode()) <= 10_000
