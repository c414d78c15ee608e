"""What a database holds of a campaign, read by plain SQL, and what must be true of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ax.core.trial_status import TrialStatus
from sqlalchemy import NullPool, create_engine, inspect, text

_QUERIES = {
    "trials": 'SELECT "index", status, run_metadata, failed_reason FROM trial_v2 ORDER BY id',
    "arms": (
        'SELECT t."index", a.name, a.parameters FROM arm_v2 a '
        "JOIN generator_run_v2 g ON a.generator_run_id = g.id "
        "JOIN trial_v2 t ON g.trial_id = t.id ORDER BY a.id"
    ),
    "data": "SELECT trial_index, data_json FROM data_v2 ORDER BY id",
    "observations": (
        "SELECT trial_index, arm_name, metric, step, value, sem, status FROM observation "
        "ORDER BY trial_index, arm_name, metric, step"
    ),
    "artifacts": "SELECT trial_index, arm_name, name, sha256, bytes FROM artifact",
    "attempts": "SELECT trial_index, attempt, status FROM attempt ORDER BY id",
    "leases": "SELECT owner, token, expires FROM lease",
    "campaigns": "SELECT name, state, total_trials FROM campaign",
    "orphan_runs": (
        "SELECT id FROM generator_run_v2 WHERE trial_id IS NULL OR generation_strategy_id IS NULL"
    ),
    "lost_runs": (
        "SELECT id FROM generator_run_v2 WHERE trial_id NOT IN (SELECT id FROM trial_v2)"
    ),
    "orphan_arms": (
        "SELECT id FROM arm_v2 WHERE generator_run_id IS NULL "
        "OR generator_run_id NOT IN (SELECT id FROM generator_run_v2)"
    ),
    "runs": "SELECT trial_id FROM generator_run_v2",
}


@dataclass(frozen=True)
class Records:
    """Every row of a campaign, as the database gives it; nothing before there are tables."""

    rows: dict[str, list[tuple[Any, ...]]]

    @classmethod
    def read(cls, url: str) -> Records:
        """Read everything in one transaction."""
        isolation = {"isolation_level": "REPEATABLE READ"} if "postgresql" in url else {}
        engine = create_engine(url, poolclass=NullPool, **isolation)
        with engine.connect() as connection:
            if not inspect(connection).has_table("campaign"):
                return cls({})
            rows = {
                name: [tuple(row) for row in connection.execute(text(query))]
                for name, query in _QUERIES.items()
            }
            if "sqlite" in url:
                assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
        return cls(rows)

    @property
    def indices(self) -> list[int]:
        return sorted(row[0] for row in self.rows["trials"])

    @property
    def arms(self) -> dict[int, tuple[str, str]]:
        """Name and parameters of the one arm of each trial."""
        return {
            index: (name, json.dumps(json.loads(parameters), sort_keys=True))
            for index, name, parameters in self.rows["arms"]
        }

    @property
    def results(self) -> dict[int, tuple[Any, ...]]:
        """All that is recorded of each ended trial, bit by bit."""
        found = {
            row[0]: [("trial", *row[1:])] for row in self.rows["trials"] if _name(row) in _ENDED
        }
        for kind in ("data", "observations", "artifacts"):
            for row in self.rows[kind]:
                assert row[0] in found, f"{kind} of trial {row[0]}, which has not ended: {row}"
                found[row[0]].append(
                    (kind, *(v.hex() if isinstance(v, float) else v for v in row[1:]))
                )
        return {index: tuple(sorted(parts, key=repr)) for index, parts in found.items()}

    @property
    def values(self) -> dict[tuple[int, str], tuple[str, str]]:
        """Value and sem of each output, every bit of them."""
        return {
            (index, metric): (value.hex(), sem.hex())
            for index, _, metric, _, value, sem, _ in self.final
        }

    @property
    def final(self) -> list[tuple[Any, ...]]:
        """The observations of ended arms, without the points of their curves."""
        return [row for row in self.rows["observations"] if row[-1] != "running"]

    @property
    def statuses(self) -> Counter[str]:
        return Counter(_name(row) for row in self.rows["trials"])

    @property
    def state(self) -> str:
        return self.rows["campaigns"][0][1]

    @property
    def attempts(self) -> Counter[int]:
        """How often each trial was begun."""
        return Counter(row[0] for row in self.rows["attempts"])

    def check(self, artifacts: Path, *, outputs: int = 2, arrays: int = 1) -> None:
        """Assert all that must hold at any moment.

        Args:
            artifacts: The folder of arrays.
            outputs: Outputs of a trial; 2 for the logged task, 1 for the compiled one.
            arrays: Arrays of a trial.
        """
        assert self.indices == list(range(len(self.indices))), self.indices
        assert sorted(self.arms) == self.indices
        assert len(self.rows["arms"]) == len(self.indices)
        assert len(self.rows["runs"]) == len(self.indices)
        for kind in ("orphan_runs", "lost_runs", "orphan_arms"):
            assert self.rows[kind] == [], kind
        assert self.statuses.keys() <= {"completed", "candidate", "running"}, self.statuses
        completed = {row[0] for row in self.rows["trials"] if _name(row) == "completed"}
        counted = (
            ("data", 1, self.rows["data"]),
            ("observations", outputs, self.final),
            ("artifacts", arrays, self.rows["artifacts"]),
        )
        for kind, count, rows in counted:
            counts = Counter(row[0] for row in rows)
            assert counts == Counter(dict.fromkeys(completed, count)), kind
        for _, _, _, sha256, size in self.rows["artifacts"]:
            content = (artifacts / sha256[:2] / sha256).read_bytes()
            assert hashlib.sha256(content).hexdigest() == sha256
            assert len(content) == size

    def check_kept_in(self, later: Records) -> None:
        """Assert that nothing recorded here is lost or changed there."""
        for index, result in self.results.items():
            assert later.results.get(index) == result, f"trial {index} was changed"
        for index, arm in self.arms.items():
            assert later.arms.get(index) == arm, f"the arm of trial {index} was changed"
        assert self.attempts <= later.attempts


_ENDED = {"completed", "failed", "abandoned", "early_stopped"}


def recorded(records: Records) -> dict[int, Any]:
    """What is known of each trial: arm, status, metadata with curves and digests, and data."""
    found = {}
    for index, result in records.results.items():
        (trial,) = [part for part in result if part[0] == "trial"]
        # As text, the metadata tells in which order outputs became known to a process.
        metadata = json.loads(trial[2])
        rest = [part for part in result if part[0] != "trial"]
        found[index] = (records.arms[index], trial[1], trial[3:], metadata, rest)
    return found


def _name(row: tuple[Any, ...]) -> str:
    return TrialStatus(row[1]).name.lower()
