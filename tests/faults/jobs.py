"""What a victim is asked to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One run of a campaign in a process of its own.

    Attributes:
        url: The database.
        artifacts: The folder of arrays.
        log: Where evaluations are noted.
        report: Where the victim writes what it saw, when it comes to that.
        output: Where its stdout and stderr go.
        trials: Absolute total.
        task: ``logged`` (numpy, every evaluation noted), ``features`` (compiled by JAX),
            ``drift`` (many slices, every one noted), ``walks`` (random walks, likewise) or
            ``trainings`` (of posteriors, likewise).
        runner: ``here`` (in the process itself) or ``workers`` (two processes of its own).
        alone: Whether the runner runs one trial without a campaign.
        slow: File that holds the seconds an arm takes.
        slices: Slices of an arm of a long task.
        slice_seconds: What a slice takes at least.
        take_over: Whether it displaces a live process.
        clock_ahead: Seconds by which its own clock is ahead of the database's.
        watched: Whether points are counted.
        die_at: The point at which it kills itself.
        last_words: Where the name of that point goes, as a sign that it was reached.
    """

    url: str
    artifacts: str
    log: str
    report: str
    output: str
    trials: int
    name: str = "bench"
    task: str = "logged"
    generation: str = "sobol"
    batch_size: int = 3
    seed: int = 7
    timeout: float | None = None
    runner: str = "here"
    alone: bool = False
    slow: str = ""
    slices: int = 20
    slice_seconds: float = 0.0
    take_over: bool = False
    clock_ahead: float = 0.0
    watched: bool = False
    die_at: str | None = None
    last_words: str | None = None
