"""What happened to a campaign, in order, by the database's clock.

Kinds: ``trial`` (a trial's status changed), ``retry`` (an attempt at a trial ended without a result
and was followed by another), and the campaign's own: its new state, ``taken over``, ``stop
requested``, ``imported`` (results of another simulator were stored beside its own).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from ax_jax_runners.store import attempts
from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.statuses import trial_statuses
from ax_jax_runners.store.tables import event

_LONGEST_REASON = 10_000

Transition = tuple[int, int | None, str | None, str, str | None]
"""Trial index, attempt, status before (None: the trial is new), status after, reason."""


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        id: Grows in the order of writing.
        time: Seconds since the epoch by the database's clock.
        kind: What it is about; see the module.
        trial_index: The trial, if it is about one.
        attempt: Number of the attempt at the trial, from 1; None before the first.
        from_status: Ax's name of the status that the trial had; None where it is new.
        to_status: Ax's name of the status that it has since.
        reason: A sentence, or None.
    """

    id: int
    time: float
    kind: str
    trial_index: int | None
    attempt: int | None
    from_status: str | None
    to_status: str | None
    reason: str | None


def record_event(
    connection: Connection,
    campaign_id: int,
    kind: str,
    reason: str | None = None,
    *,
    trial_index: int | None = None,
    attempt: int | None = None,
) -> None:
    """Append an event."""
    row = _row(campaign_id, database_time(connection), kind, reason)
    connection.execute(
        insert(event).values(**{**row, "trial_index": trial_index, "attempt": attempt})
    )


def record_transitions(
    connection: Connection, campaign_id: int, rows: Iterable[Transition]
) -> None:
    """Append a ``trial`` event for each change of a trial's status, in one statement."""
    now = database_time(connection)
    _insert(connection, [_transition(campaign_id, now, row) for row in rows])


def record_changes(
    connection: Connection,
    *,
    campaign_id: int,
    experiment_id: int,
    after: Mapping[int, tuple[str, str | None]],
    retried: Mapping[int, Sequence[str]] | None = None,
) -> None:
    """Append events for all that is about to change in these trials; call it before the update.

    Two reads and one insert, however many trials there are. A trial whose stored status is the
    given one already gives no event, so a write that is repeated records nothing twice.

    Args:
        connection: The unit of work that writes the trials afterwards.
        campaign_id: The campaign.
        experiment_id: Database id of its experiment.
        after: ``{trial_index: (name of the new status, reason)}``.
        retried: ``{trial_index: sentences}`` on all lost attempts that a runner has retried within
            the present attempt of the trial, those recorded before included.
    """
    before = trial_statuses(connection, experiment_id, list(after))
    sentences = {index: found for index, found in (retried or {}).items() if found}
    changed = {i: new for i, new in after.items() if before.get(i) != new[0]}
    concerned = sorted({*changed, *sentences})
    if not concerned:
        return
    numbers = attempts.latest(connection, experiment_id, concerned)
    retries = _unrecorded(connection, campaign_id, sentences, numbers) if sentences else {}
    now = database_time(connection)
    rows = []
    for index in concerned:
        attempt = numbers.get(index)
        own = [_retry(campaign_id, now, index, attempt, why) for why in retries.get(index, ())]
        if index in changed:
            status, reason = changed[index]
            change = _transition(
                campaign_id, now, (index, attempt, before.get(index), status, reason)
            )
            # A trial is retried after it has begun, and before it ends.
            own = [change, *own] if status == "RUNNING" else [*own, change]
        rows += own
    _insert(connection, rows)


def record_lost(connection: Connection, campaign_id: int, lost: Mapping[int, int]) -> None:
    """Append a ``retry`` event for attempts that ended with their process.

    Args:
        connection: The unit of work.
        campaign_id: The campaign.
        lost: ``{trial_index: number of the lost attempt}``, as `attempts.open_attempts` returns.
    """
    if not lost:
        return
    now = database_time(connection)
    _insert(
        connection,
        [
            _retry(campaign_id, now, index, number, attempts.PROCESS_ENDED)
            for index, number in lost.items()
        ],
    )


def read_events(connection: Connection, campaign_id: int, *, limit: int | None = 20) -> list[Event]:
    """The latest events, oldest first; all of them where ``limit`` is None."""
    rows = connection.execute(
        select(event)
        .where(event.c.campaign_id == campaign_id)
        .order_by(event.c.id.desc())
        .limit(limit)
    ).all()
    return [_event(row) for row in reversed(rows)]


def read_events_after(connection: Connection, campaign_id: int, event_id: int) -> list[Event]:
    """The events that were written after that one, oldest first."""
    rows = connection.execute(
        select(event)
        .where(event.c.campaign_id == campaign_id, event.c.id > event_id)
        .order_by(event.c.id)
    )
    return [_event(row) for row in rows]


def _unrecorded(
    connection: Connection,
    campaign_id: int,
    sentences: Mapping[int, Sequence[str]],
    numbers: Mapping[int, int],
) -> dict[int, list[str]]:
    """Those of the sentences that have no event yet in the trial's present attempt."""
    rows = connection.execute(
        select(event.c.trial_index, event.c.attempt, event.c.reason).where(
            event.c.campaign_id == campaign_id,
            event.c.trial_index.in_(list(sentences)),
            event.c.kind == "retry",
        )
    )
    recorded: dict[int, Counter[str]] = {}
    for index, attempt, reason in rows:
        if attempt == numbers.get(index):
            recorded.setdefault(index, Counter())[reason] += 1
    found = {}
    for index, given in sentences.items():
        left = recorded.get(index, Counter())
        found[index] = []
        for sentence in map(_bounded, given):
            if left[sentence] > 0:
                left[sentence] -= 1
            else:
                found[index].append(sentence)
    return found


def _transition(campaign_id: int, now: float, change: Transition) -> dict[str, Any]:
    index, attempt, before, after, reason = change
    return {
        **_row(campaign_id, now, "trial", reason),
        "trial_index": index,
        "attempt": attempt,
        "from_status": before,
        "to_status": after,
    }


def _retry(
    campaign_id: int, now: float, index: int, attempt: int | None, reason: str
) -> dict[str, Any]:
    row = _row(campaign_id, now, "retry", reason)
    return {**row, "trial_index": index, "attempt": attempt}


def _row(campaign_id: int, now: float, kind: str, reason: str | None) -> dict[str, Any]:
    return {
        "campaign_id": campaign_id,
        "trial_index": None,
        "attempt": None,
        "kind": kind,
        "from_status": None,
        "to_status": None,
        "reason": None if reason is None else _bounded(reason),
        "time": now,
    }


def _bounded(reason: str) -> str:
    return reason[:_LONGEST_REASON]


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(event), rows)


def _event(row: Row[Any]) -> Event:
    return Event(
        row.id,
        row.time,
        row.kind,
        row.trial_index,
        row.attempt,
        row.from_status,
        row.to_status,
        row.reason,
    )
