"""Ways to search the same parameters, compared by what they found for how many evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.campaign.objectives import Goals, read_goals
from ax_jax_runners.campaign.recorder import arm_outcomes
from ax_jax_runners.campaign.results import arm_outputs
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.tasks import FeatureTask, RandomWalkTask

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ax_jax_runners.campaign.campaign import Campaign

#: An output that says how many evaluations an arm took; an arm without it took one.
EVALUATIONS = "evaluations"

#: Evaluations since the point before, and the outputs found there, or None.
Found = tuple[int, Mapping[str, float] | None]


@dataclass(frozen=True, eq=False)
class Search:
    """How the best feasible value grew with the evaluations.

    Attributes:
        name: Of the campaign.
        evaluations: Of everything up to each improvement, and of all at the end, (m + 1,).
        best: Best feasible objective from there on, (m + 1,); empty where nothing was feasible.
        total: Evaluations of the whole campaign.
    """

    name: str
    evaluations: np.ndarray
    best: np.ndarray
    total: int


def read_search(
    campaign: Campaign,
    *,
    objective: str,
    outcome_constraints: Sequence[str] = (),
    task: FeatureTask | None = None,
) -> Search:
    """Follow the best feasible value through a campaign, in the order of its trials.

    An arm counts as one evaluation, or as many as its output ``evaluations`` says; then it counts
    when it is over. An arm of a random walk counts every one of its evaluations, and what was found
    at each of its recorded states is computed from the state again.

    Args:
        campaign: Of any task on the parameters in question.
        objective: Linear expression that is maximised, of the outputs of the campaign, or of
            ``task`` for random walks.
        outcome_constraints: Linear inequalities that a value must keep to count.
        task: What computes the outputs at a state of a random walk.

    Raises:
        ConfigurationError: Outputs that the campaign does not have, or a campaign of random walks
            without a task, or without the states.
    """
    walked = isinstance(getattr(campaign.experiment.runner, "task", None), RandomWalkTask)
    if walked and task is None:
        raise ConfigurationError(
            f"Campaign {campaign.name!r} is of random walks, which report no outputs of the "
            "states; give the FeatureTask that computes them."
        )
    names = task.outputs if walked and task is not None else campaign.outputs
    goals = read_goals(objective, outcome_constraints, names)
    found = _states(campaign, task) if walked and task is not None else _arms(campaign, goals)
    total, best = 0, -np.inf
    evaluations, values = [], []
    for spent, outputs in found:
        total += spent
        if outputs is None or not goals.is_feasible(outputs):
            continue
        (value,) = goals.scores(outputs)
        if value > best:
            best = value
            evaluations.append(total)
            values.append(value)
    if values:
        evaluations.append(total)
        values.append(best)
    return Search(campaign.name, np.array(evaluations), np.array(values), total)


def comparison_figure(
    campaigns: Mapping[str, Campaign],
    *,
    objective: str,
    outcome_constraints: Sequence[str] = (),
    task: FeatureTask | None = None,
) -> go.Figure:
    """Draw the best feasible value of several campaigns against their evaluations.

    Args:
        campaigns: By what the legend calls them.
        objective: As for `read_search`, and the rest too.
        outcome_constraints: See there.
        task: See there.

    Raises:
        ConfigurationError: As `read_search`.
    """
    import plotly.graph_objects as go

    from ax_jax_runners.figures import AXIS, COLORS, DASHES, plain, style_figure

    figure = go.Figure()
    for place, (label, campaign) in enumerate(campaigns.items()):
        search = read_search(
            campaign, objective=objective, outcome_constraints=outcome_constraints, task=task
        )
        found = len(search.best) > 0
        name = label if found else f"{label} (nothing feasible)"
        figure.add_scatter(
            x=search.evaluations if found else [None],
            y=search.best if found else [None],
            name=plain(f"{name}, {search.total:,} evaluations"),
            mode="lines+markers",
            line={
                "shape": "hv",
                "width": 2,
                "color": COLORS[place % len(COLORS)],
                "dash": DASHES[place % len(DASHES)],
            },
            marker={"size": 6},
        )
    demanded = f" subject to {', '.join(outcome_constraints)}" if outcome_constraints else ""
    style_figure(
        figure,
        plain(f"Best {objective} so far"),
        plain(f"by evaluations{demanded}"),
        height=440,
        width=860,
    )
    figure.update_xaxes(**AXIS, title_text="evaluations", type="log")
    figure.update_yaxes(**AXIS, title_text=plain(objective))
    return figure


def _arms(campaign: Campaign, goals: Goals) -> Iterator[Found]:
    for trial in campaign.experiment.trials.values():
        if trial.status.is_candidate or trial.status.is_running:
            continue
        for arm in trial.arms:
            outputs = arm_outputs(trial, arm.name)
            spent = outputs.get(EVALUATIONS, 1.0)
            complete = trial.status.is_completed and all(n in outputs for n in goals.outputs)
            yield round(spent), outputs if complete else None


def _states(campaign: Campaign, task: FeatureTask) -> Iterator[Found]:
    """Every recorded state of every walk; the evaluations of a walk are dealt out evenly."""
    walk: Any = campaign.experiment.runner
    for trial in campaign.experiment.trials.values():
        if not trial.status.is_completed:
            continue
        for arm in trial.arms:
            sha256 = arm_outcomes(trial)[arm.name].get("artifacts", {}).get("unit_states")
            files = campaign.store.files
            if files is None or sha256 is None:
                raise ConfigurationError(
                    f"Campaign {campaign.name!r} kept no states of arm {arm.name}; give its store "
                    "a folder for arrays."
                )
            unit = files.read_arrays(sha256)["unit_states"]
            yield from _evaluated(walk.task, task, np.asarray(unit).reshape(-1, unit.shape[-1]))


def _evaluated(walked: RandomWalkTask, task: FeatureTask, unit: np.ndarray) -> Iterator[Found]:
    import jax

    unit = unit[np.isfinite(unit).all(axis=1)]
    theta = walked.walk.region.box.to_theta(unit)
    arms = [walked.walk.evaluator.space.unpack(row) for row in theta]
    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), max(len(arms), 1))
    reports = task.progress(task.advance(task.begin(arms, keys))) if arms else []
    until = np.linspace(0, walked.evaluations, len(reports) + 1).round().astype(int)
    for report, spent in zip(reports, np.diff(until).tolist(), strict=True):
        outputs = {name: mean for name, (mean, _) in report.outputs.items()}
        yield spent, None if report.failure else outputs
