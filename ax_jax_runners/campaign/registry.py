"""Under which numbers and names our classes stand in a database, for Ax's own storage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from ax.core.metric import Metric
from ax.core.runner import Runner
from ax.storage.json_store.registry import CORE_DECODER_REGISTRY, CORE_ENCODER_REGISTRY
from ax.storage.metric_registry import CORE_METRIC_REGISTRY
from ax.storage.registry_bundle import RegistryBundle
from ax.storage.runner_registry import CORE_RUNNER_REGISTRY

from ax_jax_runners.metrics import CurveMetric, OutputMetric
from ax_jax_runners.parameters.ax import read_any_name_in_constraints
from ax_jax_runners.runners import (
    JaxRunner,
    SimulatedBackendJaxRunner,
    SingleRunningTrialJaxRunner,
    SyntheticJaxRunner,
    TaskResolver,
    WorkerJaxRunner,
)
from ax_jax_runners.runners.binding import RESOLVER
from ax_jax_runners.runners.simulation import FUNCTIONS, FunctionResolver
from ax_jax_runners.tasks import Task

# A number, once given, stays: databases hold it. Ax would otherwise number classes by a hash of
# their bare names, where two classes of one name get one number and the later wins.
METRICS: tuple[tuple[type[Metric], int], ...] = ((OutputMetric, 7101), (CurveMetric, 7102))
RUNNERS: tuple[tuple[type[Runner], int], ...] = (
    (JaxRunner, 7201),
    (SingleRunningTrialJaxRunner, 7202),
    (SimulatedBackendJaxRunner, 7203),
    (SyntheticJaxRunner, 7204),
    (WorkerJaxRunner, 7205),
)
_OWN_NUMBERS = 1_000_000
#: Generation nodes of our own, and how each is written as JSON.
GENERATION_NODES: tuple[tuple[type[Any], Callable[[Any], dict[str, Any]]], ...] = ()


def registry_bundle(
    *,
    tasks: Iterable[Task] = (),
    classes: Iterable[type[Runner] | type[Metric]] = (),
    functions: Iterable[Callable[..., Any]] = (),
    accept_changed: bool = False,
) -> RegistryBundle:
    """Return what Ax needs to store and load our runners, metrics and nodes beside its own.

    Use it as ``DBSettings(url=..., encoder=bundle.encoder, decoder=bundle.decoder)``, or give its
    JSON registries to ``ax.storage.json_store``.

    Args:
        tasks: Tasks that stored runners may name. Built-in problems are always known. No module
            is imported because a database names it: a runner whose task is not among these loads
            and can be looked at, and says so when it is to run.
        classes: Runner and Metric classes of your own; each gets a number from its full name.
        functions: Functions that stored runners may name, such as the runtime of a
            `SimulatedBackendJaxRunner`.
        accept_changed: Whether a task or function with the stored reference, but another digest,
            may go on with the campaign. Results before and after are then not of one computation.

    Raises:
        ConfigurationError: Something among ``tasks`` is not a task.
        ValueError: Two classes share a name.
    """
    read_any_name_in_constraints()
    metrics = dict((*CORE_METRIC_REGISTRY.items(), *METRICS))
    runners = dict((*CORE_RUNNER_REGISTRY.items(), *RUNNERS))
    known = {*metrics, *runners}
    own = [(kind, own_number(kind)) for kind in dict.fromkeys(classes) if kind not in known]
    return RegistryBundle(
        metric_clss=_numbered((*metrics.items(), *(e for e in own if issubclass(e[0], Metric)))),
        runner_clss=_numbered((*runners.items(), *(e for e in own if issubclass(e[0], Runner)))),
        json_encoder_registry={**CORE_ENCODER_REGISTRY, **dict(GENERATION_NODES)},
        json_decoder_registry={
            **CORE_DECODER_REGISTRY,
            **{node.__name__: node for node, _ in GENERATION_NODES},
            RESOLVER: TaskResolver(tasks, accept_changed=accept_changed),
            FUNCTIONS: FunctionResolver(functions, accept_changed=accept_changed),
        },
    )


def own_number(kind: type[Any]) -> int:
    """The storage number of a class that is not ours, the same in every process.

    Ax would hash the bare name, where two classes called ``Bench`` are one.
    """
    digest = hashlib.sha256(f"{kind.__module__}:{kind.__qualname__}".encode()).digest()
    return _OWN_NUMBERS + int.from_bytes(digest[:4], "big") % 1_000_000_000


def _numbered(table: Iterable[tuple[type[Any], int]]) -> dict[type[Any], int | None]:
    """Return class to number, after checking that no class, name or number comes twice."""
    numbers: dict[type[Any], int | None] = {}
    seen: dict[Any, type[Any]] = {}
    for kind, number in table:
        for mark in (kind, kind.__name__, number):
            if mark in seen:
                raise ValueError(
                    f"{kind.__name__} and {seen[mark].__name__} share the storage mark {mark!r}; "
                    "give each class a name and a number of its own."
                )
            seen[mark] = kind
        numbers[kind] = number
    return numbers
