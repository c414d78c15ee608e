"""One live line about a running campaign: trials done, running, failed; best value; time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ax.core.trial_status import TrialStatus
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ax_jax_runners.errors import NoFeasibleArm

if TYPE_CHECKING:
    from ax_jax_runners.campaign.campaign import Campaign


class ProgressLine:
    """A rich progress bar on standard error.

    Args:
        campaign: The campaign that runs.
        total: Trials that it aims at.
        started: Monotonic time of its start.
        show: Whether to draw; None: only on a terminal or in a notebook.
    """

    def __init__(
        self, campaign: Campaign, total: int, *, started: float, show: bool | None
    ) -> None:
        self._campaign = campaign
        self._console = Console(stderr=True)
        visible = self._console.is_terminal or self._console.is_jupyter
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (visible if show is None else show),
        )
        self._task = self._bar.add_task(escape(campaign.name), total=total, note="")
        self._started = started

    def __enter__(self) -> ProgressLine:
        self.update()
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.update()
        self._bar.stop()

    def update(self, _scheduler: Any = None) -> None:
        """Redraw from the experiment's present state."""
        if self._bar.disable:
            return
        self._bar.update(self._task, completed=self._ended(), note=self._note())

    def say_stopping(self) -> None:
        """Tell that the run ends after the step in flight."""
        elapsed = time.monotonic() - self._started
        self._console.print(
            f"Stopping after the step in flight ({elapsed:.0f} s so far); Ctrl-C again ends the "
            "process at once."
        )

    def _ended(self) -> int:
        trials = self._campaign.experiment.trials_by_status
        return sum(len(found) for status, found in trials.items() if status.is_terminal)

    def _note(self) -> str:
        trials = self._campaign.experiment.trials_by_status
        parts = [f"{len(trials[TrialStatus.RUNNING])} running"]
        failed = len(trials[TrialStatus.FAILED]) + len(trials[TrialStatus.ABANDONED])
        if failed:
            parts.append(f"[red]{failed} failed[/red]")
        return ", ".join([*parts, self._best()])

    def _best(self) -> str:
        try:
            best = self._campaign.best()
        except NoFeasibleArm:
            return "no feasible arm yet"
        if isinstance(best, tuple):
            return f"{len(best)} on the Pareto front"
        scores = self._campaign.goals.scores(best.outputs)
        return f"best {scores[0]:.5g}"
