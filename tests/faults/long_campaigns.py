"""Campaigns of long trials in the test's own process, which end at a slice of one's choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus

from ax_jax_runners import Campaign, JaxRunner, Store
from ax_jax_runners.runners import decode_outcomes
from tests.faults.long_tasks import Drift

SLICES = 6


class PowerCut(BaseException):
    """Ends everything at once: no part of the package may hold it up."""


@dataclass(frozen=True)
class BreakingDrift(Drift):
    """A `Drift` that asks before every slice whether the power is still on."""

    slices: int = SLICES

    def advance(self, state: Any) -> Any:
        for ask in BEFORE_A_SLICE:
            ask(state)
        return super().advance(state)


BEFORE_A_SLICE: list[Callable[[Any], None]] = []
"""Called before every slice. No part of the task: what it is must not change."""


def cut_at(slice_number: int) -> Callable[[Any], None]:
    """Cut the power when this slice is about to begin."""

    def ask(state: Any) -> None:
        if int(state.arms["step"].max()) + 1 == slice_number:
            raise PowerCut

    return ask


@dataclass
class LongTrial:
    """One trial of a `JaxRunner` without a campaign, which processes do one after the other.

    Attributes:
        folder: Where its log, arrays and frozen states are.
    """

    folder: Path
    log: Path = field(init=False)
    kept: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log, self.kept = self.folder / "slices", self.folder / "kept"

    def run(self, slices: int | None = None) -> tuple[JaxRunner, Any]:
        """Go on in a new process, as it were; by this many slices, or to the end."""
        runner = JaxRunner(BreakingDrift(str(self.log)), seed=3, directory=self.kept)
        experiment = Experiment(name="alone", search_space=runner.bound_task.space.to_ax())
        trial = experiment.new_trial().add_arm(Arm({"gain": 1.5, "rate": 0.5}))
        trial.update_run_metadata(runner.run(trial))
        trial.mark_running(no_runner_required=True)
        done = 1
        while done != slices and runner.poll_trial_status([trial]).get(TrialStatus.RUNNING):
            done += 1
        return runner, trial

    @property
    def state_files(self) -> list[Path]:
        """The frozen states' files, the oldest generation first."""
        return sorted((self.kept / "frozen").rglob("*.*"))


def outcome_of(trial: Any) -> Any:
    (found,) = decode_outcomes(trial.run_metadata).values()
    return found


def long_campaign(store: Store, folder: Path, name: str = "long") -> Campaign:
    """A campaign of long trials, two at a time."""
    assert store.files is not None
    return Campaign(
        name,
        runner=JaxRunner(
            BreakingDrift(str(folder / f"{name}.slices")), seed=3, directory=store.files.folder
        ),
        objective="-spread",
        store=store,
        generation="sobol",
        batch_size=2,
    )


def results_of(campaign: Campaign) -> dict[int, tuple[Any, ...]]:
    """Status, outputs, curves and digests of arrays by trial, every bit of them."""
    found = {}
    for index, trial in campaign.experiment.trials.items():
        (outcome,) = decode_outcomes(trial.run_metadata).values() or [None]
        found[index] = (
            trial.status.name,
            trial.arms[0].parameters,
            outcome and (outcome.outputs, outcome.curves, outcome.artifacts),
        )
    return found
