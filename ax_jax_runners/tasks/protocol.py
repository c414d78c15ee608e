"""What one trial computes: the protocol that every task follows.

A task knows nothing of Ax, SQL or processes. It is stepwise: ``begin`` makes a state for a batch
of arms, each ``advance`` is one bounded slice of work, and ``progress`` says what is known so
far. A plain evaluation is the case that is done after its first slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jax import Array

from ax_jax_runners.parameters import ParameterSpace

Scalar: TypeAlias = bool | int | float | str
State: TypeAlias = Any


@dataclass(frozen=True)
class Progress:
    """What is known of one arm after some slices.

    Attributes:
        step: Slices (or whatever the task counts) done so far.
        done: Whether nothing more will come.
        outputs: Mean and standard error by output name. The error is 0.0 where there is no noise
            and None where it is not known. A failed arm has no outputs.
        arrays: Arrays to keep as artifacts, by name.
        failure: One sentence that says what was found and where, or None.
    """

    step: int
    done: bool
    outputs: Mapping[str, tuple[float, float | None]]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    failure: str | None = None


@runtime_checkable
class Task(Protocol):
    """A computation of arms in slices; frozen, and equal to a task with equal contents.

    To write one: hold everything that decides the results in attributes, keep the work of one
    ``advance`` bounded, and leave arms that are done as they are. Everything else (batches,
    stopping, resuming, storage, failures) is the runner's business. A stored campaign recognises
    its task by the text of its class and its attributes; a task with a method ``describe``, which
    returns what decides its results as plain JSON, by that.

    Attributes:
        space: What an arm must give.
        outputs: Names of the scalars that every arm reports when it is done.
    """

    @property
    def space(self) -> ParameterSpace: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    def begin(self, arms: Sequence[Mapping[str, Scalar]], keys: Array) -> State:
        """Make the state of a batch of arms before any work.

        Args:
            arms: Parameter values by name, B of them.
            keys: Typed PRNG keys, (B,). All randomness must come from them, so that a batch, its
                order and an interruption never matter.

        Returns:
            A pytree with the arm axis first on every leaf.

        Raises:
            ParameterError: An arm that does not fit the space.
        """
        ...

    def advance(self, state: State) -> State:
        """Do one bounded slice of work for every arm that is not done.

        Raises:
            EvaluationError: Nothing can be evaluated, whatever the arm. For any other error the
                runner finds the arm that is to blame and goes on with the rest.
        """
        ...

    def progress(self, state: State) -> Sequence[Progress]:
        """Say what is known of every arm, in the order of ``begin``."""
        ...
