"""Frozen arms: what a killed process leaves, so that another one loses one slice at most."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from ax_jax_runners.errors import AxJaxError
from ax_jax_runners.files import FrozenFolder
from ax_jax_runners.runners.execution.protocol import ArmRequest
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.tasks import State, Task, task_identity
from ax_jax_runners.tasks.freezing import freeze, thaw

_LOG = logging.getLogger("ax_jax_runners.runners")
_WRITERS = 8

_FOLDER = "frozen"


class FrozenArms:
    """States of arms of one task, by what decides them.

    A state is a function of task, seed, trial index, position, parameters and the number of slices
    done, and of nothing else. So whoever writes one, and how often, it is the same.
    """

    def __init__(self, task: Task, *, seed: int, folder: Path) -> None:
        """Keep what is needed; nothing is read or written.

        Args:
            task: What the arms compute.
            seed: Root of all keys.
            folder: Where the states are, one folder a key.
        """
        self._task = task
        self._seed = seed
        self._folder = FrozenFolder(folder)
        self._digest: str | None = None
        self._complained = False

    @classmethod
    def in_directory(cls, task: Task, *, seed: int, directory: str | Path) -> Self:
        """Return the states in a runner's directory, the same ones in every process."""
        return cls(task, seed=seed, folder=Path(directory) / _FOLDER)

    def key(self, request: ArmRequest) -> str:
        """The name of an arm's states: 64 hexadecimal digits."""
        if self._digest is None:
            self._digest = task_identity(self._task).digest
        parameters = json.dumps(dict(request.parameters), sort_keys=True, default=repr)
        parts = (self._digest, self._seed, request.trial[1], request.position, parameters)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def save(self, state: State, arms: Sequence[tuple[int, ArmRequest, int, ArmOutcome]]) -> None:
        """Freeze arms of a batch. One that cannot be frozen goes on, and is logged.

        Args:
            state: The batch's state.
            arms: Row in the state, request, slices done and outcome of each arm to freeze.
        """
        if not arms:
            return
        try:
            leaves = freeze(state)
        except Exception as error:
            self._complain(error)
            return

        def write(arm: tuple[int, ArmRequest, int, ArmOutcome]) -> None:
            row, request, slices, outcome = arm
            arrays = {name: leaf[row : row + 1] for name, leaf in leaves.items()}
            about = {"slices": slices, "outcome": outcome.encode(), "arm": request.name}
            try:
                self._folder.save(self.key(request), slices, arrays, about)
            except (OSError, AxJaxError) as error:
                self._complain(error)

        if len(arms) == 1:
            write(arms[0])
            return
        self.key(arms[0][1])  # the digest is found once, before the threads
        # The disk flushes many files in about the time of one.
        with ThreadPoolExecutor(min(_WRITERS, len(arms))) as writers:
            list(writers.map(write, arms))

    def thaw(self, request: ArmRequest, template: State) -> tuple[State, int, ArmOutcome] | None:
        """Return state, slices done and outcome of the newest whole generation, if there is one.

        Args:
            request: The arm.
            template: Its state, just begun.
        """
        for arrays, about in self._folder.load(self.key(request)):
            try:
                state = thaw(arrays, template)
                return state, int(about["slices"]), ArmOutcome.decode(about["outcome"])
            except (AxJaxError, KeyError, TypeError, ValueError) as error:
                _LOG.warning("A frozen state of arm %s is passed over: %s", request.name, error)
        return None

    def holds(self, request: ArmRequest) -> bool:
        """Whether there is anything of an arm; cheap."""
        return self._exists and (self._folder.folder / self.key(request)).is_dir()

    def slices(self, request: ArmRequest) -> int:
        """How many slices of an arm are frozen; 0 where there is nothing."""
        return (self._folder.newest(self.key(request)) or 0) if self.holds(request) else 0

    def discard(self, request: ArmRequest) -> None:
        """Remove the states of an arm."""
        if self._exists:
            self._folder.discard(self.key(request))

    def _complain(self, error: Exception) -> None:
        # The cause is that of every slice to come.
        if not self._complained:
            self._complained = True
            _LOG.warning(
                "States cannot be frozen, so a killed process loses whole trials: %s", error
            )

    @property
    def _exists(self) -> bool:
        # Without it no key needs to be worked out: plain evaluations never freeze anything.
        return self._folder.folder.is_dir()
