"""What a walk carries from one suggestion to the next, for all particles at once.

The particle axis is the LAST one of every leaf: a processor's vector registers then hold one
coordinate of several particles, and sums over coordinates stay within a lane.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import jax
import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt

#: What a particle is doing, or why it stopped.
RUNNING, FINISHED, AIM_REACHED, STALLED = range(4)
STATUSES = ("running", "finished", "aim reached", "stalled")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Line:
    """A move of the hit-and-run kernel that is still looking for its point.

    Attributes:
        direction: (k, P).
        lower: (P,), the bracket's lower end along the direction, at most 0.
        upper: (P,), its upper end, at least 0.
        open: (P,) bool: whether there is such a move.
    """

    direction: Any
    lower: Any
    upper: Any
    open: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tuning:
    """What a warm-up has learned so far.

    Attributes:
        log_step: (P,), logarithm of the largest step size now.
        mean_log_step: (P,), its mean over the second half of the stage.
        count: (P,) int32, moves of the stage that were tried.
        mean: (k, P), of the positions of the stage.
        scatter: (k, k, P), sums of products of deviations; (k, P) of squares for a diagonal; or
            None where only the step is tuned.
    """

    log_step: Any
    mean_log_step: Any
    count: Any
    mean: Any = None
    scatter: Any = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WalkState:
    """P particles with k coordinates between two suggestions.

    Attributes:
        unit: (k, P), where the chain is, in the search box.
        violation: (P,), there.
        features: The simulator's structure with the particle axis last, there.
        seed_unit: (k, P), where it began.
        seed_theta: (d, P), the seed point in physical units.
        key: (2, P) uint32, of the particle.
        tick: (P,) uint32, suggestions or groups of them so far; the counter of the random numbers.
        iteration: (P,) int32, completed iterations.
        suggestions: (P,) uint32, suggestions so far.
        idle: (P,) int32, suggestions in a row of which none could be evaluated.
        evaluations: (P,) int32, proposals that were evaluated.
        moves: (P,) int32, proposals that were taken.
        nonfinite: (P,) int32, evaluated proposals with a constrained feature that is not finite.
        at_aim: (P,) int32, inside points with all aims reached.
        status: (P,) int32, one of the module's constants.
        step: (2, P), smallest and largest step size.
        factor: (k, k, P) lower triangles, or (k, P) diagonals, that shape proposals; None for
            isotropic ones.
        line: Of the hit-and-run kernel, else None.
        tuning: During a warm-up, else None.
    """

    unit: Any
    violation: Any
    features: Any
    seed_unit: Any
    seed_theta: Any
    key: Any
    tick: Any
    iteration: Any
    suggestions: Any
    idle: Any
    evaluations: Any
    moves: Any
    nonfinite: Any
    at_aim: Any
    status: Any
    step: Any
    factor: Any = None
    line: Line | None = None
    tuning: Tuning | None = field(default=None)

    @property
    def particles(self) -> int:
        """How many there are."""
        return int(np.shape(self.tick)[-1])


def take(state: Any, particles: Any) -> Any:
    """Return some particles of a state, in this order, on the host."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[..., particles], state)


def join(states: list[Any]) -> Any:
    """Return one state of all particles of several, in this order, on the host."""
    return jax.tree.map(
        lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves], axis=-1), *states
    )


def to_arrays(state: WalkState) -> dict[str, np.ndarray]:
    """Return every leaf of a state by its path, as `from_arrays` takes it."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {_name(path): np.asarray(leaf) for path, leaf in leaves}


def from_arrays(arrays: Mapping[str, np.ndarray], features: Any) -> WalkState:
    """Return the state of which `to_arrays` gave these arrays.

    Args:
        arrays: One entry for each leaf.
        features: Something of the structure of the simulator's features.

    Raises:
        ArtifactCorrupt: Entries that are missing.
    """

    def part(path: str) -> Any:
        kinds = {"line": Line, "tuning": Tuning}
        names = [f.name for f in fields(kinds[path])]
        found = {n: arrays[f".{path}.{n}"] for n in names if f".{path}.{n}" in arrays}
        return kinds[path](**found) if found else None

    try:
        plain = {f.name: arrays.get(f".{f.name}") for f in fields(WalkState)}
        found = jax.tree_util.tree_map_with_path(
            lambda path, _: arrays[f".features{_name(path)}"], features
        )
        restored = WalkState(
            **{**plain, "features": found, "line": part("line"), "tuning": part("tuning")}
        )
        missing = [n for n, v in plain.items() if v is None and n not in _OPTIONAL]
    except (KeyError, TypeError) as error:
        raise ArtifactCorrupt(
            f"A walk's state lacks {error}; it was written by another version or another walk."
        ) from error
    if missing:
        raise ArtifactCorrupt(
            f"A walk's state lacks {missing[0]!r}; it was written by another version."
        )
    return restored


_OPTIONAL = ("features", "factor", "line", "tuning")


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path)
