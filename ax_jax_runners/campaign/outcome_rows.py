"""What runners recorded of trials, as rows of our tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.data import DataRow

from ax_jax_runners.campaign.evaluation_ids import EvaluationIds
from ax_jax_runners.files import FileStore
from ax_jax_runners.metrics.names import from_identifier
from ax_jax_runners.store.evaluations import Evaluation
from ax_jax_runners.store.observations import ArtifactAddress, Observation


def arm_outcomes(trial: BaseTrial) -> dict[str, Any]:
    """The outcomes that our runners put into the trial's metadata, by arm; else empty."""
    recorded = trial.run_metadata.get("ax_jax")
    return recorded.get("arms", {}) if isinstance(recorded, dict) else {}


def lost_attempts(trial: BaseTrial) -> list[str]:
    """The sentences on attempts that the runner itself has repeated."""
    found = (outcome.get("lost", ()) for outcome in arm_outcomes(trial).values())
    # The arms of a trial run together, so that they share their lost attempts.
    return list(max(found, key=len, default=()))


def cached_from(trial: BaseTrial) -> str | None:
    """Where the result of a trial was taken from; None where any arm of it was computed."""
    sources = [outcome.get("cached") for outcome in arm_outcomes(trial).values()]
    if not sources or None in sources:
        return None
    return f"the result of {'; '.join(dict.fromkeys(map(str, sources)))}"


def how_it_ended(trial: BaseTrial) -> tuple[str, str | None]:
    """Status and reason of a trial's attempt."""
    source = cached_from(trial)
    if source is not None and trial.status.is_completed:
        return "cached", source
    return trial.status.name.lower(), trial.status_reason


def observation_rows(
    ended: Iterable[BaseTrial], data: Mapping[int, Sequence[DataRow]]
) -> list[Observation]:
    """One row for each output of an arm, and for each earlier point of its curves.

    The step is 0 for an arm that was done at once. Of a long one it is that of the report; earlier
    reports have the status "running".
    """
    rows: list[Observation] = []
    for trial in ended:
        outcomes = arm_outcomes(trial)
        for arm, outcome in outcomes.items():
            rows += _outcome_rows(trial.index, arm, outcome)
        if outcomes:
            continue
        # A runner that is not ours: what its metrics fetched is the record.
        for row in data.get(trial.index, ()):
            rows.append(
                Observation(
                    trial.index,
                    row.arm_name,
                    from_identifier(row.metric_name),
                    _finite(row.mean),
                    _finite(row.se),
                    "completed",
                    step=int(row.step or 0),
                )
            )
    return rows


def artifact_rows(ended: Iterable[BaseTrial], files: FileStore | None) -> list[ArtifactAddress]:
    """The addresses of all arrays that were kept."""
    return [
        # A runner keeps an arm's arrays in one npz archive.
        ArtifactAddress(trial.index, arm, name, sha256, _size(files, sha256), "npz")
        for trial in ended
        for arm, outcome in arm_outcomes(trial).items()
        for name, sha256 in outcome.get("artifacts", {}).items()
    ]


def evaluation_rows(ended: Iterable[BaseTrial], ids: EvaluationIds) -> list[Evaluation]:
    """The completed arms whose evaluations have ids; own measurements are no evaluations."""
    return [
        Evaluation(trial.index, arm, named[arm], outcome.get("cached"))
        for trial in ended
        if trial.status.is_completed and (outcomes := arm_outcomes(trial))
        for named in (ids.of_trial(trial),)
        for arm, outcome in outcomes.items()
        if arm in named and outcome["status"] == "completed" and "is_measured" not in outcome
    ]


def _outcome_rows(index: int, arm: str, outcome: Mapping[str, Any]) -> Iterator[Observation]:
    curves = outcome.get("curves", {})
    last = outcome.get("step", 0) if curves else 0
    status = "cached" if outcome.get("cached") else outcome["status"]
    for name, (mean, sem) in outcome.get("outputs", {}).items():
        yield Observation(index, arm, name, mean, sem, status, step=last)
    for name, points in curves.items():
        for step, mean, sem in points:
            if step != last or name not in outcome.get("outputs", {}):
                yield Observation(index, arm, name, mean, sem, "running", step=step)


def _finite(value: float) -> float | None:
    return float(value) if abs(value) < float("inf") else None


def _size(files: FileStore | None, sha256: str) -> int:
    path = None if files is None else files.path(sha256)
    # A runner with a folder of its own keeps its files there.
    return path.stat().st_size if path is not None and path.exists() else 0
