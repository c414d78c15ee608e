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
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.persistence.packing import pack_estimator, unpack_estimator
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.tasks.posterior.findings import OUTPUTS, curve, findings
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

    A finished arm keeps the array ``estimator``, with which `estimator` makes it again. Arms that
    differ only in numbers (rates, weights, noise) share one compiled program.

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
        prior = self.trainings.space
        return {
            "data": self.trainings.gathered.fingerprint,
            "hyperparameters": self.hyperparameters.describe(),
            "epochs": self.epochs,
            "prior": None if prior is None else prior.describe(),
            "calibration": [self.calibration_rows, self.calibration_draws],
            "together": self.together,
            "space": self.space.describe(),
            "outputs": list(self.outputs),
        }

    def over(self, space: ParameterSpace) -> PosteriorTask:
        """Return the same task over other ranges of its hyperparameters.

        Raises:
            ConfigurationError: A name that is no hyperparameter.
        """
        return PosteriorTask(
            self.dataset,
            search=space,
            epochs=self.epochs,
            hyperparameters=self.hyperparameters,
            prior=self.prior,
            calibration_rows=self.calibration_rows,
            calibration_draws=self.calibration_draws,
            together=self.together,
        )

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
        rows = range(training.arms)
        arms = self._read(state["arm"])
        return [self._progress(arms[row], taken(training, [row])) for row in rows]

    def _progress(self, arm: Hyperparameters, state: TrainingState) -> Progress:
        step = int(state.epoch[0]) * len(
            self.trainings.prepared(arm.parameter_space).data.training.y
        )
        if state.running[0]:
            return Progress(step, False, curve(state))
        if not state.best_epoch[0]:
            return Progress(step, True, {}, failure=_failure(state))
        estimator = self.trainings.trained(arm, state)
        found = findings(
            estimator,
            state,
            self.trainings.gathered,
            rows=self.calibration_rows,
            draws=self.calibration_draws,
        )
        estimator.calibration = found.calibration
        return Progress(step, True, found.outputs, {"estimator": pack_estimator(estimator)})

    # ------------------------------------------------------------------ beyond a trial

    @staticmethod
    def estimator(array: np.ndarray) -> FlowPosterior:
        """Return the trained estimator of which a finished arm kept the array ``estimator``.

        Raises:
            ArtifactCorrupt: Another array.
        """
        return unpack_estimator(array)

    def _read(self, theta: np.ndarray) -> list[Hyperparameters]:
        return [self.hyperparameters.with_values(self.space.unpack(row)) for row in theta]


def _failure(state: TrainingState) -> str:
    inverse, closure = (state.column(name)[-1] for name in ("inverse_error", "log_det_closure"))
    if not np.isfinite(state.column("validation_loss")).any():
        return (
            f"The training diverged after {int(state.epoch[0])} epochs: no validation loss is "
            "finite; lower the learning rate."
        )
    return (
        f"No epoch of {int(state.epoch[0])} passed the stability thresholds (at last the inverse "
        f"errs by {inverse:.2g}, the log determinants by {closure:.2g}); lower the learning rate "
        "or raise the thresholds."
    )
