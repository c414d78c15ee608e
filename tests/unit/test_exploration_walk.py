"""RandomWalk: what it promises about paths, ends, results and refusals."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from ax_jax_runners import FeatureEvaluator, Parameter, ParameterSpace
from ax_jax_runners.errors import ConfigurationError, ParameterError, SeedPointOutside
from ax_jax_runners.evaluation.features import leaf_names
from ax_jax_runners.exploration import (
    Constraint,
    RandomWalk,
    WalkArchive,
    WalkResult,
    expedition,
)

SQUARE = ParameterSpace(
    [Parameter("x", lower=-1.0, upper=3.0), Parameter("y", lower=0.0, upper=2.0)]
)
CENTRE = {"x": 1.0, "y": 1.0}


def radius(values: dict[str, Any]) -> dict[str, Any]:
    """The distance from the square's centre, and features of other kinds."""
    across = jnp.sqrt((values["x"] - 1.0) ** 2 / 4.0 + (values["y"] - 1.0) ** 2)
    return {
        "radius": across,
        "wave": jnp.stack([values["x"], jnp.sin(values["y"])]),
        "phase": jnp.exp(1j * values["x"]),
        "nested": {"right": values["x"] > 1.0, "count": jnp.int32(4 * values["y"])},
    }


def noisy_radius(values: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    return {"radius": radius(values)["radius"] * jax.random.uniform(key, minval=0.9, maxval=1.1)}


ROUND = FeatureEvaluator(radius, SQUARE, chunk=16)
WITHIN = (Constraint("radius", upper=0.8),)


def walk(evaluator: FeatureEvaluator = ROUND, **options: Any) -> RandomWalk:
    """A walk in the round region, by steps with rejection."""
    return RandomWalk(evaluator, WITHIN, **{"n_iterations": 40, "kernel": "self_loop", **options})


def fixed(**options: Any) -> RandomWalk:
    return walk(**{"max_step_size": 0.3, **options})


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power, and waiting for the disk takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


# ---------------------------------------------------------------------- the same bits

VARIANTS: dict[str, dict[str, Any]] = {
    "tuned": {"thin": 3, "warm_up": 20},
    "redraw": {"kernel": "redraw", "max_step_size": 1.5, "thin": 2},
    "hit and run, shape learned, stochastic, single precision": {
        "evaluator": FeatureEvaluator(
            noisy_radius, SQUARE, chunk=16, dtype="float32", stochastic=True
        ),
        "kernel": "hit_and_run",
        "adapt": True,
        "warm_up": 40,
    },
    "reflect": {"kernel": "reflect", "max_step_size": 1.5},
    "reflect, shape learned": {"kernel": "reflect", "adapt": True, "warm_up": 40},
    "shape learned, single precision": {
        "evaluator": FeatureEvaluator(radius, SQUARE, chunk=16, dtype="float32"),
        "adapt": True,
        "warm_up": 40,
    },
    "outwards": {"mode": "expand", "max_step_size": 0.1},
    "outwards by hit and run": {"mode": "expand", "kernel": "hit_and_run", "max_suggestions": 90},
    "outwards by redrawing, one parameter": {
        "mode": "expand",
        "kernel": "redraw",
        "params_to_explore": ("y",),
        "max_step_size": 0.1,
        "max_suggestions": 300,
    },
    "towards an aim": {
        "aim_params": {"x": 2.0},
        "stop_n_inside_with_aim_params": 3,
        "max_step_size": 0.2,
        "thin": 2,
    },
    "towards an aim by reflecting, single precision": {
        "evaluator": FeatureEvaluator(radius, SQUARE, chunk=16, dtype="float32"),
        "kernel": "reflect",
        "aim_params": {"y": 0.6},
        "max_step_size": 0.1,
    },
    "one parameter": {"params_to_explore": ("y",), "thin": 4, "warm_up": 20},
    "whole chords, stochastic": {
        "evaluator": FeatureEvaluator(noisy_radius, SQUARE, chunk=16, stochastic=True),
        "kernel": "hit_and_run",
    },
}
QUICK = tuple(VARIANTS)[1:3]


def some(result: WalkResult, particles: slice) -> dict[str, bytes]:
    """What was recorded of some particles, as it is in memory."""
    names = leaf_names(result.walk.program.features)
    return {
        "states": result.states[:, particles].tobytes(),
        "violations": result.violations[:, particles].tobytes(),
        **{name: result.feature(name)[:, particles].tobytes() for name in names},
    }


def bits(result: WalkResult) -> dict[str, bytes]:
    """What was recorded, and how all particles ended."""
    ends = enumerate(jax.tree.leaves(result.state))
    return {**some(result, slice(None)), **{str(i): np.asarray(leaf).tobytes() for i, leaf in ends}}


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in VARIANTS]
)
def test_a_path_has_the_same_bits_however_it_is_walked(name: str, tmp_path: Path) -> None:
    options = VARIANTS[name]
    given = walk(**{**options, "n_iterations": 31})
    result = given.run(CENTRE, particles=64)
    expected = bits(result)
    assert len(np.unique(result.states[0, :, -1])) > 3, "different particles, different paths"

    # Alone, and in other company; the lanes beyond do not matter.
    for count in (1, 5, 17):
        few = given.run(CENTRE, particles=count)
        assert some(few, slice(0, count)) == some(result, slice(0, count))
    # In pieces of 7 iterations.
    pieces = dataclasses.replace(given, checkpoint_every=7)
    assert bits(pieces.run(CENTRE, particles=64)) == expected
    in_files = dataclasses.replace(pieces, concat_every_n_save=2)
    assert bits(in_files.run(CENTRE, particles=64, directory=tmp_path / "whole")) == expected
    # Read again, nothing is left to do.
    assert bits(in_files.run(CENTRE, particles=64, directory=tmp_path / "whole")) == expected
    # Longer and longer, with ends that are no multiple of anything.
    for end in (1, 2, 5, 13, 14, 22, 31):
        longer = dataclasses.replace(in_files, n_iterations=end)
        result = longer.run(CENTRE, particles=64, directory=tmp_path / "longer")
        assert len(result.states) == end // given.thin
    assert bits(result) == expected


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in VARIANTS]
)
def test_a_walk_that_is_interrupted_at_each_checkpoint_comes_to_the_same_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = walk(**{**VARIANTS[name], "n_iterations": 31, "checkpoint_every": 7})
    expected = bits(given.run(CENTRE, particles=20))
    save, saves = WalkArchive.save, 0

    def interrupted(self: WalkArchive, *arguments: Any, **more: Any) -> None:
        nonlocal saves
        save(self, *arguments, **more)
        saves += 1
        raise KeyboardInterrupt

    monkeypatch.setattr(WalkArchive, "save", interrupted)
    for _ in range(40):
        try:
            result = given.run(CENTRE, particles=20, directory=tmp_path)
            break
        except KeyboardInterrupt:
            continue
    else:
        pytest.fail("never came to an end")
    assert saves >= max(result.particles_frame()["iterations"].tolist()) // 7
    assert bits(result) == expected


