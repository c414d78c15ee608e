"""The first schema: campaigns, observations, artifacts, attempts, leases and events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "campaign",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("configuration", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("total_trials", sa.Integer),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stop_requested", sa.Double),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_table(
        "observation",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("trial_index", sa.Integer, nullable=False),
        sa.Column("arm_name", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("member", sa.Integer, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("window", sa.Text, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("sem", sa.Double),
        sa.Column("status", sa.Text, nullable=False),
        sa.UniqueConstraint(
            "experiment_id",
            "trial_index",
            "arm_name",
            "step",
            "member",
            "metric",
            "window",
            name="observation_key",
        ),
    )
    op.create_index(
        "observation_metric", "observation", ["experiment_id", "metric", "window", "value"]
    )
    op.create_table(
        "artifact",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("trial_index", sa.Integer, nullable=False),
        sa.Column("arm_name", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.UniqueConstraint(
            "experiment_id", "trial_index", "arm_name", "name", name="artifact_key"
        ),
    )
    op.create_table(
        "attempt",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("trial_index", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.UniqueConstraint("experiment_id", "trial_index", "attempt", name="attempt_key"),
    )
    op.create_table(
        "lease",
        sa.Column(
            "campaign_id",
            _ID,
            sa.ForeignKey("campaign.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("id", _ID, primary_key=True),
        sa.Column(
            "campaign_id", _ID, sa.ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("trial_index", sa.Integer),
        sa.Column("attempt", sa.Integer),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("time", sa.Double, nullable=False),
    )
    op.create_index("event_campaign", "event", ["campaign_id", "id"])
