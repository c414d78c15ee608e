"""Keep the libraries' chatter out of the command line; Ax's warnings and errors come through."""

from __future__ import annotations

import logging
import sys
import warnings


def silence_ax() -> None:
    """Import Ax and raise its log handler to warnings; elsewhere Ax logs as it always does.

    Python warnings, which are for developers, are off too, unless asked for (``python -W``).
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    # Its first messages come while it is imported, before there is a handler to set.
    logging.disable(logging.INFO)
    try:
        import ax.storage.sqa_store.with_db_settings_base  # noqa: F401
    finally:
        logging.disable(logging.NOTSET)
    for handler in logging.getLogger("ax").handlers:
        handler.setLevel(logging.WARNING)
