"""A process that runs campaigns for the fault tests, and forks warm copies of itself.

Importing Ax, BoTorch and JAX takes seconds, so one process imports everything, computes nothing
(a JAX that has computed does not survive a fork) and forks a fresh process for every job. Jobs
come as JSON lines on stdin; see `Victims` in zygote.py.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
import tempfile
import time
import unittest.mock
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import alembic.command  # noqa: F401

# Everything that a campaign imports late, so that a copy starts at once.
import ax.orchestration.orchestrator  # noqa: F401
import jax
import psycopg  # noqa: F401
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite.pysqlite  # noqa: F401
import time_machine
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus
from jax._src import xla_bridge

import ax_jax_runners.campaign.campaign
import ax_jax_runners.campaign.scheduler  # noqa: F401
from ax_jax_runners import Campaign, JaxRunner, Store, WorkerJaxRunner
from ax_jax_runners.errors import AxJaxError
from ax_jax_runners.runners.base import TaskRunner
from tests.faults import simulators
from tests.faults.crashing import CrashPoints
from tests.faults.jobs import Job
from tests.faults.long_tasks import Drift
from tests.faults.simulators import LoggedTask, feature_task
from tests.faults.training_tasks import NotedTrainings
from tests.faults.walk_tasks import NotedWalks

OBJECTIVES = {
    "drift": "-spread",
    "walks": "log10_jump_ess_per_1000",
    "trainings": "-validation_nll",
}


def warm_up() -> None:
    """Make and open a campaign, so that mappers, parsers and statements are ready; run nothing."""
    # Asking for the platform would start JAX.
    unasked = unittest.mock.patch.object(jax, "default_backend", return_value="cpu")
    with unasked, tempfile.TemporaryDirectory() as folder:
        task = LoggedTask(f"{folder}/log")
        for _ in range(2):
            store = Store.open(f"sqlite:///{folder}/campaigns.db")
            Campaign("warm-up", task, objective="-cost", store=store, generation="sobol")
            store.close()


def serve() -> Job | None:
    """Answer requests until stdin ends; returns the job in every forked copy."""
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
    warm_up()
    _answer({"ready": os.getpid()})
    for line in sys.stdin:
        request = json.loads(line)
        if "job" in request:
            assert not xla_bridge._backends, "JAX has computed: a copy of this process would hang"
            pid = os.fork()
            if pid == 0:
                return Job(**request["job"])
            _answer({"pid": pid})
        else:
            _answer({"status": _reap(request["pid"], request["seconds"])})
    return None


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _reap(pid: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def run(job: Job) -> int:
    """Run one campaign as a program would; 0: done, 3: an error of ours, in the report."""
    began = time.monotonic()
    points = CrashPoints(die_at=job.die_at, last_words=job.last_words)
    first: list[float] = []

    def in_the_middle() -> None:
        first.append(time.monotonic() - began)
        points.reach("in the evaluation")

    simulators.IN_THE_MIDDLE.append(in_the_middle)
    if job.watched:
        points.watch()
    if job.clock_ahead:
        ahead = datetime.timedelta(seconds=job.clock_ahead)
        time_machine.travel(datetime.datetime.now(datetime.UTC) + ahead, tick=True).start()
    report: dict[str, Any] = {}
    code = 0
    try:
        report |= run_alone(job) if job.alone else run_campaign(job)
    except AxJaxError as error:
        report |= {"error": type(error).__name__, "sentence": str(error)}
        code = 3
    report |= {
        "points": points.passed,
        "seconds": time.monotonic() - began,
        "first_evaluation": first[0] if first else None,
        "job": asdict(job),
    }
    Path(job.report).write_text(json.dumps(report))
    return code


def run_campaign(job: Job) -> dict[str, Any]:
    """Run a campaign to its total."""
    store = Store.open(job.url, artifacts=job.artifacts)
    campaign = Campaign(
        job.name,
        runner=build_runner(job),
        objective=OBJECTIVES.get(job.task, "-cost"),
        store=store,
        batch_size=job.batch_size,
        generation=job.generation,
        seed=job.seed,
    )
    running = time.monotonic()
    campaign.run(job.trials, timeout=job.timeout, take_over=job.take_over, progress=False)
    found = {"run_seconds": time.monotonic() - running, "begun": campaign.trials_begun}
    store.close()
    return found


def build_runner(job: Job) -> TaskRunner:
    tasks = {
        "logged": lambda: LoggedTask(job.log, job.slow),
        "features": feature_task,
        "drift": lambda: Drift(job.log, job.slices, job.slice_seconds),
        "walks": lambda: NotedWalks.make(job.log, job.slices, job.slice_seconds),
        "trainings": lambda: NotedTrainings.make(job.log, job.slices, job.slice_seconds),
    }
    task = tasks[job.task]()
    if job.runner == "here":
        return JaxRunner(task, seed=job.seed, directory=job.artifacts)
    # Kills are the tests' doing: they say themselves how many a trial survives.
    return WorkerJaxRunner(
        task, workers=2, max_retries=1_000, seed=job.seed, directory=job.artifacts
    )


def run_alone(job: Job) -> dict[str, Any]:
    """Run one trial to its end, as a new process that finds the states of its predecessors."""
    runner = build_runner(job)
    experiment = Experiment(name="alone", search_space=runner.bound_task.space.to_ax())
    trial = experiment.new_trial().add_arm(Arm({"gain": 1.5, "rate": 0.5}))
    trial.update_run_metadata(runner.run(trial))
    trial.mark_running(no_runner_required=True)
    while runner.poll_trial_status([trial]).get(TrialStatus.RUNNING):
        runner.wait(1.0)
    runner.close()
    return {"metadata": trial.run_metadata}


if __name__ == "__main__":
    job = serve()
    if job is not None:
        sys.stdin.close()
        output = os.open(job.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            code = run(job)
        except KeyboardInterrupt:
            code = 130
        sys.stdout.flush()
        # Tearing down what the copy shares with its origin takes seconds, and shows nothing.
        os._exit(code)
