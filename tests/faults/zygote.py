"""The tests' side of victim.py: start victims, signal them, wait for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.faults.jobs import Job


class Victims:
    """One warm process, and the copies that it forks."""

    def __init__(self, output: Path) -> None:
        with output.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("victim.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={
                    **os.environ,
                    "JAX_PLATFORMS": "cpu",
                    "OMP_NUM_THREADS": "1",
                    # Copies compile the same small programs again and again.
                    "JAX_COMPILATION_CACHE_DIR": str(output.with_suffix(".programs")),
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
                },
            )
        ready = self._process.stdout.readline() if self._process.stdout else ""
        assert "ready" in ready, output.read_text()

    def __enter__(self) -> Victims:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def start(self, job: Job) -> Victim:
        """Fork a process that does the job."""
        return Victim(self, self.ask({"job": asdict(job)})["pid"], job)

    def run(self, job: Job, *, seconds: float = 120.0) -> Victim:
        """Fork a process and wait for its end."""
        victim = self.start(job)
        victim.wait(seconds)
        return victim

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Victim:
    """A process that runs one campaign.

    Attributes:
        pid: Its process id.
        code: Its exit code, negative for a signal; None while it runs.
    """

    def __init__(self, victims: Victims, pid: int, job: Job) -> None:
        self._victims = victims
        self.pid = pid
        self.job = job
        self.code: int | None = None

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its exit code; fails when it takes longer."""
        if self.code is None:
            self.code = self._victims.ask({"pid": self.pid, "seconds": seconds})["status"]
        assert self.code is not None, f"still running after {seconds} s: {self.output}"
        return self.code

    def has_ended(self) -> bool:
        if self.code is None:
            self.code = self._victims.ask({"pid": self.pid, "seconds": 0.0})["status"]
        return self.code is not None

    @property
    def report(self) -> dict[str, Any]:
        """What it wrote at its end."""
        path = Path(self.job.report)
        assert path.exists(), f"no report, exit code {self.code}: {self.output}"
        return json.loads(path.read_text())

    @property
    def output(self) -> str:
        return Path(self.job.output).read_text()
