"""Show the package's log messages, only on the command line and only when asked for."""

from __future__ import annotations

import logging
import time

import typer


def show_log(context: typer.Context) -> None:
    """Write messages from level INFO on to stderr until the command ends, with times in UTC.

    Without this Python shows warnings and errors, as bare lines.
    """
    logger = logging.getLogger("ax_jax_runners")
    handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def undo() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    context.call_on_close(undo)
