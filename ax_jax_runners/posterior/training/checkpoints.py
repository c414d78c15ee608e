"""States of a training on disk, the newest two, by which a killed run goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.files import FrozenFolder
from ax_jax_runners.posterior.configuration import CheckpointConfiguration

Arrays = dict[str, np.ndarray]
#: One training has the folder to itself, so its states need no name of their own.
_KEY = hashlib.sha256(b"posterior-training").hexdigest()


class Checkpoints(Protocol):
    """Where states are kept."""

    def save(self, epoch: int, arrays: Arrays, identity: Mapping[str, Any]) -> None:
        """Write the state after an epoch; a process killed meanwhile leaves the one before."""
        ...

    def load(self) -> tuple[Arrays, dict[str, Any]] | None:
        """Return the newest whole state and the identity that it was saved with, or None."""
        ...

    def clear(self) -> None:
        """Remove every state."""
        ...


@dataclass(frozen=True)
class FrozenCheckpoints:
    """States in this package's own frozen-state files.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def save(self, epoch: int, arrays: Arrays, identity: Mapping[str, Any]) -> None:
        self._frozen.save(_KEY, epoch, arrays, {"identity": dict(identity)})

    def load(self) -> tuple[Arrays, dict[str, Any]] | None:
        for arrays, manifest in self._frozen.load(_KEY):
            return arrays, manifest["identity"]
        return None

    def clear(self) -> None:
        self._frozen.discard(_KEY)

    @property
    def _frozen(self) -> FrozenFolder:
        return FrozenFolder(self.folder)


@dataclass(frozen=True)
class OrbaxCheckpoints:
    """States as Orbax writes them.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def save(self, epoch: int, arrays: Arrays, identity: Mapping[str, Any]) -> None:
        orbax, manager = self._manager()
        try:
            manager.save(
                epoch,
                args=orbax.args.Composite(
                    state=orbax.args.StandardSave(arrays),
                    identity=orbax.args.JsonSave(dict(identity)),
                ),
                force=True,
            )
        finally:
            manager.close()

    def load(self) -> tuple[Arrays, dict[str, Any]] | None:
        if not self.folder.is_dir():
            return None
        orbax, manager = self._manager()
        try:
            newest = manager.latest_step()
            if newest is None:
                return None
            told = manager.item_metadata(newest).state
            blank = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in told.items()}
            found = manager.restore(
                newest,
                args=orbax.args.Composite(
                    state=orbax.args.StandardRestore(blank), identity=orbax.args.JsonRestore()
                ),
            )
            arrays = {name: np.asarray(leaf) for name, leaf in found.state.items()}
            return arrays, dict(found.identity)
        finally:
            manager.close()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _manager(self) -> tuple[Any, Any]:
        orbax = import_module("orbax.checkpoint")
        options = orbax.CheckpointManagerOptions(
            max_to_keep=2, enable_async_checkpointing=False, create=True
        )
        handlers = {
            "state": orbax.StandardCheckpointHandler(),
            "identity": orbax.JsonCheckpointHandler(),
        }
        manager = orbax.CheckpointManager(
            self.folder.absolute(), options=options, item_handlers=handlers
        )
        return orbax, manager


def open_checkpoints(configuration: CheckpointConfiguration) -> Checkpoints | None:
    """Return where states are kept, or None.

    Raises:
        ConfigurationError: Orbax is asked for and not installed.
    """
    if configuration.directory is None:
        return None
    folder = Path(configuration.directory)
    if configuration.backend != "orbax":
        return FrozenCheckpoints(folder)
    if find_spec("orbax") is None or find_spec("orbax.checkpoint") is None:
        raise ConfigurationError(
            "checkpoint_backend 'orbax' needs orbax-checkpoint, which is not installed; install "
            "ax-jax-runners[orbax], or use 'auto'."
        )
    return OrbaxCheckpoints(folder / "orbax")


def check_identity(stored: Mapping[str, Any], wanted: Mapping[str, Any], folder: str) -> None:
    """Refuse to go on with a training of something else.

    Raises:
        ConfigurationError: Names the first key that differs, with both values.
    """
    for key in dict.fromkeys([*flat(wanted), *flat(stored)]):
        there, here = flat(stored).get(key), flat(wanted).get(key)
        if there != here:
            raise ConfigurationError(
                f"The training in {folder} has {key} = {there!r}, and this one {here!r}; resume "
                "with the same settings and data, or use another folder."
            )


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Return the entries of nested mappings and lists by their paths."""
    if isinstance(tree, Mapping):
        items = [(str(name), value) for name, value in tree.items()]
    elif isinstance(tree, (list, tuple)):
        items = [(str(number), value) for number, value in enumerate(tree)]
    else:
        return {path: tree}
    found: dict[str, Any] = {}
    for name, value in items:
        found.update(flat(value, f"{path}.{name}" if path else name))
    return found
