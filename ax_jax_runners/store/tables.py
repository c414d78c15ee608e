"""Our tables beside Ax's, from campaigns and exact observations to events and posteriors.

Times are seconds since the epoch by the database's clock. Values that are not finite are NULL.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")

campaign = Table(
    "campaign",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("experiment_id", Integer, nullable=False),
    Column("configuration", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("total_trials", Integer),
    Column("state", Text, nullable=False),
    Column("stop_requested", Double),
    Column("created", Double, nullable=False),
)

observation = Table(
    "observation",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("experiment_id", Integer, nullable=False),
    Column("trial_index", Integer, nullable=False),
    Column("arm_name", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("member", Integer, nullable=False),
    Column("metric", Text, nullable=False),
    Column("window", Text, nullable=False),
    Column("value", Double),
    Column("sem", Double),
    Column("status", Text, nullable=False),
    UniqueConstraint(
        "experiment_id",
        "trial_index",
        "arm_name",
        "step",
        "member",
        "metric",
        "window",
        name="observation_key",
    ),
    Index("observation_metric", "experiment_id", "metric", "window", "value"),
    # The experiment is not first: SQLite would take the index for joins by place, too.
    Index(
        "observation_member",
        "metric",
        "window",
        "experiment_id",
        "trial_index",
        "arm_name",
        "member",
        "value",
        "step",
    ),
)

artifact = Table(
    "artifact",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("experiment_id", Integer, nullable=False),
    Column("trial_index", Integer, nullable=False),
    Column("arm_name", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    UniqueConstraint("experiment_id", "trial_index", "arm_name", "name", name="artifact_key"),
)

evaluation = Table(
    "evaluation",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("evaluation_id", Text, nullable=False),
    Column("experiment_id", Integer, nullable=False),
    Column("trial_index", Integer, nullable=False),
    Column("arm_name", Text, nullable=False),
    Column("cached_from", Text),
    UniqueConstraint("experiment_id", "trial_index", "arm_name", name="evaluation_key"),
    Index("evaluation_by_id", "evaluation_id"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("experiment_id", Integer, nullable=False),
    Column("trial_index", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    UniqueConstraint("experiment_id", "trial_index", "attempt", name="attempt_key"),
)

lease = Table(
    "lease",
    metadata,
    Column("campaign_id", _Id, ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires", Double, nullable=False),
)

event = Table(
    "event",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("campaign_id", _Id, ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
    Column("trial_index", Integer),
    Column("attempt", Integer),
    Column("kind", Text, nullable=False),
    Column("from_status", Text),
    Column("to_status", Text),
    Column("reason", Text),
    Column("time", Double, nullable=False),
    Index("event_campaign", "campaign_id", "id"),
    Index("event_trial", "campaign_id", "trial_index"),
)

posterior = Table(
    "posterior",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("estimator_family", Text, nullable=False),
    Column("schema_version", Text, nullable=False),
    Column("parameter_dim", Integer, nullable=False),
    Column("parameter_space", Text, nullable=False),
    Column("task_name", Text),
    Column("task_version", Text),
    Column("task_fingerprint", Text),
    Column("created_at", Text),
    Column("metrics", Text, nullable=False),
    Column("files", Text, nullable=False),
    Column("registered", Double, nullable=False),
    UniqueConstraint("name", "version", name="posterior_version"),
)
