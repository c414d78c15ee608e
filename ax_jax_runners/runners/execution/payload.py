"""A task on its way to another process: pickled in memory, its functions by reference.

This is the only module that pickles or unpickles, and tasks are all that it is used for: orders,
results, states and everything in files and databases are JSON and plain arrays.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.tasks import Task, task_reference

_ADVICE = (
    "put the task's class and functions, by name and not as lambdas or inside other functions, "
    "into a module that can be imported, or use JaxRunner"
)


class _Pickler(pickle.Pickler):
    """Notes what belongs to the program that was started: another process has another one."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.of_main: list[str] = []

    def persistent_id(self, obj: Any) -> None:
        if getattr(obj, "__module__", None) == "__main__" and hasattr(obj, "__qualname__"):
            self.of_main.append(obj.__qualname__)


def pack_task(task: Task) -> bytes:
    """Return a task as bytes for a worker process.

    Raises:
        ConfigurationError: It has parts that another process cannot find or be sent.
    """
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(task)
    except Exception as error:
        raise ConfigurationError(
            f"The task {task_reference(task)!r} cannot be sent to a worker process "
            f"({type(error).__name__}: {str(error)[:500]}); {_ADVICE}."
        ) from error
    if pickler.of_main:
        raise ConfigurationError(
            f"The task {task_reference(task)!r} uses {pickler.of_main[0]!r} of __main__, which "
            f"a worker process cannot import; {_ADVICE}."
        )
    return file.getvalue()


def unpack_task(task: bytes) -> Task:
    """Return the task of `pack_task`, in a process that was started to run it.

    The bytes must come from whoever started this process: they are code as much as its program is.
    """
    return pickle.loads(task)  # noqa: S301  from our own parent, or in the job of an executor
