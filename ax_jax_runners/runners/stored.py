"""A runner's arguments, its copies and its place in storage; the running is in `base`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from ax.core.runner import Runner
from ax.utils.common.serialization import (
    TClassDecoderRegistry,
    TDecoderRegistry,
    extract_init_args,
    serialize_init_args,
)

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.binding import RESOLVER, TaskResolver, check_task, encode_task
from ax_jax_runners.tasks import Task, UnboundTask
from ax_jax_runners.tasks.keys import SEED_LIMIT


class StorableRunner(Runner):
    """Holds a task and JSON arguments; stored by reference, compared by value.

    Attributes:
        seed: Root of all keys, at least 0 and below 2**32.
        directory: Folder where arrays are kept, as text; None keeps none.
    """

    # Ax compares the instance __dict__ of a runner with that of its stored copy, type by type, so
    # only what is stored lives there. The rest is rebuilt when needed.
    __slots__ = ("_stored_task", "_task")

    def __init__(
        self,
        task: Task | UnboundTask,
        *,
        seed: int = 0,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        """Keep the arguments; nothing is compiled yet.

        Args:
            task: What one arm computes.
            seed: Root of all keys: arm j of trial i gets
                ``fold_in(fold_in(key(seed), i), j)``.
            directory: Folder where the arrays of finished arms are kept, or None.

        Raises:
            ConfigurationError: Not a task, or a seed or directory that cannot be used.
        """
        check_task(task, type(self).__name__)
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise ConfigurationError(f"seed is {seed!r}; give a whole number.")
        if not 0 <= int(seed) < SEED_LIMIT:
            raise ConfigurationError(f"seed is {seed}; give a number from 0 to {SEED_LIMIT - 1}.")
        if directory is not None and not isinstance(directory, (str, os.PathLike)):
            raise ConfigurationError(
                f"directory is a {type(directory).__name__}; give a path, or None."
            )
        self.seed = int(seed)
        self.directory = None if directory is None else os.fspath(directory)
        self._start_afresh(task)

    def _start_afresh(self, task: Task | UnboundTask) -> None:
        """Set what lives outside the instance __dict__; nothing runs."""
        self._task = task
        self._stored_task: dict[str, Any] | None = None

    @property
    def task(self) -> Task | UnboundTask:
        """What one arm computes; an `UnboundTask` where it was not given again on load."""
        return self._task

    @classmethod
    def serialize_init_args(cls, obj: Any) -> dict[str, Any]:
        """Return the constructor's arguments as JSON; the task by reference and digest."""
        if obj._stored_task is None:
            obj._stored_task = encode_task(obj.task)
        return {**serialize_init_args(obj=obj), "task": dict(obj._stored_task)}

    @classmethod
    def deserialize_init_args(
        cls,
        args: dict[str, Any],
        decoder_registry: TDecoderRegistry | None = None,
        class_decoder_registry: TClassDecoderRegistry | None = None,
    ) -> dict[str, Any]:
        """Return the constructor's arguments; the task is found by the bundle's `TaskResolver`."""
        arguments = extract_init_args(args=args, class_=cls)
        if isinstance(arguments["task"], Mapping):
            resolver = (decoder_registry or {}).get(RESOLVER)
            if not isinstance(resolver, TaskResolver):
                resolver = TaskResolver()
            arguments["task"] = resolver.resolve(arguments["task"])
        return arguments

    def clone(self) -> Self:
        """Return an equal runner with nothing running. Works for any task, lambdas included."""
        return type(self)(**{**serialize_init_args(obj=self), "task": self._task})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # The task is frozen, so copies share it together with its compiled programs.
        twin = type(self).__new__(type(self))
        twin.__setstate__(self.__getstate__())
        return twin

    def __getstate__(self) -> tuple[dict[str, Any], Task | UnboundTask]:
        return dict(vars(self)), self._task

    def __setstate__(self, state: tuple[dict[str, Any], Task | UnboundTask]) -> None:
        vars(self).update(state[0])
        self._start_afresh(state[1])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.serialize_init_args(self) == self.serialize_init_args(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        arguments = {**serialize_init_args(obj=self), "task": self._task}
        listed = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__name__}({listed})"
