"""What a walk leaves: its states, in memory or in files, and how each particle ended."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation.features import leaf_names
from ax_jax_runners.exploration.archive import ArchiveView
from ax_jax_runners.exploration.rows import ChainRows, chain_rows
from ax_jax_runners.exploration.segment import Segment, concatenate, nothing
from ax_jax_runners.exploration.state import FINISHED, STALLED, STATUSES, WalkState

if TYPE_CHECKING:
    import pandas as pd

    from ax_jax_runners.exploration.diagnostics import Diagnostics
    from ax_jax_runners.exploration.walk import RandomWalk


@dataclass(frozen=True, eq=False)
class WalkResult:
    """The recorded states of P = seed points x particles walks, those of one seed point together.

    Attributes:
        walk: What was run.
        seed_points: (n, d), physical units.
        particles: Walks from each.
        state: All particles at their ends.
        recorded: Segments in memory, or the archive in the run's directory.
    """

    walk: RandomWalk
    seed_points: np.ndarray
    particles: int
    state: WalkState
    recorded: Sequence[Segment] | ArchiveView

    # ------------------------------------------------------------------ the points

    @property
    def states(self) -> np.ndarray:
        """(iterations, P, d) float64: where the chains were, in physical units.

        One row for each iteration, or for every ``thin``-th; neither the seed points nor the
        warm-up are among them. A particle that ended early has NaN from there on.
        """
        return self._dense.theta

    @property
    def unit_states(self) -> np.ndarray:
        """(iterations, P, k) float64: the explored parameters in coordinates of the search box."""
        return self.walk.region.box.to_unit(self._dense.theta)

    @property
    def violations(self) -> np.ndarray:
        """(iterations, P): the violation at the states, at most 0."""
        return self._dense.violation

    def feature(self, name: str) -> np.ndarray:
        """(iterations, P, ...): one feature at the states.

        Raises:
            ConfigurationError: The simulator returns none of that name.
        """
        features = self._dense.features
        if name not in features:
            raise ConfigurationError(
                f"The walk recorded no feature {name!r}; it has {', '.join(map(repr, features))}."
            )
        return features[name]

    def to_frame(self) -> pd.DataFrame:
        """A row for every stay at one point; see `ChainRows` for the columns.

        Parameters and features follow by name. A name that is taken has "parameter." or "feature."
        before it.
        """
        import pandas as pd

        from ax_jax_runners.exploration.archive.layout import arrange

        if isinstance(self.recorded, ArchiveView):
            return self._cut(self.recorded.to_pandas())
        rows = self._rows
        layout, arrays, _ = arrange(rows.columns, rows.parameters, rows.features)
        return pd.DataFrame(
            {c.name: list(arrays[c.name]) if c.shape else arrays[c.name] for c in layout.columns}
        )

    def _cut(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the iterations that were asked for; the files may hold more."""
        if frame.empty:
            return frame
        iteration = frame["iteration"].to_numpy()
        left = (self.walk.n_iterations - iteration) // self.walk.thin + 1
        times = frame["multiplicity"].to_numpy()
        shorter = frame.assign(multiplicity=np.minimum(times, left).astype(times.dtype))
        return shorter.iloc[np.flatnonzero(left > 0)].reset_index(drop=True)

    # ------------------------------------------------------------------ the particles

    @property
    def status(self) -> tuple[str, ...]:
        """How every particle ended: "finished", "aim reached" or "stalled"."""
        return tuple(STATUSES[code] for code in np.asarray(self.state.status).tolist())

    @property
    def evaluations(self) -> int:
        """Points that were evaluated by all particles, those of the warm-up among them."""
        return int(np.asarray(self.state.evaluations, dtype=np.int64).sum())

    def particles_frame(self) -> pd.DataFrame:
        """A row for every particle: how far it came, what it cost, how it ended and why."""
        import pandas as pd

        state, course = self.state, self.walk.course
        iterations = np.maximum(np.asarray(state.iteration), 0)
        count = len(iterations)
        unit = np.asarray(state.unit, dtype=np.float64).T
        distance = course.distance(unit)
        return pd.DataFrame(
            {
                "seed_point": np.arange(count) // self.particles,
                "particle": np.arange(count) % self.particles,
                "status": self.status,
                "reason": [self._reason(i, float(distance[i])) for i in range(count)],
                "iterations": iterations,
                "acceptance": np.asarray(state.moves) / np.maximum(iterations, 1),
                "evaluations": np.asarray(state.evaluations),
                "suggestions": np.asarray(state.suggestions),
                "nonfinite": np.asarray(state.nonfinite),
                "step": np.asarray(state.step[1], dtype=np.float64),
                **({"distance_to_aim": distance} if course.aims else {}),
            }
        )

    def _reason(self, i: int, distance: float) -> str:
        walk, status = self.walk, int(np.asarray(self.state.status)[i])
        iterations = int(np.asarray(self.state.iteration)[i])
        if status == STALLED:
            admissible = "in the search box"
            if walk.mode == "expand":
                admissible += " and further from the seed point"
            return f"none of {walk.max_suggestions} suggestions in a row was {admissible}"
        if walk.course.aims and not distance <= 0:
            arrived = bool(np.asarray(walk.course.arrived(np.asarray(self.state.unit)[:, i])))
            if not arrived:
                rejected = int(self.state.evaluations[i]) - int(self.state.moves[i])
                return (
                    f"{iterations} iterations ended {distance:.3g} of the box away from the "
                    f"aim: {rejected} of {int(self.state.evaluations[i])} points on the way were "
                    "outside the region"
                )
        if status == FINISHED:
            return f"{iterations} iterations done"
        return f"{int(self.state.at_aim[i])} inside points with all aims reached"

    # ------------------------------------------------------------------ findings

    def diagnostics(self) -> Diagnostics:
        """How well the walk mixed and how far it came; see `Diagnostics`.

        Particles that ended before their time are counted and left out.

        Raises:
            ConfigurationError: No particle did all its iterations.
        """
        from ax_jax_runners.exploration.diagnostics import acceptance_rate, diagnose

        unit = np.clip(self.unit_states, 0.0, 1.0)
        whole = np.asarray(np.isfinite(unit).all(axis=(0, 2)))
        if not whole.any() or not len(unit):
            raise ConfigurationError(
                f"None of {whole.size} particles has recorded all its states; see "
                "particles_frame() for the reasons."
            )
        state = self.state
        iterations = np.maximum(np.asarray(state.iteration), 1)
        # Of all iterations, not of the recorded ones.
        acceptance = acceptance_rate((np.asarray(state.moves) / iterations)[None, whole])
        found = diagnose(
            unit[:, whole],
            np.zeros((len(unit), int(whole.sum())), dtype=bool),
            names=self.walk.region.box.names,
            evaluations=max(1, int(np.asarray(state.evaluations, dtype=np.int64)[whole].sum())),
            nonfinite=int(np.asarray(state.nonfinite, dtype=np.int64).sum()),
            stalled=int((np.asarray(state.status) == STALLED).sum()),
        )
        return dataclasses.replace(found, acceptance=acceptance)

    @functools.cached_property
    def _theta(self) -> np.ndarray:
        return np.repeat(self.seed_points, self.particles, axis=0)

    @functools.cached_property
    def _rows(self) -> ChainRows:
        box = self.walk.region.box
        segments = list(self.recorded) if not isinstance(self.recorded, ArchiveView) else []
        if not segments:
            return ChainRows({}, {}, {})
        return chain_rows(concatenate(segments), box, self._theta, self.particles)

    @functools.cached_property
    def _dense(self) -> Dense:
        return self._recorded_dense().with_rows(self.walk.n_iterations // self.walk.thin)

    def _recorded_dense(self) -> Dense:
        box = self.walk.region.box
        count = len(self._theta)
        if isinstance(self.recorded, ArchiveView):
            found = _expanded(self.recorded, box.space.names, self.particles, count, self.walk.thin)
            return dataclasses.replace(found, features=self._as_simulated(found.features))
        if not self.recorded:
            return Dense(np.empty((0, count, box.space.dimension)), np.empty((0, count)), {})
        segment = concatenate(self.recorded)
        theta = box.to_theta(np.moveaxis(segment.unit, 1, -1), self._theta)
        theta[np.arange(segment.rows)[:, None] >= segment.done] = np.nan
        leaves = jax.tree.leaves(segment.features)
        features = {
            name: np.moveaxis(leaf, -1, 1)
            for name, leaf in zip(leaf_names(segment.features), leaves, strict=True)
        }
        return Dense(theta, segment.violation, features)

    def _as_simulated(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return features as the simulator gave them: complex ones take two columns of a table."""
        structure = self.walk.program.features
        features = {}
        for name, leaf in zip(leaf_names(structure), jax.tree.leaves(structure), strict=True):
            if name in columns:
                features[name] = columns[name]
            elif f"{name}.real" in columns:
                features[name] = np.empty(columns[f"{name}.real"].shape, leaf.dtype)
                features[name].real = columns[f"{name}.real"]
                features[name].imag = columns[f"{name}.imag"]
        return features


@dataclass(frozen=True, eq=False)
class Dense:
    """Recorded states with one entry for each recorded iteration.

    Attributes:
        theta: (n, P, d) float64.
        violation: (n, P).
        features: (n, P, ...) by name.
    """

    theta: np.ndarray
    violation: np.ndarray
    features: dict[str, np.ndarray]

    def with_rows(self, count: int) -> Dense:
        """Return so many rows; those beyond the last are NaN, or 0 where there is no NaN."""

        def extended(values: np.ndarray) -> np.ndarray:
            if len(values) >= count:
                return values[:count]
            shape = (count - len(values), *values.shape[1:])
            missing = np.full(shape, nothing(values.dtype), values.dtype)
            return np.concatenate([values, missing])

        features = {name: extended(values) for name, values in self.features.items()}
        return Dense(extended(self.theta), extended(self.violation), features)


def _expanded(
    view: ArchiveView, names: Sequence[str], particles: int, count: int, thin: int
) -> Dense:
    """Return the states of an archive, repeated as often as the chains stayed."""
    arrays = view.arrays()
    if not arrays:
        return Dense(np.empty((0, count, len(names))), np.empty((0, count)), {})
    times = arrays["multiplicity"].astype(np.int64)
    lane = arrays["seed_point"].astype(np.int64) * particles + arrays["particle"]
    first = arrays["iteration"] // thin - 1
    source = np.repeat(np.arange(len(times)), times)
    begun = np.repeat(np.cumsum(times) - times, times)
    row = first[source] + np.arange(len(source)) - begun
    rows = int(row.max()) + 1 if len(row) else 0

    def spread(values: np.ndarray) -> np.ndarray:
        shape = (rows, count, *values.shape[1:])
        dense = np.full(shape, nothing(values.dtype), values.dtype)
        dense[row, lane[source]] = values[source]
        return dense

    theta = np.stack([spread(arrays[view.parameters[name]]) for name in names], axis=-1)
    features = {name: spread(arrays[column]) for name, column in view.features.items()}
    return Dense(theta, spread(arrays["violation"]), features)
