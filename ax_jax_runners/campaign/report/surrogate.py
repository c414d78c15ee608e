"""A Gaussian process fitted to a campaign's data with Ax's defaults, and what it says.

Leave-one-out predictions, total-order Sobol indices and slices through the best arm. The model is
fitted for the report alone: the campaign's own generation is neither used nor changed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ax.core.observation import ObservationFeatures
from ax.core.parameter import RangeParameter

from ax_jax_runners.campaign.generation_step import generation_step
from ax_jax_runners.campaign.report.findings import Findings
from ax_jax_runners.metrics.names import from_identifier

FEWEST_ARMS = 5
MOST_TRIALS = 300
_SLICE_POINTS = 60


@dataclass(frozen=True)
class HeldOut:
    """Observations of one output beside predictions that did not see them, each shape (n,).

    Attributes:
        observed_sem: Standard errors of the observations; NaN where not known.
        predicted_sd: Standard deviations of the predictions.
        labels: The arms' names.
    """

    observed: np.ndarray
    observed_sem: np.ndarray
    predicted: np.ndarray
    predicted_sd: np.ndarray
    labels: tuple[str, ...]

    @property
    def r_squared(self) -> float:
        """Coefficient of determination, 1 - sum (y - f)^2 / sum (y - mean y)^2."""
        total = float(np.sum((self.observed - self.observed.mean()) ** 2))
        left = float(np.sum((self.observed - self.predicted) ** 2))
        return 1.0 - left / total if total > 0 else float("nan")

    @property
    def coverage(self) -> float:
        """Fraction of observations within 1.96 standard deviations of their prediction."""
        return float(np.mean(np.abs(self.observed - self.predicted) <= 1.96 * self.predicted_sd))


@dataclass(frozen=True)
class Slice:
    """Predictions along one parameter, the others at the best arm; arrays of shape (n,)."""

    x: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True)
class Surrogate:
    """What the model says about the outputs that decide.

    Attributes:
        held_out: By output.
        sensitivity: By output, the total-order Sobol index of every parameter.
        slices: By output and range parameter.
        trials: How many trials it was fitted to.
    """

    held_out: Mapping[str, HeldOut]
    sensitivity: Mapping[str, Mapping[str, float]]
    slices: Mapping[str, Mapping[str, Slice]]
    trials: int


def fit_surrogate(findings: Findings) -> Surrogate:
    """Fit and question the model. The experiment stays as it is.

    Raises:
        Exception: Whatever Ax and BoTorch raise on data that no model can be fitted to.
    """
    from ax.adapter.registry import Generators

    experiment = findings.campaign.experiment
    trials = _chosen_trials(findings)
    # Ax and its libraries warn of each other's deprecations and of data without noise.
    with warnings.catch_warnings(), generation_step(0, len(trials)):
        warnings.simplefilter("ignore")
        adapter: Any = Generators.BOTORCH_MODULAR(
            experiment=experiment,
            data=experiment.lookup_data(trial_indices=trials),
            fit_tracking_metrics=False,
        )
        named = {
            signature: from_identifier(experiment.signature_to_metric[signature].name)
            for signature in adapter._metric_signatures
        }
        wanted = {s: name for s, name in named.items() if name in findings.campaign.goals.outputs}
        return Surrogate(
            held_out=_cross_validate(adapter, wanted),
            sensitivity=_sensitivity(adapter, wanted),
            slices=_slices(adapter, wanted, findings),
            trials=len(trials),
        )


def _chosen_trials(findings: Findings) -> list[int]:
    """Trials with observed arms; evenly spread ones where there are too many to fit in time."""
    indices = sorted({arm.found.trial_index for arm in findings.arms})
    if len(indices) <= MOST_TRIALS:
        return indices
    places = np.linspace(0, len(indices) - 1, MOST_TRIALS).round().astype(int)
    # The slices go through the best arm, so the model must know it.
    chosen = {indices[place] for place in places}
    return sorted(chosen | {arm.trial_index for arm in findings.best[:1]})


def _cross_validate(adapter: Any, wanted: Mapping[str, str]) -> dict[str, HeldOut]:
    from ax.adapter.cross_validation import cross_validate

    results = cross_validate(adapter, use_posterior_predictive=True)
    found = {}
    for signature, name in wanted.items():
        rows, labels = [], []
        for result in results:
            observed, predicted = result.observed.data, result.predicted
            if signature not in observed.metric_signatures:
                continue
            i = observed.metric_signatures.index(signature)
            j = predicted.metric_signatures.index(signature)
            rows.append(
                (
                    observed.means[i],
                    np.sqrt(observed.covariance[i, i]),
                    predicted.means[j],
                    np.sqrt(max(predicted.covariance[j, j], 0.0)),
                )
            )
            labels.append(f"arm {result.observed.arm_name}")
        found[name] = HeldOut(*np.array(rows, dtype=float).T, labels=tuple(labels))
    return found


def _sensitivity(adapter: Any, wanted: Mapping[str, str]) -> dict[str, dict[str, float]]:
    from ax.utils.sensitivity.sobol_measures import ax_parameter_sens

    indices = ax_parameter_sens(adapter, metrics=list(wanted), order="total", signed=False)
    return {
        name: {parameter: float(value) for parameter, value in indices[signature].items()}
        for signature, name in wanted.items()
    }


def _slices(
    adapter: Any, wanted: Mapping[str, str], findings: Findings
) -> dict[str, dict[str, Slice]]:
    best = findings.best[0].parameters if findings.best else findings.arms[-1].found.parameters
    found: dict[str, dict[str, Slice]] = {name: {} for name in wanted.values()}
    for parameter, axis in findings.free.items():
        if not isinstance(axis, RangeParameter):
            continue
        x = _grid(axis)
        points = [ObservationFeatures({**best, parameter: value}) for value in x.tolist()]
        means, covariances = adapter.predict(points)
        for signature, name in wanted.items():
            variance = np.maximum(covariances[signature][signature], 0.0)
            found[name][parameter] = Slice(x, np.asarray(means[signature]), np.sqrt(variance))
    return found


def _grid(axis: RangeParameter) -> np.ndarray:
    if isinstance(axis.lower, int):
        count = min(int(axis.upper) - axis.lower + 1, _SLICE_POINTS)
        return np.unique(np.linspace(axis.lower, axis.upper, count).round().astype(int))
    if axis.log_scale:
        return np.geomspace(axis.lower, axis.upper, _SLICE_POINTS).clip(axis.lower, axis.upper)
    return np.linspace(axis.lower, axis.upper, _SLICE_POINTS)