def test_seeds_and_particles_have_paths_of_their_own() -> None:
    seeds = pd.DataFrame({"y": [1.0, 1.2, 1.0], "x": [1.0, 1.5, 1.0], "unknown": [0, 0, 0]})
    result = fixed().run(seeds, particles=3)
    assert result.states.shape == (40, 9, 2)
    frame: Any = result.particles_frame()
    assert frame["seed_point"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert frame["particle"].tolist() == [0, 1, 2] * 3
    # All within a step of the seed point at first, none on the path of another.
    first = np.array([[1.0, 1.0], [1.5, 1.2], [1.0, 1.0]]).repeat(3, axis=0)
    assert (np.abs(result.states[0] - first) <= [1.2001, 0.6001]).all()
    assert len(np.unique(result.states[-1], axis=0)) == 9
    # Another seed point before it changes a particle's number; the same ones do not.
    same = fixed().run(seeds[:2], particles=3)
    np.testing.assert_array_equal(same.states, result.states[:, :6])
    other = fixed(seed=1).run(seeds[:2], particles=3)
    assert (other.states[-1] != same.states[-1]).any(axis=1).all()


def test_the_largest_seed_is_a_seed() -> None:
    states = [fixed(seed=seed).run(CENTRE).states for seed in (0, 2**31, 2**32 - 1)]
    assert len({s.tobytes() for s in states}) == 3


# ---------------------------------------------------------------------- the law of a walk


@pytest.mark.parametrize(
    "kernel", ["self_loop", pytest.param("hit_and_run", marks=pytest.mark.slow)]
)
def test_states_are_inside_and_what_the_simulator_gives_there(kernel: str) -> None:
    options: dict[str, Any] = {} if kernel == "hit_and_run" else {"max_step_size": 0.3}
    result = walk(kernel=kernel, **options).run(CENTRE, particles=16)
    flat = result.states.reshape(-1, 2)
    found = ROUND.model_features(flat)
    np.testing.assert_allclose(result.feature("radius").ravel(), found["radius"], rtol=1e-12)
    np.testing.assert_allclose(result.feature("wave").reshape(-1, 2), found["wave"], rtol=1e-12)
    np.testing.assert_array_equal(result.feature("nested.right").ravel(), found["nested"]["right"])
    np.testing.assert_allclose(result.violations, result.feature("radius") - 0.8, atol=1e-12)
    assert (result.violations <= 0).all()
    np.testing.assert_allclose(
        result.unit_states, (result.states - [-1.0, 0.0]) / [4.0, 2.0], atol=1e-12
    )


def test_steps_have_the_sizes_that_were_asked_for() -> None:
    result = fixed(min_step_size=0.1, max_step_size=0.2, n_iterations=400).run(CENTRE, particles=16)
    sizes = np.linalg.norm(np.diff(result.unit_states, axis=0), axis=-1)
    moves = sizes[sizes > 0]
    assert moves.min() > 0.1 - 1e-9
    assert moves.max() < 0.2 + 1e-9
    # Uniform between them, where nothing is refused.
    middle = result.feature("radius")[:-1] < 0.8 - 0.2 * 2
    free = sizes[middle & (sizes > 0)]
    assert abs(free.mean() - 0.15) < 5 * 0.1 / math.sqrt(12 * len(free))


@pytest.mark.parametrize("target", [0.2, pytest.param(0.6, marks=pytest.mark.slow)])
def test_a_step_is_tuned_to_the_acceptance_that_is_aimed_at(target: float) -> None:
    tuned = walk(n_iterations=400, warm_up=600, target_acceptance=target)
    frame: Any = tuned.run(CENTRE, particles=32).particles_frame()
    assert abs(frame["acceptance"].mean() - target) < 0.06
    assert frame["step"].nunique() == 32


def test_thinning_keeps_every_nth_state_of_the_same_path() -> None:
    every = fixed().run(CENTRE, particles=3)
    for thin in (7, 40):
        thinned = fixed(thin=thin).run(CENTRE, particles=3)
        np.testing.assert_array_equal(thinned.states, every.states[thin - 1 :: thin])
        frame: Any = thinned.to_frame()
        assert frame.groupby("particle")["multiplicity"].sum().tolist() == [40 // thin] * 3
        assert (frame["iteration"] % thin == 0).all()
    assert fixed(thin=41).run(CENTRE).states.shape == (0, 1, 2)
    assert fixed(thin=10**9).run(CENTRE).states.shape == (0, 1, 2)


# ---------------------------------------------------------------------- directed walks


def test_an_aim_is_reached_and_never_passed() -> None:
    aimed = fixed(
        aim_params={"x": 2.0, "y": 0.7}, stop_n_inside_with_aim_params=2, n_iterations=500
    )
    result = aimed.run([CENTRE, {"x": 2.2, "y": 1.0}], particles=8)
    frame: Any = result.particles_frame()
    assert set(frame["status"]) == {"aim reached"}
    assert set(frame["reason"]) == {"2 inside points with all aims reached"}
    assert (frame["distance_to_aim"] <= 2e-4).all()
    assert (frame["iterations"] < 500).all()
    unit, aim = result.unit_states, np.array([0.75, 0.35])
    distance = np.abs(unit - aim)
    assert (np.nan_to_num(np.diff(distance, axis=0)) <= 1e-12).all()
    start = np.array([[0.5, 0.5]] * 8 + [[0.8, 0.5]] * 8)
    sides = np.sign(start - aim) * (unit - aim)
    assert np.nanmin(sides) > -1e-12
    # Later states are missing, and no diagnostics are made of them.
    assert np.isnan(result.states[-1]).all()
    with pytest.raises(ConfigurationError, match="None of 16 particles"):
        result.diagnostics()


@pytest.mark.slow
def test_a_walk_whose_seed_point_is_at_the_aim_stays_there() -> None:
    result = fixed(aim_params={"x": 1.0}, stop_n_inside_with_aim_params=5).run(CENTRE, particles=2)
    assert result.status == ("aim reached",) * 2
    np.testing.assert_array_equal(result.states[:5, :, 0][~np.isnan(result.states[:5, :, 0])], 1.0)


def test_a_walk_that_does_not_reach_its_aim_says_why() -> None:
    # The corner is outside of the region.
    result = fixed(aim_params={"x": 3.0, "y": 2.0}, n_iterations=60).run(CENTRE, particles=4)
    frame: Any = result.particles_frame()
    assert set(frame["status"]) == {"finished"}
    assert (frame["iterations"] == 60).all()
    for reason, distance in zip(frame["reason"], frame["distance_to_aim"], strict=True):
        assert f"60 iterations ended {distance:.3g} of the box away" in reason
        assert "points on the way were outside the region" in reason
    assert (frame["distance_to_aim"] > 0.05).all()
    assert 0.0 < result.diagnostics().acceptance[0] < 1.0


@pytest.mark.slow
def test_the_walk_goes_on_at_its_aim_when_nothing_stops_it() -> None:
    result = fixed(aim_params={"x": 1.8}).run(CENTRE, particles=2)
    assert result.status == ("finished",) * 2
    np.testing.assert_allclose(result.states[-1, :, 0], 1.8, atol=4e-4)
    assert (np.diff(result.states[-9:, :, 1], axis=0) != 0).any()


EVERYWHERE = FeatureEvaluator(lambda values: {"one": 1.0 + 0.0 * values["x"]}, SQUARE, chunk=16)
ALL = (Constraint("one", upper=2.0),)


@pytest.mark.parametrize("kernel", ["redraw", pytest.param("hit_and_run", marks=pytest.mark.slow)])
def test_a_corner_stalls_a_walk_outwards_and_never_hangs_it(kernel: str) -> None:
    options: dict[str, Any] = {} if kernel == "hit_and_run" else {"max_step_size": 0.1}
    given = RandomWalk(
        EVERYWHERE,
        ALL,
        kernel=kernel,
        mode="expand",
        n_iterations=10**5,
        max_suggestions=500,
        **options,
    )
    result = given.run(CENTRE, particles=8)
    frame: Any = result.particles_frame()
    assert set(frame["status"]) == {"stalled"}
    assert set(frame["reason"]) == {
        "none of 500 suggestions in a row was in the search box and further from the seed point"
    }
    assert (frame["iterations"] < 10**5).all()
    assert (frame["suggestions"] >= 500).all()
    # Each particle went outwards only, into a corner; no bracket holds a point that is further.
    distance = np.linalg.norm(result.unit_states - 0.5, axis=-1)
    further = np.nan_to_num(np.diff(distance, axis=0), nan=1.0)
    assert (further > 0).all() if kernel == "redraw" else (further >= 0).all()
    assert np.nanmax(distance, axis=0).min() > 0.6
    assert sum(result.to_frame()["multiplicity"].tolist()) == int(np.isfinite(distance).sum())


# ---------------------------------------------------------------------- results


def assert_frame_agrees(result: WalkResult, frame: Any, thin: int) -> None:
    """Repeat every row as often as it says and compare with the dense states."""
    for (seed, particle), rows in frame.groupby(["seed_point", "particle"]):
        lane = seed * result.particles + particle
        times = rows["multiplicity"].to_numpy()
        path = np.repeat(rows[["x", "y"]].to_numpy(), times, axis=0)
        np.testing.assert_array_equal(path, result.states[: len(path), lane])
        assert np.isnan(result.states[len(path) :, lane]).all()
        begins = np.cumsum(times) - times
        assert (rows["iteration"] == thin * (begins + 1)).all()
        assert (np.diff(rows["suggestions"]) > 0).all()
        wave = np.repeat(np.stack(rows["wave"].tolist()), times, axis=0)
        np.testing.assert_array_equal(wave, result.feature("wave")[: len(path), lane])


@pytest.mark.parametrize(
    "options",
    [{}, {"thin": 3}, {"aim_params": {"x": 2.0}, "stop_n_inside_with_aim_params": 1}],
    ids=["all", "thinned", "stopped early"],
)
def test_memory_files_and_xarray_hold_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    given = fixed(checkpoint_every=12, concat_every_n_save=2, **options)
    seeds = [CENTRE, {"x": 1.5, "y": 0.9}]
    kept = given.run(seeds, particles=2)
    written = given.run(seeds, particles=2, directory=tmp_path)
    np.testing.assert_array_equal(written.states, kept.states)
    pd.testing.assert_frame_equal(written.particles_frame(), kept.particles_frame())
    thin = options.get("thin", 1)
    assert_frame_agrees(kept, kept.to_frame(), thin)
    assert_frame_agrees(kept, written.to_frame(), thin)
    assert list(kept.to_frame()) == list(written.to_frame())
    assert kept.to_frame().dtypes.equals(written.to_frame().dtypes)
    # A stay in memory ends where the particle moves, in files at a checkpoint too.
    assert len(kept.to_frame()) <= len(written.to_frame())
    expanded = WalkArchive.read(tmp_path).to_xarray()
    length = expanded.sizes["iteration"]
    assert expanded["iteration"].to_numpy().tolist() == [thin * (i + 1) for i in range(length)]
    for i, name in enumerate("xy"):
        np.testing.assert_array_equal(expanded[name].to_numpy(), kept.states[:length, :, i])
    assert np.isnan(kept.states[length:]).all()
    np.testing.assert_array_equal(expanded["radius"].to_numpy(), kept.feature("radius")[:length])


def test_a_result_without_states_has_frames_all_the_same(tmp_path: Path) -> None:
    for directory in (None, tmp_path):
        result = fixed(thin=50).run(CENTRE, particles=2, directory=directory)
        assert len(result.to_frame()) == 0
        assert result.particles_frame()["iterations"].tolist() == [40, 40]
        assert result.states.shape == (0, 2, 2)


def test_an_unknown_feature_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no feature 'amplitude'; it has 'nested.count'"):
        fixed().run(CENTRE).feature("amplitude")


# ---------------------------------------------------------------------- the directory


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 3}, "seed is 0 there and 3 here"),
        ({"max_step_size": 0.4}, "max_step_size is 0.3 there and 0.4 here"),
        ({"thin": 2}, "thin is 1 there and 2 here"),
        ({"kernel": "redraw"}, 'kernel is "self_loop" there'),
    ],
)
def test_another_walk_in_the_same_directory_is_refused(
    other: dict[str, Any], named: str, tmp_path: Path
) -> None:
    fixed(n_iterations=3).run(CENTRE, directory=tmp_path)
    with pytest.raises(ConfigurationError, match=named):
        fixed(n_iterations=3, **other).run(CENTRE, directory=tmp_path)
    with pytest.raises(ConfigurationError, match="particles is 1 there and 2 here"):
        fixed(n_iterations=3).run(CENTRE, particles=2, directory=tmp_path)
    with pytest.raises(ConfigurationError, match="seed_points"):
        fixed(n_iterations=3).run({"x": 1.1, "y": 1.0}, directory=tmp_path)


