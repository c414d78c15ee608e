"""Ax's process-wide session factory, bound for the length of one transaction.

Ax opens and commits a session of its own for every piece that it saves. Bound to one connection
with ``join_transaction_mode="create_savepoint"``, those commits become savepoints of the caller's
transaction, so that either all of a step is stored or nothing of it.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ax.storage.sqa_store import db
from ax.utils.common.base import Base
from sqlalchemy import Connection
from sqlalchemy.orm import scoped_session, sessionmaker

from ax_jax_runners.errors import StoreError

_BINDING = threading.RLock()


@contextmanager
def quiet_ax_storage() -> Iterator[None]:
    """Keep Ax's storage from warning of matters that are its own."""
    with warnings.catch_warnings():
        # Ax stores no order of choices; the one that it assumes, and warns of, is ours.
        warnings.filterwarnings("ignore", "`sort_values` is not specified")
        # Whether statements with Ax's JSON columns can be cached is decided by Ax.
        warnings.filterwarnings("ignore", "TypeDecorator JSONEncoded")
        yield


@contextmanager
def ax_sessions_on(connection: Connection) -> Iterator[None]:
    """Let Ax's storage functions work inside the connection's transaction."""
    with _BINDING:
        before = db.SESSION_FACTORY
        factory = scoped_session(
            sessionmaker(
                bind=connection,
                join_transaction_mode="create_savepoint",
                expire_on_commit=db.EXPIRE_ON_COMMIT,
            )
        )
        db.SESSION_FACTORY = factory
        try:
            with quiet_ax_storage():
                yield
        finally:
            factory.remove()
            db.SESSION_FACTORY = before


def saved_id(ax_object: Base) -> int:
    """The database id of an experiment or trial that has been stored.

    Raises:
        StoreError: It has not.
    """
    if ax_object.db_id is None:
        raise StoreError(f"{ax_object!r} is not stored yet; save it before what belongs to it.")
    return ax_object.db_id
