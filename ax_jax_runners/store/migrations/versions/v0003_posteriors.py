"""The registry of saved posterior estimators."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "posterior",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("estimator_family", sa.Text, nullable=False),
        sa.Column("schema_version", sa.Text, nullable=False),
        sa.Column("parameter_dim", sa.Integer, nullable=False),
        sa.Column("parameter_space", sa.Text, nullable=False),
        sa.Column("task_name", sa.Text),
        sa.Column("task_version", sa.Text),
        sa.Column("task_fingerprint", sa.Text),
        sa.Column("created_at", sa.Text),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("registered", sa.Double, nullable=False),
        sa.UniqueConstraint("name", "version", name="posterior_version"),
    )