def test_checkpoints_by_time_win_over_counts(tmp_path: Path) -> None:
    fixed(checkpoint_every=5, checkpoint_by_time=60.0).run(CENTRE, directory=tmp_path / "rarely")
    fixed(checkpoint_every=5, checkpoint_by_time=1e-9).run(CENTRE, directory=tmp_path / "often")
    assert len(WalkArchive.read(tmp_path / "rarely").shards) == 1
    # No count delays them: the clock is looked at after each iteration.
    assert len(WalkArchive.read(tmp_path / "often").shards) == 40


def test_a_directory_that_holds_more_gives_what_was_asked_for(tmp_path: Path) -> None:
    for thin in (1, 3):
        given = fixed(n_iterations=40, thin=thin, checkpoint_every=30)
        given.run(CENTRE, particles=4, directory=tmp_path / str(thin))
        for end in (40, 31, 20, 2):
            shorter = dataclasses.replace(given, n_iterations=end)
            kept = shorter.run(CENTRE, particles=4)
            found = shorter.run(CENTRE, particles=4, directory=tmp_path / str(thin))
            np.testing.assert_array_equal(found.states, kept.states)
            frame = found.to_frame()
            assert frame["multiplicity"].to_numpy().sum() == 4 * (end // thin)
            assert_frame_agrees(kept, frame, thin)
            assert found.particles_frame()["reason"].tolist() == ["40 iterations done"] * 4


def test_a_warm_up_that_learns_nothing_only_goes_ahead() -> None:
    after = fixed(n_iterations=10, warm_up=30).run(CENTRE, particles=3)
    np.testing.assert_array_equal(
        after.states, fixed(n_iterations=40).run(CENTRE, particles=3).states[30:]
    )
    assert after.particles_frame()["iterations"].tolist() == [10] * 3
    chords = walk(kernel="hit_and_run", n_iterations=10, warm_up=30).run(CENTRE, particles=3)
    longer = walk(kernel="hit_and_run", n_iterations=40).run(CENTRE, particles=3)
    np.testing.assert_array_equal(chords.states, longer.states[30:])


class TestTicksThatAreUsedUp:
    def test_more_iterations_than_ticks_are_refused_before_the_walk(self) -> None:
        long = fixed(n_iterations=2**31 - 10, warm_up=100)
        with pytest.raises(ConfigurationError, match="2147483738 together.*at most 2147483647"):
            long.run(CENTRE)

    @pytest.mark.parametrize("in_files", [False, True])
    def test_a_particle_that_runs_out_of_them_says_where(
        self, in_files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(expedition, "_MOST_TICKS", 50)
        given = walk(kernel="hit_and_run", n_iterations=45, checkpoint_every=5)
        message = r"Particle \d of seed point 0 was at iteration [1-4]\d? of 45 .* made 50 groups"
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=message):
                given.run(CENTRE, particles=4, directory=tmp_path if in_files else None)


# ---------------------------------------------------------------------- seed points


def test_a_seed_point_outside_fails_with_the_features_that_are() -> None:
    constraints = (
        Constraint("radius", upper=0.5),
        Constraint("wave", lower=-5.0, upper=2.5),
    )
    given = RandomWalk(ROUND, constraints, n_iterations=5, max_step_size=0.1)
    with pytest.raises(SeedPointOutside) as caught:
        given.run([CENTRE, {"x": 2.9, "y": 1.0}])
    message = str(caught.value)
    assert "x=2.9, y=1.0" in message
    assert "'radius' at most 0.5 (found 0.95)" in message
    assert "'wave' between -5 and 2.5 (found an array of (2,))" in message
    with pytest.raises(SeedPointOutside) as caught:
        given.run({"x": 2.2, "y": 1.0})
    assert "'wave'" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "at least one row of x, y"),
        (np.ones((2, 3)), "at least one row of x, y"),
        (np.ones((1, 2, 2)), "at least one row"),
        ({"x": 1.0}, "missing y"),
        ({"x": 1.0, "y": 5.0}, "y"),
        ({"x": 1.0, "y": math.nan}, "y"),
        ([[1.0, math.inf]], "y = inf is not between 0 and 2"),
        ([[math.nan, 1.0]], "x = nan is not between -1 and 3"),
        ("here", "no table of numbers"),
        (None, "row"),
    ],
)
def test_seed_points_that_are_none_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        fixed().run(given)


