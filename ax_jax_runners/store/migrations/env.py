"""Alembic environment: runs our migrations on the connection of the caller's transaction."""

from __future__ import annotations

from alembic import context

from ax_jax_runners.store.schema import VERSION_TABLE
from ax_jax_runners.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
