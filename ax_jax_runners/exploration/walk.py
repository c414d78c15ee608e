"""Random walks through the region of parameter vectors that satisfy all constraints."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.evaluation.fingerprint import Fingerprint
from ax_jax_runners.exploration.adaptation import Stage, StepTuning, largest_step, stages
from ax_jax_runners.exploration.course import Course, read_course
from ax_jax_runners.exploration.kernels import choose_kernel
from ax_jax_runners.exploration.options import check_options, check_whole, read_numbers
from ax_jax_runners.exploration.program import LaneProgram, shared_program
from ax_jax_runners.exploration.proposals import Kernel
from ax_jax_runners.exploration.region import Region
from ax_jax_runners.exploration.seeds import read_seed_points

if TYPE_CHECKING:
    from ax_jax_runners.exploration.result import WalkResult

#: The largest step of a directed walk to which none is given, in units of the search box.
DIRECTED_STEP = 0.02


@dataclass(frozen=True)
class RandomWalk:
    """Walks of many particles from seed points through the compatible region.

    A step has a random direction in the unit box of the explored parameters (logarithmic where
    ``log_scale`` is set) and a size uniform between the smallest and the largest. The point is
    taken if it is inside, else the particle stays. All particles walk in one compiled program; the
    path of each is a function of ``seed``, its seed point's number and its own number alone.

    Example::

        walk = RandomWalk(evaluator, [Constraint("rate", mean=10.0, sd=1.0, cutoff=2.0)],
                          n_iterations=1000)
        result = walk.run(seed_points, particles=64, directory="walk")
        result.diagnostics()

    Attributes:
        evaluator: Gives the features. Its dtype is that of the walk, its ``chunk`` the number of
            particles computed together.
        constraints: What the features must be.
        kernel: "auto", "reflect", "self_loop", "hit_and_run" (uniform on the region), or "redraw"
            (the law of older explorations, which visits faces and corners too rarely).
        n_iterations: Iterations of every particle, after its warm-up.
        min_step_size: Smallest step, in units of the search box.
        max_step_size: Largest step; None: tuned to ``target_acceptance`` in the warm-up, and 0.02
            for a directed walk. For "hit_and_run" the longest bracket; None: the whole chord.
        step_ratio: Smallest step as a share of the largest where that is tuned (and
            ``min_step_size`` is not larger). Sizes of one narrow range mix faster than those from
            0 on; a single size, 1, walks on a lattice in one dimension.
        mode: None, or "expand": only points further from the seed point than the current one.
        aim_params: Values that explored parameters are to reach, in physical units: steps turn
            towards them, land on them instead of passing, and stay. Directed walks (with a mode or
            aims) are no samplers of the region.
        stop_n_inside_with_aim_params: Inside points with all aims reached that end a particle; -1:
            it goes on.
        params_to_explore: Parameters that vary; None: all free ones. The others stay at the seed
            point's values.
        adapt: Whether the warm-up also learns the shape of the region, for proposals. What a
            particle learned depends on where it was: in many dimensions (measured at 40) it takes
            several thousand iterations until nothing of that is left in where it is.
        warm_up: Iterations of the warm-up, which are not recorded; None: 200 where the step is
            tuned, 100 a parameter (at least 500) where the shape is learned, else 0. Where nothing
            is learned, it only leads away from the seed point.
        target_acceptance: Share of steps that a tuned step size lets be taken.
        max_suggestions: Suggestions in a row of which none could be evaluated, after which a
            particle ends as "stalled".
        thin: Iterations from one recorded state to the next.
        checkpoint_every: Iterations between two writes of a run with a directory.
        checkpoint_by_time: Minutes between them; wins over ``checkpoint_every``. The walk then goes
            in pieces of about a tenth of that time, at least of one recorded iteration.
        concat_every_n_save: Small files that are merged into one.
        seed: Of the random numbers, from 0 to 2**32 - 1.
    """

    evaluator: FeatureEvaluator
    constraints: tuple[Constraint, ...]
    kernel: str = field(default="auto", kw_only=True)
    n_iterations: int = field(kw_only=True)
    min_step_size: float = field(default=0.0, kw_only=True)
    max_step_size: float | None = field(default=None, kw_only=True)
    step_ratio: float = field(default=0.5, kw_only=True)
    mode: str | None = field(default=None, kw_only=True)
    aim_params: Mapping[str, float] | None = field(default=None, kw_only=True, hash=False)
    stop_n_inside_with_aim_params: int = field(default=-1, kw_only=True)
    params_to_explore: tuple[str, ...] | None = field(default=None, kw_only=True)
    adapt: bool = field(default=False, kw_only=True)
    warm_up: int | None = field(default=None, kw_only=True)
    target_acceptance: float = field(default=0.3, kw_only=True)
    max_suggestions: int = field(default=10_000, kw_only=True)
    thin: int = field(default=1, kw_only=True)
    checkpoint_every: int = field(default=1000, kw_only=True)
    checkpoint_by_time: float | None = field(default=None, kw_only=True)
    concat_every_n_save: int = field(default=60, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigurationError: One that cannot be used.
        """
        region = Region(self.evaluator, self.constraints, self.params_to_explore)
        object.__setattr__(self, "constraints", region.constraints)
        object.__setattr__(self, "params_to_explore", region.params_to_explore)
        if self.aim_params is not None:
            object.__setattr__(self, "aim_params", read_numbers("aim_params", self.aim_params))
        check_options(self)
        # Both raise what is wrong with their options.
        choose_kernel(self.kernel, self.course, adapt=self.adapt)
        if self.kernel == "hit_and_run" and self.min_step_size > 0:
            raise ConfigurationError(
                f"hit_and_run has no smallest step and was given {self.min_step_size}; leave "
                "min_step_size out."
            )
        if not self.course.free and (self.adapt or self.warm_up):
            raise ConfigurationError(
                "A walk with a mode or aims samples nothing that a warm-up could learn from; leave "
                "adapt and warm_up out."
            )

    @functools.cached_property
    def region(self) -> Region:
        """The region that is explored."""
        return Region(self.evaluator, self.constraints, self.params_to_explore)

    @functools.cached_property
    def course(self) -> Course:
        """What proposals are admissible."""
        return read_course(
            self.region.box, self.mode, self.aim_params, self.stop_n_inside_with_aim_params
        )

    @property
    def chosen_kernel(self) -> Kernel:
        """The kernel that is used."""
        return choose_kernel(self.kernel, self.course, adapt=self.adapt)

    @property
    def tuned(self) -> bool:
        """Whether the warm-up tunes the step size."""
        bracket = self.chosen_kernel.name == "hit_and_run"
        return self.max_step_size is None and self.course.free and not bracket

    @property
    def largest_step(self) -> float | None:
        """The largest step that is given; None where it is tuned, or is a whole chord."""
        if self.max_step_size is None and not self.course.free:
            return None if self.kernel == "hit_and_run" else DIRECTED_STEP
        return self.max_step_size

    @property
    def warm_up_iterations(self) -> int:
        """Iterations of the warm-up."""
        if self.warm_up is not None:
            return self.warm_up
        if self.adapt:
            return max(500, 100 * self.region.box.dimension)
        return 200 if self.tuned else 0

    @property
    def plan(self) -> tuple[Stage, ...]:
        """The stages of the warm-up."""
        return stages(self.warm_up_iterations, adapt=self.adapt)

    @functools.cached_property
    def program(self) -> LaneProgram:
        """The compiled walk."""
        tune = None
        if self.tuned:
            tune = StepTuning(
                self.target_acceptance,
                largest=largest_step(self.region.box.dimension),
                smallest=self.min_step_size,
                ratio=self.step_ratio,
            )
        parts = (self.region, self.chosen_kernel, self.course, self.evaluator.chunk)
        parts = (*parts, self.max_suggestions, tune)
        try:
            hash(parts)
        except TypeError:
            # A simulator that holds arrays cannot be compared with others.
            return LaneProgram(*parts)
        return shared_program(*parts)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled programs are rebuilt on the other side.
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def describe(self) -> dict[str, Any]:
        """Describe what decides the paths, as plain JSON: all but their length and their files."""
        fingerprint = Fingerprint()
        with self.program.precision():
            theta = jax.ShapeDtypeStruct((self.evaluator.space.dimension,), self.evaluator.dtype)
            key = [jax.random.key(0)] if self.evaluator.stochastic else []
            fingerprint.add_program(jax.make_jaxpr(self.evaluator.row_features)(theta, *key))
        return {
            "space": self.evaluator.space.describe(),
            "simulator": fingerprint.hexdigest(),
            "dtype": self.evaluator.dtype,
            "chunk": self.evaluator.chunk,
            "jax": jax.__version__,
            "constraints": [dataclasses.asdict(item) for item in self.constraints],
            "params_to_explore": list(self.region.box.names),
            "kernel": self.chosen_kernel.name,
            "min_step_size": self.min_step_size,
            "max_step_size": self.largest_step,
            "step_ratio": self.step_ratio if self.tuned else None,
            "mode": self.mode,
            "aim_params": self.aim_params,
            "stop_n_inside_with_aim_params": self.stop_n_inside_with_aim_params,
            "adapt": self.adapt,
            "warm_up": self.warm_up_iterations,
            "target_acceptance": self.target_acceptance if self.tuned else None,
            "max_suggestions": self.max_suggestions,
            "seed": self.seed,
        }

    def run(
        self,
        seed_points: Any,
        *,
        particles: int = 1,
        directory: str | Path | None = None,
        progress: bool | None = None,
    ) -> WalkResult:
        """Walk from every seed point.

        With a directory the recorded states go to files as the walk goes on, memory stays bounded,
        and a second call goes on where the first was stopped or killed, with the same bits; one
        with more iterations makes it longer.

        Args:
            seed_points: A DataFrame with a row for each, a list of dicts, one dict, or an array
                (n, d) of the free parameters in declared order; physical units.
            particles: Walks from each seed point.
            directory: Where the states are kept; None: in memory.
            progress: Whether to show progress; None: on a terminal.

        Returns:
            All particles, those of the first seed point first.

        Raises:
            SeedPointOutside: A seed point that is not inside, with the features that are not.
            ParameterError: A seed point that does not fit the parameters.
            ConfigurationError: The directory holds another walk.
            LeaseHeld: Another process is writing there.
            ArtifactCorrupt: A file of the directory that cannot be read.
        """
        from ax_jax_runners.exploration.expedition import Expedition

        check_whole("particles", particles, 1)
        theta = read_seed_points(self.evaluator.space, seed_points)
        return Expedition(self, theta, particles).run(directory, progress=progress)


def seed_sequence(seeds: int, particles: int) -> Sequence[tuple[int, int]]:
    """Return (number of the seed point, number of the particle) of all particles, in order."""
    return [(seed, particle) for seed in range(seeds) for particle in range(particles)]
