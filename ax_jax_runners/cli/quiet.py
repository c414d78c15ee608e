"""Keep Ax's progress messages out of the command line. Warnings and errors still come through."""

from __future__ import annotations

import logging


def silence_ax() -> None:
    """Import Ax and raise its log handler to warnings; elsewhere Ax logs as it always does."""
    # Its first messages come while it is imported, before there is a handler to set.
    logging.disable(logging.INFO)
    try:
        import ax.storage.sqa_store.with_db_settings_base  # noqa: F401
    finally:
        logging.disable(logging.NOTSET)
    for handler in logging.getLogger("ax").handlers:
        handler.setLevel(logging.WARNING)