def test_seed_points_between_whole_numbers_are_refused() -> None:
    space = ParameterSpace(
        [Parameter("n", lower=1, upper=5, integer=True), Parameter("c", choices=["a", "b"])]
    )
    evaluator = FeatureEvaluator(lambda values: values["n"] + values["c"], space)
    given = RandomWalk(evaluator, (Constraint("features", upper=9.0),), n_iterations=2)
    for theta, name in (([2.5, 0.0], "n = 2.5"), ([2.0, 0.5], "c = 0.5")):
        with pytest.raises(ParameterError, match=f"{name} is no whole number"):
            given.run(theta)


# ---------------------------------------------------------------------- kinds of parameters


def test_parameters_that_are_not_explored_stay_exactly_where_they_are() -> None:
    seeds = [{"x": 0.1 + 0.2, "y": 1.0}, {"x": 1.0 / 3.0, "y": 1.1}]
    result = walk(params_to_explore=("y",), kernel="reflect", max_step_size=0.2).run(
        seeds, particles=2
    )
    for lane in range(4):
        assert set(result.states[:, lane, 0]) == {seeds[lane // 2]["x"]}
        assert len(set(result.states[:, lane, 1])) > 5
    assert result.unit_states.shape == (40, 4, 1)
    assert set(result.to_frame()["x"]) == {0.1 + 0.2, 1.0 / 3.0}


def test_every_scale_and_kind_of_parameter_is_sampled_evenly() -> None:
    space = ParameterSpace(
        [
            Parameter("rate", lower=1e-3, upper=10.0, log_scale=True),
            Parameter("count", lower=2, upper=6, integer=True),
            Parameter("kind", choices=["a", "b", "c"]),
            Parameter("gap", fixed=1.5),
        ]
    )
    evaluator = FeatureEvaluator(
        lambda v: {"product": v["rate"] * v["count"] * v["gap"], "kind": v["kind"]},
        space,
        chunk=64,
    )
    given = RandomWalk(
        evaluator,
        (Constraint("product", upper=1e3),),
        kernel="reflect",
        n_iterations=4000,
        max_step_size=1.0,
        thin=20,
    )
    result = given.run({"rate": 0.1, "count": 3, "kind": "b"}, particles=64)
    rate, count, kind = result.states[20:].reshape(-1, 3).T
    number = len(rate)
    decades = np.histogram(np.log10(rate), bins=8, range=(-3.0, 1.0))[0]
    for counts in (decades, np.bincount(count.astype(int))[2:], np.bincount(kind.astype(int))):
        share = 1 / len(counts)
        error = np.sqrt(share * (1 - share) / number)
        np.testing.assert_allclose(counts / number, share, atol=6 * error)
    assert set(count) == {2.0, 3.0, 4.0, 5.0, 6.0}
    assert set(kind) == {0.0, 1.0, 2.0}
    assert rate.min() >= 1e-3
    assert rate.max() <= 10.0
    np.testing.assert_allclose(
        result.feature("product")[-1], result.states[-1, :, 0] * result.states[-1, :, 1] * 1.5
    )


def test_linear_constraints_of_the_space_hold_for_every_state() -> None:
    space = ParameterSpace(SQUARE.parameters, constraints=["x + 2*y <= 3.1"])
    evaluator = FeatureEvaluator(lambda v: {"gap": jnp.sqrt(3.2 - v["x"] - 2 * v["y"])}, space)
    given = RandomWalk(
        evaluator, (Constraint("gap", upper=9.0),), n_iterations=300, max_step_size=0.5
    )
    result = given.run(CENTRE, particles=16)
    used = result.states @ [1.0, 2.0]
    assert used.max() <= 3.1 * (1 + 1e-8)
    assert used.max() > 3.0
    # Proposals beyond are not even evaluated.
    frame: Any = result.particles_frame()
    assert frame["nonfinite"].sum() == 0
    assert (frame["evaluations"] < 300).all()
    with pytest.raises(SeedPointOutside, match=r"1.0 \* x \+ 2.0 \* y <= 3.1 does not hold"):
        given.run({"x": 1.2, "y": 1.0})


# ---------------------------------------------------------------------- simulators


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        ("reflect", "float32"),
        *(
            pytest.param(kernel, dtype, marks=pytest.mark.slow)
            for kernel in ("reflect", "redraw", "self_loop", "hit_and_run")
            for dtype in ("float64", "float32")
            if (kernel, dtype) != ("reflect", "float32")
        ),
    ],
)
def test_the_simulator_never_sees_a_point_outside_the_box(kernel: str, dtype: str) -> None:
    bounds = {"a": (0.1, 0.3), "b": (-0.7, 0.1)}
    space = ParameterSpace([Parameter(n, lower=b[0], upper=b[1]) for n, b in bounds.items()])

    def faces(values: dict[str, Any]) -> dict[str, Any]:
        kind = jnp.asarray(values["a"]).dtype.type
        gaps = [values[n] - kind(b[0]) for n, b in bounds.items()]
        gaps += [kind(b[1]) - values[n] for n, b in bounds.items()]
        return {"depth": sum(jnp.sqrt(gap) for gap in gaps)}

    evaluator = FeatureEvaluator(faces, space, dtype=dtype)
    given = RandomWalk(
        evaluator,
        (Constraint("depth", upper=9.0),),
        kernel=kernel,
        n_iterations=500,
        max_step_size=1.0,
    )
    # The corners themselves are in the box.
    corners = [{"a": a, "b": b} for a in bounds["a"] for b in bounds["b"]]
    result = given.run(corners, particles=8)
    assert np.isfinite(result.feature("depth")).all()
    assert not any(result.particles_frame()["nonfinite"].tolist())


