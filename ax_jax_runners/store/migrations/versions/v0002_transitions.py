"""Events say from which status to which a trial went, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the statuses; what was called a detail is the reason."""
    op.alter_column("event", "detail", new_column_name="reason")
    op.add_column("event", sa.Column("from_status", sa.Text))
    op.add_column("event", sa.Column("to_status", sa.Text))
    op.create_index("event_trial", "event", ["campaign_id", "trial_index"])
