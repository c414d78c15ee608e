"""Time as the database sees it, so that two hosts never compare their own clocks."""

from __future__ import annotations

from sqlalchemy import Connection, text

_NOW = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::double precision",
}


def database_time(connection: Connection) -> float:
    """Seconds since the epoch by the database's clock, to about a millisecond."""
    return float(connection.execute(text(_NOW[connection.dialect.name])).scalar_one())
