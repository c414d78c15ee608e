"""By what a stored campaign recognises its task: a reference and a digest, never code."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core

from ax_jax_runners.evaluation.fingerprint import Fingerprint, source_of
from ax_jax_runners.tasks.features import FeatureTask
from ax_jax_runners.tasks.keys import KEY_IMPLEMENTATION
from ax_jax_runners.tasks.random_walk import RandomWalkTask
from ax_jax_runners.tasks.stepwise import StepwiseTask
from ax_jax_runners.tasks.unbound import UnboundTask


@dataclass(frozen=True)
class TaskIdentity:
    """What is stored of a task.

    Attributes:
        reference: ``module:qualname`` of the simulator function, of what does a slice's work, or
            of the task's class.
        digest: SHA-256 over what decides the numbers: the traced program with its constants,
            dtype, chunk, capacity, JAX version, parameter space and outputs.
        portable: Whether the reference leads to the same function in another process: not so
            for lambdas, local functions and functions of ``__main__``.
    """

    reference: str
    digest: str
    portable: bool = True


def task_identity(task: Any) -> TaskIdentity:
    """Return the identity of a task. Traces its program once; nothing is run.

    A task that cannot be traced is identified by its source text: it fails when it is run, with a
    sentence of its own.
    """
    reference = task_reference(task)
    if isinstance(task, UnboundTask):
        return TaskIdentity(reference, task.digest, portable=False)
    fingerprint = Fingerprint()
    fingerprint.add({"jax": jax.__version__, "reference": reference})
    if isinstance(task, FeatureTask):
        _add_feature_task(fingerprint, task)
    elif isinstance(task, StepwiseTask):
        _add_stepwise_task(fingerprint, task)
    elif isinstance(task, RandomWalkTask):
        _add_random_walk_task(fingerprint, task)
    else:
        _add_own_task(fingerprint, task)
    portable = _is_portable(reference) and _is_portable(_function_reference(task))
    return TaskIdentity(reference, fingerprint.hexdigest(), portable)


def task_reference(task: Any) -> str:
    """Return ``module:qualname`` of a task's simulator, or of its class. Costs nothing."""
    if isinstance(task, UnboundTask):
        return task.reference
    item: Any = type(task)
    if isinstance(task, FeatureTask):
        item = task.evaluator.fn
    elif isinstance(task, StepwiseTask):
        item = task.functions.advance
    return _reference(item)


def _reference(item: Any) -> str:
    while isinstance(item, functools.partial):
        item = item.func
    if not hasattr(item, "__qualname__"):
        item = type(item)
    return f"{item.__module__}:{item.__qualname__}"


def _function_reference(task: Any) -> str:
    """Return the reference of what a task evaluates; of itself where it evaluates no function."""
    return _reference(getattr(task, "simulator", None) or type(task))


def _is_portable(reference: str) -> bool:
    module, _, qualname = reference.partition(":")
    return module != "__main__" and "<" not in qualname


def _add_feature_task(fingerprint: Fingerprint, task: FeatureTask) -> None:
    evaluator = task.joint_evaluator
    fingerprint.add(
        {
            "capacity": evaluator.capacity,
            "chunk": evaluator.chunk,
            "dtype": str(np.dtype(evaluator.dtype)),
            "outputs": task.outputs,
            "replicates": task.replicates,
            "reproducible": evaluator.reproducible,
            "space": task.space.describe(),
            "stochastic": evaluator.stochastic,
        }
    )
    try:
        program = _trace(task)
    except Exception:
        fingerprint.add(task.evaluator.fn)
        fingerprint.add(task.output_functions)
    else:
        fingerprint.add_program(program)


def _trace(task: FeatureTask) -> core.ClosedJaxpr:
    evaluator = task.joint_evaluator
    with jax.enable_x64(np.dtype(evaluator.dtype).itemsize == 8):
        theta = jax.ShapeDtypeStruct((task.space.dimension,), evaluator.dtype)
        key = [jax.random.key(0)] if evaluator.stochastic else []
        return jax.make_jaxpr(evaluator.row_features)(theta, *key)


def _add_stepwise_task(fingerprint: Fingerprint, task: StepwiseTask) -> None:
    fingerprint.add(
        {
            "chunk": task.chunk,
            "dtype": task.dtype,
            "outputs": task.outputs,
            "space": task.space.describe(),
        }
    )
    try:
        programs = task.programs.trace(KEY_IMPLEMENTATION)
    except Exception:
        given = task.functions
        fingerprint.add((given.begin, given.advance, given.report))
    else:
        fingerprint.add(programs)


def _add_random_walk_task(fingerprint: Fingerprint, task: RandomWalkTask) -> None:
    try:
        told = task.describe()
    except Exception:
        fingerprint.add(task.walk.evaluator.fn)
        fingerprint.add(task.space.describe())
    else:
        fingerprint.add(told)


def _add_own_task(fingerprint: Fingerprint, task: Any) -> None:
    if callable(getattr(task, "describe", None)):
        fingerprint.add(task.describe())
        return
    # Its methods are ordinary Python, so their text stands for what they compute.
    fingerprint.add(source_of(type(task)))
    fingerprint.add({"outputs": tuple(task.outputs), "space": task.space.describe()})
    fingerprint.add(getattr(task, "__dict__", {}))
