"""Ids of evaluations, and an index of the values of each parameter set."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table and the index."""
    op.create_table(
        "evaluation",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("evaluation_id", sa.Text, nullable=False),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("trial_index", sa.Integer, nullable=False),
        sa.Column("arm_name", sa.Text, nullable=False),
        sa.Column("cached_from", sa.Text),
        sa.UniqueConstraint("experiment_id", "trial_index", "arm_name", name="evaluation_key"),
    )
    op.create_index("evaluation_by_id", "evaluation", ["evaluation_id"])
    op.create_index(
        "observation_member",
        "observation",
        [
            "metric",
            "window",
            "experiment_id",
            "trial_index",
            "arm_name",
            "member",
            "value",
            "step",
        ],
    )
