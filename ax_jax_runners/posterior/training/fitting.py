"""A whole training of one arm: begun or gone on with, saved on the way, to its end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.files.lock import WriterLock
from ax_jax_runners.posterior.configuration import CheckpointConfiguration
from ax_jax_runners.posterior.training.checkpoints import (
    Checkpoints,
    check_identity,
    open_checkpoints,
)
from ax_jax_runners.posterior.training.rows import TrainingData
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings, Trainer

#: Epochs of small networks are shorter than it takes to save one.
_SECONDS_BETWEEN_SAVES = 1.0
#: What ends a training but changes nothing of the epochs until then.
_FREE = ("epochs", "patience")


def train(
    trainer: Trainer,
    data: TrainingData,
    key: np.ndarray,
    *,
    checkpoint: CheckpointConfiguration,
    identity: Mapping[str, Any],
    on_epoch: Callable[[TrainingState], None] | None = None,
) -> TrainingState:
    """Train to the end and return the last state.

    The state is saved after an epoch, at most once a second, and at the end.

    Args:
        trainer: Of one arm.
        data: To learn from.
        key: (2,) uint32, data of the arm's key.
        checkpoint: Where states are saved, if anywhere, and whether to go on from there.
        identity: Plain JSON of what decides the weights; a saved state must have the same.
        on_epoch: Called after every epoch; one that raises ends the training.

    Raises:
        ConfigurationError: The folder holds the training of something else.
        LeaseHeld: Another process trains into the folder.
    """
    state = trainer.begin(key[None])
    with ExitStack() as stack:
        kept = open_checkpoints(checkpoint)
        if kept is not None and checkpoint.directory is not None:
            folder = Path(checkpoint.directory)
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(WriterLock.acquire(folder / "writer.lock").release)
            if checkpoint.resume:
                patience = trainer.arms[0].optimiser.patience
                state = _resumed(kept, state, identity, checkpoint.directory, patience)
            else:
                kept.clear()
        saved = time.monotonic()
        while state.running.any():
            state = trainer.advance(state, data)
            over = not state.running.any()
            if kept is not None and (over or time.monotonic() - saved > _SECONDS_BETWEEN_SAVES):
                kept.save(int(state.epoch[0]), _named(state), identity)
                saved = time.monotonic()
            if on_epoch is not None:
                on_epoch(state)
    return state


def settings_identity(settings: Settings) -> dict[str, Any]:
    """Return what of an arm's settings decides its epochs, as plain JSON."""
    optimiser = dataclasses.asdict(settings.optimiser)
    horizon = settings.optimiser.schedule_epochs or settings.optimiser.epochs
    optimiser["schedule_epochs"] = float(horizon) if settings.optimiser.cosine else None
    return {
        "optimiser": {name: value for name, value in optimiser.items() if name not in _FREE},
        "regularisation": dataclasses.asdict(settings.regularisation),
        "stability": dataclasses.asdict(settings.stability),
    }


def _resumed(
    kept: Checkpoints,
    begun: TrainingState,
    identity: Mapping[str, Any],
    folder: str,
    patience: int | None,
) -> TrainingState:
    found = kept.load()
    if found is None:
        return begun
    arrays, stored = found
    check_identity(stored, identity, folder)
    epochs = begun.history.shape[1]
    saved = _filled(begun.with_epochs(arrays[".history"].shape[1]), arrays)
    return saved.with_epochs(epochs, patience=patience)


def _named(state: TrainingState) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _filled(template: TrainingState, arrays: Mapping[str, np.ndarray]) -> TrainingState:
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if name not in arrays or arrays[name].shape != np.shape(leaf):
            raise ArtifactCorrupt(
                f"The saved training lacks {name} of the shape {np.shape(leaf)}; remove the folder "
                "and train again."
            )
    return jax.tree_util.tree_unflatten(structure, [np.asarray(arrays[name]) for name in names])
