"""`RW`: random walks from seed points, in the original's parameters, law and folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.exploration.isf.aims import AimCounter
from ax_jax_runners.exploration.isf.folder import LOCK, ParticleFolder
from ax_jax_runners.exploration.isf.law import REACHED_WITHIN, Law, is_reached
from ax_jax_runners.exploration.isf.lock import alone
from ax_jax_runners.exploration.isf.particle import Particle
from ax_jax_runners.exploration.isf.ranges import (
    Ranges,
    aim_values,
    folder_name,
    is_whole,
    read_seed_point,
)
from ax_jax_runners.exploration.isf.settings import Limits, RWOutcome, given, random_seed
from ax_jax_runners.exploration.isf.shards import to_frame
from ax_jax_runners.exploration.isf.start import Start, describe, make_law

if TYPE_CHECKING:
    import os

    import pandas as pd


class RW:
    """Explores, from a seed point, the region of parameters for which a function says "inside".

    Each iteration evaluates one point near the current one and moves there if it is inside. The
    law of the proposals (see `Law`) and the random stream are those of the class of this name in
    the In Silico Framework, so the same seed gives the same points, bit for bit. That law is not
    uniform on the region, and what it lacks is told in the documentation of `RandomWalk`.

    Attributes:
        df_seeds: Seed points as rows, parameters as columns, physical units.
        param_ranges: Parameters as rows, columns ``min`` and ``max`` (or ``min_`` and ``max_``).
        params_to_explore: Names of those that vary, in the order of the random draws; the others
            stay as in the seed point. None was given: all.
        evaluation_function: Gets a named Series of all parameters, physical units, float64, and
            returns whether it is inside, and a dictionary to be kept in the same row.
        MAIN_DIRECTORY: Results are in ``<seed point>/<particle>/<iteration>.parquet`` below it.
        min_step_size: Shortest step, as a Euclidean length in the unit box.
        max_step_size: Longest step.
        checkpoint_every: Iterations between two files.
        checkpoint_by_time: Minutes between two files; where it is given, it decides alone.
        concat_every_n_save: Files that are merged into one.
        n_iterations: Points to evaluate after the seed point.
        mode: None, or "expand": every point is further from the seed point than the one before.
        aim_params: Values, physical units, that parameters are to move to and then keep.
        stop_n_inside_with_aim_params: Points inside with all aims reached, of all particles of the
            seed point, after which a run ends; not positive: it does not.
        normalized_aim_params: The aims in the unit box, as a Series.
        all_param_names: All parameters, in the order of ``param_ranges``.
        max_suggestions: Suggestions for one point before the particle counts as stalled.
        shard_format: "parquet" or "npz".
    """

    def __init__(
        self,
        df_seeds: pd.DataFrame | None = None,
        param_ranges: pd.DataFrame | None = None,
        params_to_explore: Sequence[str] | None = None,
        evaluation_function: Callable[[pd.Series], tuple[Any, Mapping[str, Any]]] | None = None,
        MAIN_DIRECTORY: str | os.PathLike[str] | None = None,
        min_step_size: float = 0,
        max_step_size: float = 0.02,
        checkpoint_every: int = 100,
        checkpoint_by_time: float | None = None,
        concat_every_n_save: int = 60,
        n_iterations: int = 60000,
        mode: Literal["expand"] | None = None,
        aim_params: Mapping[str, float] | None = None,
        stop_n_inside_with_aim_params: int = -1,
        *,
        max_suggestions: int = 100_000,
        shard_format: Literal["parquet", "npz"] = "parquet",
    ) -> None:
        """Keep the settings as attributes, see there, and check them.

        Raises:
            ParameterError: Ranges, parameters or aims that cannot be used.
            ConfigurationError: A setting that cannot be used.
        """
        self.df_seeds = df_seeds
        self.param_ranges: pd.DataFrame = given("param_ranges", param_ranges)
        self.all_param_names = list(self.param_ranges.index)
        self.params_to_explore = list([] if params_to_explore is None else params_to_explore)
        self.params_to_explore = self.params_to_explore or list(self.all_param_names)
        self.evaluation_function = evaluation_function
        self.MAIN_DIRECTORY = MAIN_DIRECTORY
        self.min_step_size = min_step_size
        self.max_step_size = max_step_size
        self.checkpoint_every = checkpoint_every
        self.checkpoint_by_time = checkpoint_by_time
        self.concat_every_n_save = concat_every_n_save
        self.n_iterations = n_iterations
        self.mode = mode
        self.aim_params = dict(aim_params or {})
        self.stop_n_inside_with_aim_params = stop_n_inside_with_aim_params
        self.max_suggestions = max_suggestions
        self.shard_format = shard_format
        self.normalized_aim_params = self._normalize_aim_params(self.aim_params)
        ranges = Ranges.read(self.param_ranges)
        self._law(self._start(ranges, ranges.lower))
        self._limits()

    def run_RW(self, selected_seedpoint: Any, particle_id: int | str, seed: int) -> RWOutcome:
        """Explore from one seed point, going on from the last checkpoint if there is one.

        Args:
            selected_seedpoint: Position of the row in ``df_seeds``, or a label of its index that
                is no whole number.
            particle_id: Tells several walks from one seed point apart; names the folder.
            seed: Of the random stream, 0 to 2**32 - 1. A walk that goes on keeps its stream.

        Returns:
            How it ended; the manifest in the folder says the same.

        Raises:
            SeedPointOutside: The seed point is not inside.
            LeaseHeld: Another process or thread works on this particle.
            ConfigurationError: A missing setting, files of another program in the folder, or a
                folder that was begun with other settings.
            ArtifactCorrupt: The folder's manifest is damaged.
            InvalidFeatures: The evaluation function returned no pair of a truth and a dictionary.
        """
        ranges = Ranges.read(self.param_ranges)
        df_seeds = given("df_seeds", self.df_seeds)
        evaluate = given("evaluation_function", self.evaluation_function)
        main = Path(given("MAIN_DIRECTORY", self.MAIN_DIRECTORY))
        stream = random_seed(seed)
        start = self._start(ranges, read_seed_point(df_seeds, selected_seedpoint, ranges))
        law = self._law(start)
        start.check_in_box(selected_seedpoint)
        seed_folder = main / folder_name(selected_seedpoint)
        folder = ParticleFolder(seed_folder / folder_name(particle_id))
        folder.path.mkdir(parents=True, exist_ok=True)
        particle = Particle(
            law=law,
            start=start,
            limits=self._limits(),
            evaluate=evaluate,
            folder=folder,
            counter=AimCounter(seed_folder, folder.path.name),
            particle_id=int(particle_id) if is_whole(particle_id) else str(particle_id),
            described=describe(start, law, self.aim_params),
        )
        with alone(folder.path / LOCK, f"Particle {folder.path}"):
            return particle.run(stream)

    def assess_aim_params_reached(
        self, normalized_params: pd.Series | np.ndarray, tolerance: float = REACHED_WITHIN
    ) -> list[bool]:
        """Return, for each aim, whether a point has reached it.

        Args:
            normalized_params: Unit coordinates: a Series by name, or an array in the order of
                ``params_to_explore``; of all parameters where it is longer.
            tolerance: Largest distance in the unit box.

        Raises:
            ParameterError: An array of another length, or a Series without an aimed parameter.
        """
        names = getattr(normalized_params, "index", self.params_to_explore)
        values = np.asarray(normalized_params)
        if names is self.params_to_explore and len(values) != len(names):
            names = self.all_param_names
        if len(values) != len(names) or not set(self.aim_params) <= set(names):
            raise ParameterError(
                f"The point has {len(values)} values; give one for each of "
                f"{', '.join(self.params_to_explore)}."
            )
        by_name = dict(zip(names, values, strict=True))
        targets = self._normalize_aim_params(self.aim_params)
        return [
            is_reached(float(by_name[name]), float(targets[name]), tolerance)
            for name in self.aim_params
        ]

    def _normalize_params(self, p: pd.Series) -> pd.Series:
        """Return parameters in the unit box, by name."""
        lower, upper = Ranges.read(self.param_ranges).ends(p)
        return (p - lower) / (upper - lower)

    def _unnormalize_params(self, p: pd.Series) -> pd.Series:
        """Return unit coordinates in physical units, by name."""
        lower, upper = Ranges.read(self.param_ranges).ends(p)
        return p * (upper - lower) + lower

    def _normalize_aim_params(self, aim_params: Mapping[str, float] | None) -> pd.Series:
        """Return aims in the unit box, by name."""
        import pandas as pd

        aims = pd.Series(aim_values(aim_params), dtype=np.float64)
        if len(aims):
            ranges = Ranges.read(self.param_ranges)
            aims[:] = ranges.normalize(aims.to_numpy(), ranges.indices(aims.index, "aim_params"))
        return aims

    def _concatenate_and_clean(
        self, seed_folder: str | os.PathLike[str], particle_id: Any, iteration: int | None = None
    ) -> None:
        """Merge the small shards of a particle, up to an iteration, and remove them."""
        folder = ParticleFolder(Path(seed_folder) / folder_name(particle_id))
        with alone(folder.path / LOCK, f"Particle {folder.path}"):
            manifest = folder.load()
            if manifest is not None:
                folder.merge(manifest, self._limits().shard_format, iteration)

    def _clean_the_pickles(
        self, outdir: str | os.PathLike[str], files: Sequence[str], iteration: int
    ) -> None:
        """Remove shards of other iterations, of which the manifest says that others replaced them.

        The name is the original's; files of pickles are refused.
        """
        ParticleFolder(Path(outdir)).remove(
            [name for name in files if not name.startswith(f"{iteration}.")]
        )

    def _load_pickle_or_parquet(
        self, outdir: str | os.PathLike[str], iteration: int, mode: str = "parquet"
    ) -> tuple[pd.DataFrame, str]:
        """Return the rows of one shard, checked, and its path; ``mode`` is its format.

        The name is the original's; pickles are refused.
        """
        folder = ParticleFolder(Path(outdir))
        name = f"{iteration}.{mode.removesuffix('_load')}"
        return to_frame(folder.named(name)), str(folder.path / name)

    def _start(self, ranges: Ranges, point: np.ndarray) -> Start:
        places = ranges.indices(self.params_to_explore, "params_to_explore")
        return Start(ranges, point, places)

    def _law(self, start: Start) -> Law:
        return make_law(
            start,
            min_step_size=self.min_step_size,
            max_step_size=self.max_step_size,
            mode=self.mode,
            aim_params=self.aim_params,
        )

    def _limits(self) -> Limits:
        return Limits.read(
            n_iterations=self.n_iterations,
            checkpoint_every=self.checkpoint_every,
            checkpoint_by_time=self.checkpoint_by_time,
            concat_every_n_save=self.concat_every_n_save,
            max_suggestions=self.max_suggestions,
            stop_n_inside_with_aim_params=self.stop_n_inside_with_aim_params,
            shard_format=self.shard_format,
        )
