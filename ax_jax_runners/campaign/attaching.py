"""Bring arms into an experiment from outside: earlier measurements and own starting points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ax.core.arm import Arm
from ax.core.base_trial import BaseTrial
from ax.core.data import Data, DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun

from ax_jax_runners.campaign.objectives import Goals
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.metrics.names import to_identifier
from ax_jax_runners.parameters import ParameterSpace

Measured = Mapping[str, float | tuple[float, float]]


def attach_trial(
    experiment: Experiment,
    space: ParameterSpace,
    goals: Goals,
    task_outputs: tuple[str, ...],
    parameters: Mapping[str, Any],
    outputs: Measured | None,
    *,
    label: str | None = None,
) -> tuple[BaseTrial, list[DataRow]]:
    """Add one arm: waiting to be run, or complete when its outputs are given.

    Args:
        experiment: Gets the trial.
        space: The task's parameters, which complete and check the given ones.
        goals: The outputs that a measurement must have.
        task_outputs: The outputs that it may have.
        parameters: One value for every free parameter.
        outputs: Means, or pairs of mean and sem; a bare mean is exact.
        label: What Ax calls the way in which the arm was generated; None: nothing.

    Returns:
        The trial and its data rows.

    Raises:
        ParameterError: A parameter is missing, unknown or of the wrong type.
        ConfigurationError: An output is missing, unknown or not finite.
    """
    values = space.unpack(space.pack(parameters))
    measured = None if outputs is None else _checked(outputs, goals, task_outputs)
    run = GeneratorRun([Arm(parameters=values)], generator_key=label, generation_node_name=label)
    trial = experiment.new_trial(generator_run=run)
    if measured is None:
        return trial, []
    arm_name = trial.arms[0].name
    trial.update_run_metadata(
        {
            "ax_jax": {
                "version": 1,
                "arms": {
                    arm_name: {
                        "status": "completed",
                        "outputs": {name: list(pair) for name, pair in measured.items()},
                        "step": 0,
                        "artifacts": {},
                        # The task did not compute it, so that it is no result of the task's.
                        "is_measured": True,
                    }
                },
            }
        }
    )
    trial.mark_running(no_runner_required=True)
    trial.mark_completed()
    rows = [
        DataRow(
            trial_index=trial.index,
            arm_name=arm_name,
            metric_name=to_identifier(name),
            metric_signature=to_identifier(name),
            mean=mean,
            se=sem,
        )
        for name, (mean, sem) in measured.items()
    ]
    experiment.attach_data(Data(data_rows=rows))
    return trial, rows


def _checked(
    outputs: Measured, goals: Goals, task_outputs: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    known = f"the task reports {', '.join(task_outputs)}"
    unknown = sorted(set(outputs) - set(task_outputs))
    if unknown:
        raise ConfigurationError(f"Attached output {unknown[0]!r} is not known; {known}.")
    missing = sorted(set(goals.outputs) - set(outputs))
    if missing:
        raise ConfigurationError(
            f"Attached outputs lack {missing[0]!r}, which the objective or a constraint needs; "
            f"{known}."
        )
    checked = {}
    for name, value in outputs.items():
        try:
            mean, sem = map(float, value if isinstance(value, (tuple, list)) else (value, 0.0))
        except (TypeError, ValueError):
            mean = sem = math.nan
        if isinstance(value, str) or not (math.isfinite(mean) and math.isfinite(sem) and sem >= 0):
            raise ConfigurationError(
                f"Attached output {name!r} is {value!r}; give a finite mean, or a pair of mean "
                "and standard error."
            )
        checked[name] = (mean, sem)
    return checked
