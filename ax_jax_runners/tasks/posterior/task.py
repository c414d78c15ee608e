"""The training of an amortised posterior as a trial: which hyperparameters learn best."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.amortised import AmortisedEstimator
from ax_jax_runners.posterior.persistence.packing import pack_estimator, unpack_estimator
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.tasks.posterior.extension import (
    pack_training,
    training_identity,
    unpack_training,
)
from ax_jax_runners.tasks.posterior.findings import OUTPUTS, curve, findings, why_failed
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters, search_space
from ax_jax_runners.tasks.posterior.training import Trainings, taken
from ax_jax_runners.tasks.protocol import Progress, Scalar


@dataclass(frozen=True, init=False, eq=False)
class PosteriorTask:
    """One trial trains an estimator with some hyperparameters on a data set.

    An arm gives the values of the hyperparameters that are searched: any field of the flow's, the
    encoder's, the optimiser's and the regularisation's configuration but for the epochs, and
    ``parameter_space``. A slice is an epoch; the step counts the examples seen, which is the same
    for all batch sizes. The learning rate's schedule is as long as the epochs of a whole trial.

    Outputs: ``validation_nll``, minus the mean log density of the held-back rows' parameters in
    physical units, so that all spaces can be compared, with its standard error; it is known after
    every epoch. At the end it is that of the epoch that is kept, and the kept weights are
    calibrated on held-back rows: ``sbc_p_value``, the p-value of all rank tests together;
    ``coverage_area``, between the coverage of regions of highest density and the diagonal;
    ``leak_fraction``, the share of draws outside the prior; ``closure_error``, the larger of the
    flow's inverse and log determinant errors.

    A finished arm keeps two arrays of bytes: ``estimator``, of which `estimator` makes it again,
    and ``training``, with which `extend` goes on. Arms that differ only in numbers (rates, weights,
    noise) share one compiled program.

    Attributes:
        space: What an arm gives.
        outputs: Names of the outputs.
        dataset: A reader of simulations.
        hyperparameters: What is not searched.
        epochs: Of a whole trial.
        prior: Of the parameters; None: the data set's own.
        calibration_rows: Held-back rows, at most, that a finished arm is calibrated on.
        calibration_draws: For each of them.
        together: Arms in one compiled call; a call has always as many, so that an arm has the same
            bits in any company.
    """

    space: ParameterSpace
    outputs: tuple[str, ...]
    dataset: Any
    hyperparameters: Hyperparameters
    epochs: int
    prior: ParameterSpace | None
    calibration_rows: int
    calibration_draws: int
    together: int

    def __init__(
        self,
        dataset: Any,
        *,
        search: Mapping[str, Any] | ParameterSpace,
        epochs: int,
        hyperparameters: Hyperparameters | None = None,
        prior: ParameterSpace | None = None,
        calibration_rows: int = 300,
        calibration_draws: int = 100,
        together: int = 1,
    ) -> None:
        """Check what is given; the data set is read when the first arm begins.

        Args:
            dataset: A reader of simulations, such as `ArrayDataset` or `SimulatedDataset`.
            search: {hyperparameter: `Parameter`}.
            epochs: Of a whole trial.
            hyperparameters: What is not searched.
            prior: Of the parameters; None: the data set's own.
            calibration_rows: At least 20.
            calibration_draws: At least 10.
            together: At least 1.

        Raises:
            ConfigurationError: A value that cannot be used, or no hyperparameter.
        """
        least = {"epochs": 1, "calibration_rows": 20, "calibration_draws": 10, "together": 1}
        given = {
            "epochs": epochs,
            "calibration_rows": calibration_rows,
            "calibration_draws": calibration_draws,
            "together": together,
        }
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < least[name]:
                raise ConfigurationError(
                    f"{name} is {value!r}; give a whole number from {least[name]}."
                )
        if not callable(getattr(dataset, "iter_batches", None)):
            raise ConfigurationError(
                f"PosteriorTask was given a {type(dataset).__name__}; give a reader with "
                "iter_batches first, such as ArrayDataset."
            )
        if hyperparameters is not None and not isinstance(hyperparameters, Hyperparameters):
            raise ConfigurationError(
                f"hyperparameters is a {type(hyperparameters).__name__}; give Hyperparameters."
            )
        base = hyperparameters or Hyperparameters()
        whole = dataclasses.replace(
            base.optimiser, epochs=epochs, schedule_epochs=base.optimiser.schedule_epochs or epochs
        )
        for name, value in (
            ("space", search_space(search)),
            ("outputs", OUTPUTS),
            ("dataset", dataset),
            ("hyperparameters", dataclasses.replace(base, optimiser=whole)),
            ("prior", prior),
            *given.items(),
        ):
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PosteriorTask):
            return NotImplemented
        return self is other or self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash((self.space, self.hyperparameters, self.epochs, self.together))

    def __getstate__(self) -> dict[str, Any]:
        # What is computed from the rest is made again on the other side.
        return {name: value for name, value in vars(self).items() if name != "trainings"}

    def describe(self) -> dict[str, Any]:
        """Describe what decides the results, as plain JSON. Reads the data set once."""
        return {
            **self._training_identity(),
            "hyperparameters": self.hyperparameters.describe(),
            "epochs": self.epochs,
            "calibration": [self.calibration_rows, self.calibration_draws],
            "space": self.space.describe(),
            "outputs": list(self.outputs),
        }

    def _training_identity(self) -> dict[str, Any]:
        return training_identity(self.trainings, self.hyperparameters)

    def over(self, space: ParameterSpace) -> PosteriorTask:
        """Return the same task over other ranges of its hyperparameters.

        Raises:
            ConfigurationError: A name that is no hyperparameter.
        """
        return self._changed(space=space, epochs=self.epochs)

    @functools.cached_property
    def trainings(self) -> Trainings:
        """The data set and the trainings on it."""
        return Trainings(self.dataset, self.prior, self.together)

    # ------------------------------------------------------------------ the protocol

    def begin(self, arms: Sequence[Mapping[str, Scalar]], keys: Array) -> dict[str, Any]:
        """Make the state of a batch of arms; see `Task.begin`.

        Raises:
            ParameterError: An arm that does not fit the space.
            ConfigurationError: Values that cannot be used, or networks of different shapes.
        """
        theta = np.array([self.space.pack(values) for values in arms])
        words = np.asarray(jax.random.key_data(keys))[..., -2:]
        return {"arm": theta, "training": self.trainings.begin(self._read(theta), words)}

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        """Train every arm that is not done for one more epoch."""
        training = self.trainings.advance(self._read(state["arm"]), state["training"])
        return {"arm": state["arm"], "training": training}

    def progress(self, state: dict[str, Any]) -> list[Progress]:
        """Say what is known of every arm."""
        training: TrainingState = state["training"]
        return [
            self._progress(self.space.unpack(theta), taken(training, [row]))
            for row, theta in enumerate(state["arm"])
        ]

    def _progress(self, values: Mapping[str, Scalar], state: TrainingState) -> Progress:
        arm = self.hyperparameters.with_values(values)
        step = int(state.epoch[0]) * len(
            self.trainings.prepared(arm.parameter_space).data.training.y
        )
        if state.running[0]:
            return Progress(step, False, curve(state))
        if not state.best_epoch[0]:
            return Progress(step, True, {}, failure=why_failed(state))
        estimator = self.trainings.trained(arm, state)
        found = findings(
            estimator,
            state,
            self.trainings.gathered,
            rows=self.calibration_rows,
            draws=self.calibration_draws,
        )
        estimator.calibration = found.calibration
        arrays = {
            "estimator": pack_estimator(estimator),
            "training": pack_training(values, state, self._training_identity()),
        }
        return Progress(step, True, found.outputs, arrays)

    # ------------------------------------------------------------------ beyond a trial

    @staticmethod
    def estimator(array: np.ndarray) -> AmortisedEstimator:
        """Return the trained estimator of which a finished arm kept the array ``estimator``.

        Raises:
            ArtifactCorrupt: Another array.
        """
        return unpack_estimator(array)

    def extend(self, arrays: Mapping[str, np.ndarray], epochs: int) -> Progress:
        """Go on with a finished arm to more epochs, on the same path.

        Where its learning rate does not depend on the number of epochs (``schedule_epochs`` is
        given, or there is no cosine) the weights are those of a trial of so many epochs, bit by
        bit. Else the rate stays at its least, since the schedule has come to its end. An arm that
        ran out of patience goes on if this task has more of it.

        Args:
            arrays: What the arm kept.
            epochs: In all, at least as many as it has done.

        Returns:
            What a trial of that many epochs reports at its end.

        Raises:
            ConfigurationError: Fewer epochs, arrays of something else, or an arm that was trained
                by another task.
            ArtifactCorrupt: Damaged arrays.
        """
        if "training" not in arrays:
            raise ConfigurationError(
                f"The arrays are {', '.join(arrays) or 'none'}; give those that a finished arm of "
                "a posterior task kept, with 'training'."
            )
        longer = self._changed(epochs=epochs)
        kept = unpack_training(arrays["training"])
        kept.check(longer._training_identity())
        arm = longer.hyperparameters.with_values(kept.arm)
        state = kept.state(longer.trainings.begin([arm], np.zeros((1, 2), np.uint32)))
        done = int(state.epoch[0])
        if epochs < done:
            raise ConfigurationError(
                f"epochs is {epochs}, and the arm has done {done}; give at least as many."
            )
        state = state.with_epochs(epochs, patience=arm.optimiser.patience)
        while state.running.any():
            state = longer.trainings.advance([arm], state)
        return longer._progress(kept.arm, state)

    def _changed(self, *, space: ParameterSpace | None = None, epochs: int) -> PosteriorTask:
        return PosteriorTask(
            self.dataset,
            search=space or self.space,
            epochs=epochs,
            hyperparameters=self.hyperparameters,
            prior=self.prior,
            calibration_rows=self.calibration_rows,
            calibration_draws=self.calibration_draws,
            together=self.together,
        )

    def _read(self, theta: np.ndarray) -> list[Hyperparameters]:
        return [self.hyperparameters.with_values(self.space.unpack(row)) for row in theta]
