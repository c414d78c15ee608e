"""The runner that a campaign file names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ax_jax_runners.errors import ConfigurationError

if TYPE_CHECKING:
    from ax_jax_runners.runners.base import TaskRunner
    from ax_jax_runners.tasks import Task

RUNNERS = (
    "JaxRunner",
    "WorkerJaxRunner",
    "SingleRunningTrialJaxRunner",
    "SimulatedBackendJaxRunner",
)
"""Those that take any task; a test problem of `SyntheticJaxRunner` is a task by its own name."""

# They come from elsewhere in the file, or have no place in one.
_NOT_OPTIONS = {"task", "seed", "directory", "executor"}


def make_runner(name: str, options: Mapping[str, Any], task: Task, *, seed: int) -> TaskRunner:
    """Make the runner of a task by its class name.

    Args:
        name: One of `RUNNERS`.
        options: Keyword arguments of its constructor.
        task: What it runs.
        seed: The campaign's.

    Raises:
        ConfigurationError: An unknown runner or option, or one that cannot be used.
    """
    from ax_jax_runners import runners

    if name not in RUNNERS:
        raise ConfigurationError(
            f"There is no runner {name!r}; choose one of {', '.join(map(repr, RUNNERS))}."
        )
    kind = getattr(runners, name)
    known = [key for key in inspect.signature(kind).parameters if key not in _NOT_OPTIONS]
    for option in options:
        if option not in known:
            raise ConfigurationError(
                f"Runner {name!r} has no option {option!r} in a campaign file; its options are "
                f"{', '.join(map(repr, known)) or 'none'}."
            )
    return kind(task, seed=seed, **options)
