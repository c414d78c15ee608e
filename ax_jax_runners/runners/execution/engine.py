"""What a `FuturesExecution` hands its trials to, and the plainest such thing: a user's executor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from importlib.util import find_spec
from typing import Any, Protocol

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.execution.mailbox import RunningProcess
from ax_jax_runners.runners.execution.remote import TrialJob, run_trial
from ax_jax_runners.runners.sentences import describe_error


class Engine(Protocol):
    """Runs `run_trial` somewhere else.

    Attributes:
        owns_processes: Whether its processes run nothing but our trials, one at a time, and are
            replaced when one is killed.
        shares_files: Whether they certainly see the files of this machine.
    """

    owns_processes: bool
    shares_files: bool

    def submit(self, job: TrialJob) -> Future[Any]:
        """Start a job, or queue it.

        Raises:
            ConfigurationError: The engine cannot be opened as it is configured.
            Exception: This job cannot be started; another attempt may do better.
        """
        ...

    def cancel(self, future: Future[Any], *, has_begun: bool) -> None:
        """Withdraw a job that nobody waits for; one that has begun may go on to end its slice."""
        ...

    def end(self, future: Future[Any], process: RunningProcess | None) -> None:
        """End a job that hangs, by force, where there is a way to."""
        ...

    def describe(self, error: BaseException) -> str:
        """Say why a job gave no result."""
        ...

    def close(self) -> None:
        """End what the engine itself has opened; a later submit opens it again."""
        ...


def check_installed(module: str, *, engine: str) -> None:
    """Refuse an engine whose package is not there.

    Raises:
        ConfigurationError: Names what to install.
    """
    if find_spec(module) is None:
        raise ConfigurationError(
            f'engine="{engine}" needs the package {module}, which is not installed; '
            f"run: pip install 'ax-jax-runners[{engine}]'."
        )


def check_options(options: Mapping[str, Any], *, engine: str) -> dict[str, Any]:
    """Return a copy of an engine's options.

    Raises:
        ConfigurationError: Options that are not plain JSON, so that they could not be stored.
    """
    try:
        copied = json.loads(json.dumps(dict(options), allow_nan=False))
        if copied == dict(options):
            return copied
        reason = "some change when they are written and read"
    except (TypeError, ValueError) as error:
        reason = str(error)
    raise ConfigurationError(
        f'The options of engine="{engine}" are not plain JSON ({reason}); '
        "use texts, numbers, lists and mappings."
    )


class ExecutorEngine:
    """An executor that the user made, and that the user shuts down."""

    owns_processes = False

    def __init__(self, executor: Executor) -> None:
        """Keep the executor.

        Raises:
            ConfigurationError: Not an executor, or one whose processes are forks of this one.
        """
        if not isinstance(executor, Executor):
            raise ConfigurationError(
                f"executor is a {type(executor).__name__}; give a concurrent.futures.Executor."
            )
        # ProcessPoolExecutor and loky's executors keep their context under these names.
        for name in ("_mp_context", "_context"):
            context = getattr(executor, name, None)
            method = getattr(context, "get_start_method", lambda: None)()
            if method == "fork":
                raise ConfigurationError(
                    f"The {type(executor).__name__} given as executor forks this process, and JAX "
                    "does not survive a fork; make it with "
                    'mp_context=multiprocessing.get_context("spawn").'
                )
        self._executor = executor
        self.shares_files = isinstance(executor, (ThreadPoolExecutor, ProcessPoolExecutor))

    def submit(self, job: TrialJob) -> Future[Any]:
        """Submit to the executor."""
        return self._executor.submit(run_trial, job)

    def cancel(self, future: Future[Any], *, has_begun: bool) -> None:
        """Cancel what has not begun."""
        future.cancel()

    def end(self, future: Future[Any], process: RunningProcess | None) -> None:
        """Nothing: the executor's workers belong to the user."""

    def describe(self, error: BaseException) -> str:
        """Say why a job gave no result."""
        if isinstance(error, BrokenExecutor):
            return (
                "A worker process of the executor died, which breaks the whole "
                f"{type(self._executor).__name__} for good ({error}); pass a new one, or use "
                'engine="processes", whose workers are replaced one by one.'
            )
        if isinstance(error, CancelledError):
            return "The executor cancelled it."
        return describe_error(error)

    def close(self) -> None:
        """Nothing: the executor belongs to the user."""
