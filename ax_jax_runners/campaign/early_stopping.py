"""Rules that end long trials early: what they look at, and how they are stored.

A rule is one of Ax's early-stopping strategies. It compares the curves of trials, so the outputs
that it looks at, and those of the objectives and constraints, are `CurveMetric` s. A trial that it
stops is EARLY_STOPPED: its curve so far stays, models learn from its last point (Ax gives them the
step as one more input), and it is never the best, since its value was taken at an earlier step than
those of completed trials.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from ax.core.experiment import Experiment
from ax.early_stopping.strategies import (
    AndEarlyStoppingStrategy,
    BaseEarlyStoppingStrategy,
    LogicalEarlyStoppingStrategy,
    OrEarlyStoppingStrategy,
    PercentileEarlyStoppingStrategy,
    ThresholdEarlyStoppingStrategy,
)
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json
from ax.storage.registry_bundle import RegistryBundleBase

from ax_jax_runners.campaign.objectives import Goals
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.metrics import CurveMetric
from ax_jax_runners.metrics.names import from_identifier, to_identifier

_RULES: dict[str, type[BaseEarlyStoppingStrategy]] = {
    rule.__name__: rule
    for rule in (
        PercentileEarlyStoppingStrategy,
        ThresholdEarlyStoppingStrategy,
        AndEarlyStoppingStrategy,
        OrEarlyStoppingStrategy,
    )
}


def fresh_rule(rule: Any) -> BaseEarlyStoppingStrategy | None:
    """Return a copy of a rule, for one campaign only.

    Ax's rules remember at which step they judged which trial, and would mistake the trials of
    another campaign for those.

    Raises:
        ConfigurationError: It is something else than one of Ax's strategies or None.
    """
    if rule is None:
        return None
    if not isinstance(rule, BaseEarlyStoppingStrategy):
        raise ConfigurationError(
            f"early_stopping is {rule!r}; give one of Ax's early stopping strategies."
        )
    if not _is_of_ax(rule):
        return copy.deepcopy(rule)
    options: dict[str, Any] = {
        name: fresh_rule(value) if isinstance(value, BaseEarlyStoppingStrategy) else value
        for name, value in _options(rule).items()
    }
    return type(rule)(**options)


def watched_outputs(rule: BaseEarlyStoppingStrategy | None, goals: Goals) -> tuple[str, ...]:
    """The outputs whose curves are kept for a rule: its own, and those of the goals."""
    return () if rule is None else tuple(dict.fromkeys((*goals.outputs, *_named(rule))))


def check_watched(
    rule: BaseEarlyStoppingStrategy | None, goals: Goals, outputs: tuple[str, ...]
) -> None:
    """Refuse a rule that looks at what the task does not report, or cannot judge it.

    Raises:
        ConfigurationError: An unknown output, or one without a direction that is better.
    """
    known = ", ".join(map(repr, outputs))
    for output in () if rule is None else _named(rule):
        if output not in outputs:
            raise ConfigurationError(
                f"early_stopping looks at {output!r}, which the task does not report; its outputs "
                f"are {known}."
            )
        if output not in goals.outputs:
            raise ConfigurationError(
                f"early_stopping looks at {output!r}, of which neither the objective nor a "
                "constraint says what is better; name it there, or let the rule look at the "
                "objective."
            )


def keep_curves(
    experiment: Experiment, rule: BaseEarlyStoppingStrategy | None, goals: Goals
) -> None:
    """Let a loaded experiment keep the curves that a rule given since then looks at."""
    for output in watched_outputs(rule, goals):
        metric = experiment.get_metric(to_identifier(output))
        if not isinstance(metric, CurveMetric):
            curve = CurveMetric(metric.name, lower_is_better=metric.lower_is_better)
            curve._db_id = metric.db_id
            experiment.update_metric(curve)


def encode_rule(
    rule: BaseEarlyStoppingStrategy | None, bundle: RegistryBundleBase
) -> dict[str, Any] | None:
    """Return a rule as JSON, with every option: Ax's own encoder leaves out half of them.

    Raises:
        ConfigurationError: A class that Ax cannot store.
    """
    if rule is None:
        return None
    if _is_of_ax(rule):
        options = {name: _encoded(value, bundle) for name, value in _options(rule).items()}
        return {"rule": type(rule).__name__, "options": options}
    try:
        return {
            "ax": object_to_json(
                rule,
                encoder_registry=bundle.encoder_registry,
                class_encoder_registry=bundle.class_encoder_registry,
            )
        }
    except Exception as error:
        raise ConfigurationError(
            f"early_stopping is a {type(rule).__name__}, which cannot be stored ({error}); use "
            f"one of {', '.join(_RULES)}."
        ) from error


def decode_rule(
    stored: Mapping[str, Any] | None, bundle: RegistryBundleBase
) -> BaseEarlyStoppingStrategy | None:
    """Return the rule that `encode_rule` wrote.

    Raises:
        ConfigurationError: A rule that this version does not know.
    """
    if stored is None:
        return None
    if "ax" in stored:
        return object_from_json(
            stored["ax"],
            decoder_registry=bundle.decoder_registry,
            class_decoder_registry=bundle.class_decoder_registry,
        )
    kind = _RULES.get(stored["rule"])
    if kind is None:
        raise ConfigurationError(
            f"The stored early-stopping rule {stored['rule']!r} is not known; this version knows "
            f"{', '.join(_RULES)}."
        )
    options: dict[str, Any] = {
        name: decode_rule(value, bundle) if isinstance(value, Mapping) else value
        for name, value in stored["options"].items()
    }
    return kind(**options)


def _is_of_ax(rule: BaseEarlyStoppingStrategy) -> bool:
    return _RULES.get(type(rule).__name__) is type(rule)


def _options(rule: BaseEarlyStoppingStrategy) -> dict[str, Any]:
    """The arguments that make a rule of Ax's again."""
    return {name: getattr(rule, name) for name in inspect.signature(type(rule)).parameters}


def _encoded(value: Any, bundle: RegistryBundleBase) -> Any:
    if isinstance(value, BaseEarlyStoppingStrategy):
        return encode_rule(value, bundle)
    return value if value is None or isinstance(value, (bool, int, float, str)) else list(value)


def _named(rule: BaseEarlyStoppingStrategy) -> tuple[str, ...]:
    """The outputs that a rule names itself, with those of its parts."""
    if isinstance(rule, LogicalEarlyStoppingStrategy):
        return (*_named(rule.left), *_named(rule.right))
    return tuple(from_identifier(name) for name in rule.metric_signatures or ())
