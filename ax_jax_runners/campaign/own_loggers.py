"""Keep this package's loggers as their user set them, whatever Ax does to its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_OURS = "ax_jax_runners"


@contextmanager
def levels_kept() -> Iterator[None]:
    """Restore the levels of our loggers at the end.

    Ax sets the level of every logger whose name starts with ``ax``, and ours do.
    """
    levels = {logger: logger.level for logger in _loggers()}
    yield
    for logger, level in levels.items():
        logger.setLevel(level)


def _loggers() -> list[logging.Logger]:
    return [
        logger
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == _OURS
    ]