def test_features_that_are_no_numbers_are_outside_and_counted() -> None:
    def half(values: dict[str, Any]) -> dict[str, Any]:
        return {"root": jnp.sqrt(values["x"] - 0.5), "inverse": 1.0 / (values["y"] > 0.5)}

    evaluator = FeatureEvaluator(half, SQUARE, chunk=16)
    constraints = (
        Constraint("root", upper=9.0),
        Constraint("inverse", upper=9.0),
    )
    given = RandomWalk(
        evaluator, constraints, n_iterations=200, max_step_size=0.5, kernel="reflect"
    )
    result = given.run(CENTRE, particles=16)
    assert (result.states >= 0.5).all()
    frame: Any = result.particles_frame()
    rejected = frame["evaluations"] - frame["acceptance"] * frame["iterations"]
    np.testing.assert_allclose(frame["nonfinite"], rejected)
    assert frame["nonfinite"].min() > 10
    assert result.diagnostics().nonfinite == frame["nonfinite"].sum()


@pytest.mark.slow
def test_a_stochastic_simulator_has_new_noise_for_each_evaluation() -> None:
    evaluator = FeatureEvaluator(noisy_radius, SQUARE, chunk=16, stochastic=True)
    result = walk(evaluator, max_step_size=0.05, n_iterations=100).run(CENTRE, particles=16)
    exact = np.linalg.norm((result.states - 1.0) / [2.0, 1.0], axis=-1)
    frame: Any = result.to_frame()
    noise = (result.feature("radius") / exact)[result.violations < 0]
    assert 0.9 <= noise.min() < 0.91
    assert 1.09 < noise.max() <= 1.1
    assert len(np.unique(noise)) > 0.9 * len(frame)


