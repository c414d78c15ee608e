"""What a finished arm leaves behind for more epochs: its training, as one array of bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt, ConfigurationError
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays
from ax_jax_runners.posterior.training.checkpoints import flat
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.tasks.freezing import freeze, thaw
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters
from ax_jax_runners.tasks.posterior.training import Trainings

_ABOUT = "about"
_LEAF = "leaf"


@dataclass(frozen=True, eq=False)
class KeptTraining:
    """A training at its end, of one arm.

    Attributes:
        arm: Values of the hyperparameters that are searched, by name.
        identity: Plain JSON of what else decides the epochs.
        leaves: Of the state, by name.
    """

    arm: Mapping[str, Any]
    identity: Mapping[str, Any]
    leaves: Mapping[str, np.ndarray]

    def check(self, identity: Mapping[str, Any]) -> None:
        """Refuse to go on in another task.

        Raises:
            ConfigurationError: Names the first thing that differs, with both values.
        """
        there, here = flat(self.identity), flat(json.loads(json.dumps(identity)))
        for key in dict.fromkeys([*here, *there]):
            if there.get(key) != here.get(key):
                raise ConfigurationError(
                    f"The arm was trained with {key} = {there.get(key)!r}, and this task has "
                    f"{here.get(key)!r}; extend it with the task that trained it."
                )

    def state(self, begun: TrainingState) -> TrainingState:
        """Return the state.

        Args:
            begun: Of the same arm, before its first epoch.

        Raises:
            ArtifactCorrupt: It is that of another network.
        """
        return thaw(self.leaves, begun)


def training_identity(trainings: Trainings, hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return what decides every epoch of an arm beside its own values, as plain JSON.

    Epochs and patience end a training, and change nothing of the epochs until then.
    """
    gathered, prior = trainings.gathered, trainings.space
    told = hyperparameters.describe()
    optimiser = {
        name: value
        for name, value in told["optimiser"].items()
        if name not in ("epochs", "patience")
    }
    return {
        "data": gathered.fingerprint,
        "validation": int(np.flatnonzero(gathered.is_validation).sum()),
        "hyperparameters": {**told, "optimiser": optimiser},
        "prior": None if prior is None else prior.describe(),
        "together": trainings.together,
    }


def pack_training(
    arm: Mapping[str, Any], state: TrainingState, identity: Mapping[str, Any]
) -> np.ndarray:
    """Return a training as bytes, (n,) uint8.

    Args:
        arm: Values of the hyperparameters that are searched, by name.
        state: Of one arm.
        identity: Plain JSON of what else decides the epochs.
    """
    about = json.dumps({"arm": dict(arm), "identity": dict(identity)}, sort_keys=True)
    leaves = {f"{_LEAF}{name}": leaf for name, leaf in freeze(state).items()}
    return np.frombuffer(encode_arrays({_ABOUT: np.array(about), **leaves}), np.uint8)


def unpack_training(array: Any) -> KeptTraining:
    """Return the training of which `pack_training` gave these bytes.

    Raises:
        ArtifactCorrupt: Other bytes.
    """
    found = np.asarray(array)
    if found.dtype != np.uint8 or found.ndim != 1:
        raise ArtifactCorrupt(
            f"The packed training is {found.dtype} of the shape {found.shape}; give the array "
            "'training' that a finished arm kept."
        )
    arrays = decode_arrays(found.tobytes())
    if _ABOUT not in arrays:
        raise ArtifactCorrupt(
            f"The bytes hold {', '.join(sorted(arrays)[:3])} and no training; give the array "
            "'training' that a finished arm kept."
        )
    about = json.loads(str(arrays.pop(_ABOUT)))
    leaves = {name.removeprefix(_LEAF): leaf for name, leaf in arrays.items()}
    return KeptTraining(about["arm"], about["identity"], leaves)
