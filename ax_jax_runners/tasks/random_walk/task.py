"""Random-walk exploration as a trial: which walk explores a region best for its evaluations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.exploration.expedition import iteration_of
from ax_jax_runners.exploration.seeds import read_seed_points
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.tasks.protocol import Progress, Scalar
from ax_jax_runners.tasks.random_walk.arm import WalkArm
from ax_jax_runners.tasks.random_walk.extension import resumed_state, with_rows
from ax_jax_runners.tasks.random_walk.findings import DIRECTED, SAMPLING, Known, coverage
from ax_jax_runners.tasks.random_walk.packing import stack, unstack
from ax_jax_runners.tasks.random_walk.reporting import progress_of
from ax_jax_runners.tasks.random_walk.settings import (
    check_budget,
    check_settings,
    default_settings,
    describe_walk,
    walk_of,
)


@dataclass(frozen=True, init=False, eq=False)
class RandomWalkTask:
    """One trial walks from a seed point with some settings, for a fixed number of evaluations.

    An arm is the number of a seed point, ``max_step_size`` (units of the search box, searched
    logarithmically; the longest bracket of hit_and_run), ``step_ratio`` (smallest step as a share
    of the largest), ``kernel`` and ``adapt`` (whether a warm-up, at the cost of its evaluations,
    learns the region's shape). All particles begin at the seed point and make a suggestion a tick;
    a tick costs each of them one evaluation, used or not, since they step together.

    Outputs of a walk that samples: ``log10_jump_ess_per_1000``, the decimal logarithm of the
    effective draws per 1,000 evaluations, of the worst parameter, that squared jumps promise, to be
    maximised also where walks are too short to mix; ``ess_per_1000`` and its logarithm
    ``log10_ess_per_1000``, those that autocorrelations show, and ``rhat``, which says whether to
    believe them; ``new_coverage`` (cells of parameter planes that ``known_points`` do not occupy);
    ``acceptance``, for tracking only: it is best where the steps are smallest. A walk with a mode
    or aims has ``distance_to_aim`` (if aimed), ``new_coverage`` and ``acceptance``.

    A finished arm keeps its states as arrays: ``unit_states`` (rows, particles, k) and
    ``violations`` (rows, particles), NaN where a particle has fewer; and ``resume.*``, with which
    `extend` goes on.

    Attributes:
        space: What an arm gives.
        outputs: Names of the outputs.
        walk: The walk; of its kernel, steps and ``adapt`` the arms have their own.
        seed_points: (n, d), physical units.
        evaluations: Budget of an arm, shared by its particles.
        particles: How many walk from the seed point.
        slices: Slices of a trial, after each of which it reports and can be stopped.
        known_points: (m, d), points of earlier explorations, in physical units; or None.
    """

    space: ParameterSpace
    outputs: tuple[str, ...]
    walk: RandomWalk
    seed_points: tuple[tuple[float, ...], ...]
    evaluations: int
    particles: int
    slices: int
    known_points: np.ndarray | None

    def __init__(
        self,
        walk: RandomWalk,
        *,
        seed_points: Any,
        evaluations: int,
        particles: int = 64,
        slices: int = 8,
        known_points: Any = None,
        space: ParameterSpace | None = None,
    ) -> None:
        """Check that the parts fit; nothing is evaluated yet.

        Args:
            walk: The region, and all options that arms do not have.
            seed_points: As `RandomWalk.run` takes them.
            evaluations: At least one for each particle and slice.
            particles: At least 2, for outputs with errors.
            slices: At least 1.
            known_points: As ``seed_points``; None: nothing is known.
            space: Another range of settings, with the same names.

        Raises:
            ConfigurationError: A number or a space that cannot be used.
            ParameterError: Seed points or known points that do not fit the parameters.
        """
        if not isinstance(walk, RandomWalk):
            raise ConfigurationError(
                f"RandomWalkTask was given a {type(walk).__name__}; give a RandomWalk first."
            )
        check_budget(evaluations, particles, slices, walk.thin)
        parameters = walk.evaluator.space
        seeds = read_seed_points(parameters, seed_points)
        known = None
        if known_points is not None:
            known = read_seed_points(parameters, known_points).copy()
            known.setflags(write=False)
        if space is not None:
            check_settings(space, walk, len(seeds))
        for name, value in (
            ("walk", walk),
            ("seed_points", tuple(map(tuple, seeds.tolist()))),
            ("evaluations", evaluations),
            ("particles", particles),
            ("slices", slices),
            ("known_points", known),
            ("space", default_settings(walk, len(seeds)) if space is None else space),
            ("outputs", _outputs(walk)),
        ):
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RandomWalkTask):
            return NotImplemented
        if self._contents() != other._contents():
            return False
        mine, theirs = self.known_points, other.known_points
        if mine is None or theirs is None:
            return mine is theirs
        return np.array_equal(mine, theirs)

    def __hash__(self) -> int:
        return hash((self.seed_points, self.evaluations, self.particles, self.slices))

    def __getstate__(self) -> dict[str, Any]:
        # What is computed from the rest is made again on the other side.
        return {name: value for name, value in vars(self).items() if name != "_known"}

    def _contents(self) -> tuple[Any, ...]:
        return (
            self.walk,
            self.seed_points,
            self.evaluations,
            self.particles,
            self.slices,
            self.space,
        )

    def describe(self) -> dict[str, Any]:
        """Describe what decides the results, as plain JSON."""
        known = self.known_points
        return {
            "walk": describe_walk(self.walk),
            "seed_points": [list(point) for point in self.seed_points],
            "evaluations": self.evaluations,
            "particles": self.particles,
            "slices": self.slices,
            "known_points": None if known is None else known.tolist(),
            "space": self.space.describe(),
            "outputs": list(self.outputs),
        }

    def over(self, space: ParameterSpace) -> RandomWalkTask:
        """Return the same task over other ranges of its settings.

        Raises:
            ConfigurationError: A space of other names.
        """
        return RandomWalkTask(
            self.walk,
            seed_points=self.seed_points,
            evaluations=self.evaluations,
            particles=self.particles,
            slices=self.slices,
            known_points=self.known_points,
            space=space,
        )

    @property
    def simulator(self) -> Any:
        """The function that is evaluated."""
        return self.walk.evaluator.fn

    @property
    def ticks(self) -> int:
        """Budget of one particle, in whole steps from one recorded state to the next."""
        return self._aligned(self.evaluations // self.particles)

    def _aligned(self, ticks: int) -> int:
        return ticks // self.walk.thin * self.walk.thin

    @functools.cached_property
    def _known(self) -> Known:
        if self.known_points is None:
            return Known()
        unit = self.walk.region.box.to_unit(self.known_points)
        cells = coverage(unit[:, None])
        # One point, or a parameter in which all are equal, tells nothing of the variance.
        spread = unit.var(axis=0)
        return Known(cells, np.where(spread > 0, spread, Known().variance))

    # ------------------------------------------------------------------ the protocol

    def begin(self, arms: Sequence[Mapping[str, Scalar]], keys: Array) -> dict[str, np.ndarray]:
        """Make the state of a batch of arms; see `Task.begin`.

        Raises:
            ParameterError: An arm that does not fit the space.
            SeedPointOutside: A seed point that is not inside.
        """
        states = []
        for number, values in enumerate(arms):
            theta = self.space.pack(values)
            begun = self._arm(theta).begin(keys[number])
            states.append({"arm": theta, "slice": np.asarray(0, np.int32), **begun})
        return stack(states)

    def advance(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Walk every arm that is not done to the end of its next slice."""
        return stack([self._advance(arrays) for arrays in unstack(state)])

    def _advance(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if int(arrays["slice"]) >= self.slices:
            return arrays
        return self._advanced(self._arm(arrays["arm"]), arrays)

    def _advanced(self, arm: WalkArm, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        done = int(arrays["slice"])
        walked = arm.advance(arrays, self._aligned(self.ticks * (done + 1) // self.slices))
        stopped = iteration_of(arm.state(walked)) is None
        number = self.slices if stopped else done + 1
        return {"arm": arrays["arm"], "slice": np.asarray(number, np.int32), **walked}

    def progress(self, state: dict[str, np.ndarray]) -> list[Progress]:
        """Say what is known of every arm."""
        return [self._progress(arrays, self._arm(arrays["arm"])) for arrays in unstack(state)]

    def _progress(self, arrays: dict[str, np.ndarray], arm: WalkArm) -> Progress:
        done = int(arrays["slice"]) >= self.slices
        return progress_of(arm, arrays, self._known, self.outputs, done=done)

    # ------------------------------------------------------------------ beyond a trial

    def extend(self, arrays: Mapping[str, np.ndarray], evaluations: int) -> Progress:
        """Go on with a finished arm to a larger budget, on the same paths.

        Args:
            arrays: What the arm kept.
            evaluations: The new budget, at least this task's.

        Returns:
            What a trial of that budget, and with that warm-up, reports at its end.

        Raises:
            ConfigurationError: A smaller budget.
        """
        if evaluations < self.evaluations:
            raise ConfigurationError(
                f"evaluations is {evaluations}, and the arm has used {self.evaluations}; give more."
            )
        longer = RandomWalkTask(
            self.walk,
            seed_points=self.seed_points,
            evaluations=evaluations,
            particles=self.particles,
            slices=1,
            known_points=self.known_points,
            space=self.space,
        )
        state = resumed_state(arrays)
        arm = dataclasses.replace(self._arm(state["arm"]), ticks=longer.ticks)
        state = with_rows(state, arm.rows)
        return longer._progress(longer._advanced(arm, state), arm)

    def _arm(self, theta: np.ndarray) -> WalkArm:
        values = self.space.unpack(theta)
        return WalkArm(
            walk_of(self.walk, values, self.ticks),
            self.seed_points[int(values["seed_point"])],
            self.particles,
            self.ticks,
        )


def _outputs(walk: RandomWalk) -> tuple[str, ...]:
    if walk.course.free:
        return SAMPLING
    return DIRECTED if walk.course.aims else DIRECTED[1:]