def test_linear_algebra_in_many_lanes_does_not_hang() -> None:
    def solved(values: dict[str, Any]) -> dict[str, Any]:
        matrix = jnp.eye(8) * (2.0 + values["x"]) + 0.1 * values["y"]
        return {"sum": jnp.linalg.solve(matrix, jnp.arange(8.0)).sum()}

    given = RandomWalk(
        FeatureEvaluator(solved, SQUARE, chunk=64),
        (Constraint("sum", lower=-1e3, upper=1e3),),
        n_iterations=60,
        max_step_size=0.3,
    )
    result = given.run(CENTRE, particles=500)
    found = given.evaluator.model_features(result.states[-1])
    np.testing.assert_allclose(result.feature("sum")[-1], found["sum"], rtol=1e-9)


@dataclasses.dataclass
class Scaled:
    """A simulator that cannot be hashed."""

    scales: np.ndarray

    def __call__(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"size": jnp.sum(jnp.abs(values["x"] * jnp.asarray(self.scales)))}


def test_a_simulator_may_hold_arrays() -> None:
    sizes = []
    for scale in (1.0, 2.0):
        evaluator = FeatureEvaluator(Scaled(np.full(3, scale)), SQUARE, chunk=4)
        given = RandomWalk(
            evaluator, (Constraint("size", upper=9.0),), n_iterations=9, max_step_size=0.1
        )
        result = given.run(CENTRE)
        np.testing.assert_allclose(
            result.feature("size"), 3 * scale * np.abs(result.states[:, :, 0])
        )
        sizes.append(result.feature("size"))
    assert (sizes[0] != sizes[1]).all()


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "gibbs"}, "kernel is 'gibbs'"),
        ({"kernel": ["reflect"]}, "kernel is "),
        ({"n_iterations": 0}, "n_iterations is 0"),
        ({"n_iterations": 2.5}, "n_iterations is 2.5"),
        ({"n_iterations": True}, "n_iterations is True"),
        ({"n_iterations": 2**31}, "n_iterations is 2147483648"),
        ({"min_step_size": -0.1}, "min_step_size is -0.1"),
        ({"max_step_size": math.nan}, "max_step_size is nan"),
        ({"max_step_size": "far"}, "max_step_size is 'far'"),
        ({"max_step_size": 0.0}, "max_step_size is 0.0"),
        ({"min_step_size": 0.2, "max_step_size": 0.1}, "with a min_step_size of 0.2"),
        ({"step_ratio": 1.5}, "step_ratio is 1.5"),
        ({"step_ratio": "half"}, "step_ratio is 'half'"),
        ({"mode": "contract"}, "mode is 'contract'"),
        ({"aim_params": {"z": 1.0}}, "aim_params names 'z'"),
        ({"aim_params": {"x": 9.0}}, "The aim x = 9.0 lies outside its range"),
        ({"aim_params": {"x": math.nan}}, "aim_params has x = nan"),
        ({"aim_params": {"x": "right"}}, "aim_params has x = 'right'"),
        ({"aim_params": 3}, "aim_params is 3"),
        ({"aim_params": {"x": 1.0}, "params_to_explore": ("y",)}, "aim_params names 'x'"),
        ({"aim_params": {"x": 1.0}, "kernel": "hit_and_run"}, "cannot be aimed"),
        ({"stop_n_inside_with_aim_params": 2}, "nothing is aimed at"),
        ({"aim_params": {"x": 1.0}, "stop_n_inside_with_aim_params": 0}, "is 0; give a positive"),
        ({"params_to_explore": ("z",)}, "params_to_explore holds 'z'"),
        ({"params_to_explore": ("x", "x")}, "a name twice"),
        ({"params_to_explore": ()}, "holds nothing"),
        ({"params_to_explore": 5}, "params_to_explore is 5"),
        ({"warm_up": -1}, "warm_up is -1"),
        ({"mode": "expand", "warm_up": 10}, "leave adapt and warm_up out"),
        ({"mode": "expand", "adapt": True}, "leave adapt and warm_up out"),
        ({"adapt": "yes"}, "adapt is 'yes'"),
        ({"target_acceptance": 1.0}, "target_acceptance is 1.0"),
        ({"target_acceptance": "high"}, "target_acceptance is 'high'"),
        ({"max_suggestions": 0}, "max_suggestions is 0"),
        ({"thin": 0}, "thin is 0"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0"),
        ({"checkpoint_by_time": 0}, "checkpoint_by_time is 0"),
        ({"checkpoint_by_time": "hourly"}, "checkpoint_by_time is 'hourly'"),
        ({"concat_every_n_save": 1}, "concat_every_n_save is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"kernel": "hit_and_run", "min_step_size": 0.1}, "hit_and_run has no smallest step"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        walk(**options)


def test_parts_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="give a FeatureEvaluator"):
        RandomWalk(radius, WITHIN, n_iterations=3)  # type: ignore[arg-type]
    for wrong, found in (((), "nothing"), (["radius"], "a str"), (3, "a int")):
        with pytest.raises(ConfigurationError, match=f"constraints hold {found}"):
            RandomWalk(ROUND, wrong, n_iterations=3)  # type: ignore[arg-type]
    for particles in (0, 1.5, True):
        with pytest.raises(ConfigurationError, match="particles is"):
            fixed().run(CENTRE, particles=particles)  # type: ignore[arg-type]
