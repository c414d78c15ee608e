"""One campaign that is run by many processes, and what is checked after each of them."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.jobs import Job
from tests.faults.records import Records
from tests.faults.simulators import read_evaluations
from tests.faults.zygote import Victim, Victims

PROMPT_SECONDS = 10.0
"""Far below a lease, and enough for a loaded machine to come to the first evaluation."""


class Bench:
    """A campaign, its database and the processes that run it one after the other.

    Attributes:
        kills: How many of them were killed.
        again: How many evaluations were done more than once.
    """

    def __init__(self, victims: Victims, url: str, folder: Path) -> None:
        self.victims = victims
        self._numbers = itertools.count()
        self.url = url
        self.folder = folder
        self.log = folder / "evaluations"
        self.slow = folder / "slow"
        self.artifacts = folder / "artifacts"
        self.before: Records | None = None
        self.kills = 0

    def job(self, trials: int, **changes: Any) -> Job:
        number = next(self._numbers)
        settings: dict[str, Any] = {
            "url": self.url,
            "artifacts": str(self.artifacts),
            "log": str(self.log),
            "slow": str(self.slow),
            "report": str(self.folder / f"report-{number}"),
            "output": str(self.folder / f"output-{number}"),
            "trials": trials,
        }
        return Job(**(settings | changes))

    def start(self, trials: int, **changes: Any) -> Victim:
        return self.victims.start(self.job(trials, **changes))

    def run(self, trials: int, **changes: Any) -> Victim:
        """Run a process to its end, killed or not, and check everything that must hold."""
        victim = self.start(trials, **changes)
        victim.wait(120)
        self.check(victim, outputs=1 if victim.job.task == "features" else 2)
        return victim

    def start_slow(self, seconds: float, trials: int = 10_000, **changes: Any) -> Victim:
        """Start a process, an arm of which takes this long, and wait for its first evaluation."""
        self.slow.write_text(str(seconds))
        noted = len(self.noted)
        victim = self.start(trials, **changes)
        end = time.monotonic() + PROMPT_SECONDS
        while len(self.noted) == noted:
            assert time.monotonic() < end, f"no evaluation yet: {victim.output}"
            time.sleep(0.002)
        return victim

    @property
    def noted(self) -> bytes:
        """The evaluations as they are written."""
        return self.log.read_bytes() if self.log.exists() else b""

    def straight(self, trials: int, **changes: Any) -> Records:
        """The same campaign, never interrupted, on a database of its own."""
        folder = self.folder / "straight"
        folder.mkdir()
        other = Bench(self.victims, f"sqlite:///{folder / 'campaigns.db'}", folder)
        victim = other.run(trials, **changes)
        assert victim.code == 0, victim.output
        return Records.read(other.url)

    def check(self, victim: Victim, *, outputs: int = 2) -> Records:
        """Check the database after a process that worked on it alone has ended."""
        self.kills += victim.code == -9
        assert victim.code in (0, -9), victim.report
        records = Records.read(self.url)
        if not records.rows:
            assert self.before is None
            assert victim.code == -9
            return records
        records.check(self.artifacts, outputs=outputs)
        arms = Counter(arm for pid, arm in read_evaluations(self.log) if pid == victim.pid)
        assert not [arm for arm, times in arms.items() if times > 1], "evaluated twice in one run"
        if self.before is not None:
            self.before.check_kept_in(records)
            ended = {self.before.arms[index][1] for index in self.before.results}
            assert not ended & arms.keys(), "evaluated again although recorded"
        self.before = records
        return records

    @property
    def evaluations(self) -> Counter[str]:
        """How often each arm was evaluated, by its parameters."""
        return Counter(arm for _, arm in read_evaluations(self.log))

    @property
    def again(self) -> int:
        return sum(times - 1 for times in self.evaluations.values())
