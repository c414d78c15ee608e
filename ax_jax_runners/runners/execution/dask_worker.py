"""Set-up of a Dask worker process of our own; Dask imports this module when the process starts."""

from __future__ import annotations

import signal
from typing import Any

# Imported before the first trial comes, which then need not wait for it.
from ax_jax_runners.runners.execution import remote  # noqa: F401


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the process that opened the cluster, and that ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
