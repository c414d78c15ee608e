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
from jax._src import xla_bridge

import ax_jax_runners.campaign.campaign
import ax_jax_runners.campaign.scheduler  # noqa: F401
from ax_jax_runners import Campaign, JaxRunner, Store
from ax_jax_runners.errors import AxJaxError
from tests.faults import simulators
from tests.faults.crashing import CrashPoints
from tests.faults.jobs import Job
from tests.faults.simulators import LoggedTask, feature_task


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
        store = Store.open(job.url, artifacts=job.artifacts)
        logged = LoggedTask(job.log, job.slow)
        campaign = Campaign(
            job.name,
            runner=JaxRunner(
                feature_task() if job.task == "features" else logged,
                seed=job.seed,
                directory=job.artifacts,
            ),
            objective="-cost",
            store=store,
            batch_size=job.batch_size,
            generation=job.generation,
            seed=job.seed,
        )
        running = time.monotonic()
        campaign.run(job.trials, timeout=job.timeout, take_over=job.take_over, progress=False)
        report["run_seconds"] = time.monotonic() - running
        report["begun"] = campaign.trials_begun
        store.close()
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
