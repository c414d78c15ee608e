"""RW follows its law number for number, and ends where it is told to."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ax_jax_runners.exploration import RW as EXPORTED
from ax_jax_runners.exploration.isf import RW, RWOutcome
from tests.unit.isf_walks import (
    ball,
    check_replay,
    everything,
    names_of,
    ranges_of,
    reference,
    rows_of,
    seeds_at,
    walk_of,
)


def in_ball(radius: float):
    return lambda z: bool(np.linalg.norm(z - 0.5) <= radius)


def unit_of(frame: pd.DataFrame, row: int = 0) -> np.ndarray:
    """A seed point in the unit box, as the original computes it."""
    table = ranges_of(frame.shape[1])
    low, high = table["min"].to_numpy(), table["max"].to_numpy()
    return (frame.to_numpy()[row] - low) / (high - low)


@pytest.mark.parametrize("shard_format", ["parquet", "npz"])
@pytest.mark.parametrize("dimension", [1, 2, 3, 9, 35])
def test_the_plain_walk_is_the_reference(tmp_path: Path, dimension: int, shard_format: str) -> None:
    radius = 0.1
    walk = walk_of(
        dimension,
        tmp_path,
        evaluation_function=ball(radius, dimension),
        min_step_size=0.01,
        max_step_size=0.08,
        shard_format=shard_format,
        n_iterations=150,
    )
    outcome = walk.run_RW(0, 0, 42)

    start = unit_of(walk.df_seeds)
    expected = reference(42, start, in_ball(radius), 150, steps=(0.01, 0.08))
    frame = rows_of(tmp_path / "0" / "0")
    check_replay(frame, expected, names_of(dimension))
    assert 0 < sum(good for _, good, _ in expected) < 150
    assert outcome == RWOutcome(
        status="completed",
        iterations=150,
        inside=sum(good for _, good, _ in expected),
        directory=tmp_path / "0" / "0",
        reason="All 150 iterations are done.",
    )


def test_a_walk_from_a_corner_draws_until_it_is_in_the_box(tmp_path: Path) -> None:
    seeds = seeds_at([0.0, 1.0, 0.0, 2e-4])
    walk = walk_of(4, tmp_path, df_seeds=seeds, evaluation_function=everything, n_iterations=200)
    walk.run_RW(0, 7, 3)

    expected = reference(3, unit_of(seeds), lambda z: True, 200)
    assert max(n for _, _, n in expected) > 8
    check_replay(rows_of(tmp_path / "0" / "7"), expected, names_of(4))


@pytest.mark.parametrize("dimension", [2, 5])
def test_expand_goes_strictly_outwards(tmp_path: Path, dimension: int) -> None:
    walk = walk_of(dimension, tmp_path, mode="expand", max_step_size=0.05, n_iterations=120)
    walk.run_RW(0, 0, 11)

    start = unit_of(walk.df_seeds)
    expected = reference(11, start, in_ball(0.3), 120, steps=(0.0, 0.05), expand=True)
    check_replay(rows_of(tmp_path / "0" / "0"), expected, names_of(dimension))
    radii = [np.linalg.norm(z - start) for z, good, _ in expected if good]
    assert (np.diff(radii) > 0).all()
    assert len(radii) < 120


def aim_walk(folder: Path, seed: int, **settings: object) -> tuple[RW, list]:
    """Two aims, one above and one below the seed point; steps as long as the tolerance."""
    aims = {"g2": (0.5 + 5e-3, 1), "g0": (0.5 - 3e-3, -1)}
    table = ranges_of(4)
    physical = {
        name: table["min"][name] + t * (table["max"][name] - table["min"][name])
        for name, (t, _) in aims.items()
    }
    walk = walk_of(
        4, folder, aim_params=physical, min_step_size=2e-4, max_step_size=2e-4, **settings
    )
    by_coordinate = {
        int(name[1]): (walk.normalized_aim_params[name], sign) for name, (_, sign) in aims.items()
    }
    expected = reference(
        seed, unit_of(walk.df_seeds), in_ball(0.3), 400, steps=(2e-4, 2e-4), aims=by_coordinate
    )
    return walk, expected


def test_aims_are_approached_by_the_law_and_then_kept(tmp_path: Path) -> None:
    walk, expected = aim_walk(tmp_path, 0, n_iterations=400, max_suggestions=10_000)
    outcome = walk.run_RW(0, 0, 0)

    assert outcome.status == "completed"
    frame = rows_of(tmp_path / "0" / "0")
    check_replay(frame, expected, names_of(4))
    last = walk._normalize_params(frame[names_of(4)].iloc[-1])
    assert walk.assess_aim_params_reached(last, 1e-4) == [True, True]
    assert walk.assess_aim_params_reached(last.to_numpy()) == [True, True]
    reached = [
        walk.assess_aim_params_reached(walk._normalize_params(p)) == [True, True]
        for _, p in frame[names_of(4)].iloc[1:].iterrows()
    ]
    count = sum(r and good for r, (_, good, _) in zip(reached, expected, strict=True))
    assert count > 50
    assert [p.name for p in (tmp_path / "0").glob("aim_params_successful_model_*")] == [
        f"aim_params_successful_model_{count}"
    ]


def test_the_walk_ends_at_the_wanted_number_of_points_at_the_aims(tmp_path: Path) -> None:
    walk, expected = aim_walk(tmp_path, 0, n_iterations=400, stop_n_inside_with_aim_params=3)
    outcome = walk.run_RW(0, 0, 0)

    assert outcome.status == "aims_reached"
    assert 3 < outcome.iterations < 400
    frame = rows_of(outcome.directory)
    check_replay(frame, expected[: outcome.iterations], names_of(4))
    at_aims = [
        all(walk.assess_aim_params_reached(walk._normalize_params(p)))
        for _, p in frame[frame.inside][names_of(4)].iterrows()
    ]
    assert sum(at_aims) == 3
    assert (tmp_path / "0" / "aim_params_successful_model_3").is_file()
    assert walk.run_RW(0, 0, 0) == outcome


def test_particles_of_one_seed_point_share_the_count(tmp_path: Path) -> None:
    first, _ = aim_walk(tmp_path, 0, n_iterations=400, stop_n_inside_with_aim_params=2)
    assert first.run_RW(0, 0, 0).status == "aims_reached"
    second, _ = aim_walk(tmp_path, 0, n_iterations=400, stop_n_inside_with_aim_params=5)
    assert second.run_RW(0, "b", 0).status == "aims_reached"

    found = [p.name for p in (tmp_path / "0").glob("aim_params_successful_model_*")]
    assert found == ["aim_params_successful_model_5"]
    # Enough were found before this particle begins.
    late = second.run_RW(0, "c", 1)
    assert (late.status, late.iterations) == ("aims_reached", 0)


def test_an_aim_that_was_overshot_stalls_and_says_so(tmp_path: Path) -> None:
    table = ranges_of(3)
    aim = float(table["min"]["g1"] + 0.55 * (table["max"]["g1"] - table["min"]["g1"]))
    ends = []
    for seed in range(8):
        walk = walk_of(
            3,
            tmp_path,
            aim_params={"g1": aim},
            evaluation_function=everything,
            n_iterations=300,
            max_suggestions=300,
        )
        outcome = walk.run_RW(0, seed, seed)
        expected = reference(
            seed,
            unit_of(walk.df_seeds),
            lambda z: True,
            300,
            aims={1: (walk.normalized_aim_params["g1"], 1)},
            most=300,
        )
        check_replay(rows_of(outcome.directory), expected, names_of(3))
        ends.append(outcome)
    stalled = [end for end in ends if end.status == "stalled"]
    assert stalled
    assert "'g1'" in stalled[0].reason
    assert "300 suggestions" in stalled[0].reason
    manifest = json.loads((stalled[0].directory / "_manifest.json").read_text())["manifest"]
    assert manifest["status"] == "stalled"
    assert manifest["reason"] == stalled[0].reason


def test_expand_in_a_corner_stalls(tmp_path: Path) -> None:
    walk = walk_of(
        2,
        tmp_path,
        df_seeds=seeds_at([0.5, 0.5]),
        evaluation_function=everything,
        mode="expand",
        max_step_size=0.2,
        n_iterations=10_000,
        max_suggestions=200,
    )
    outcome = walk.run_RW(0, 0, 0)
    assert outcome.status == "stalled"
    assert "further from the seed point" in outcome.reason


def test_steps_longer_than_the_box_stall(tmp_path: Path) -> None:
    walk = walk_of(3, tmp_path, min_step_size=2.0, max_step_size=3.0, max_suggestions=50)
    outcome = walk.run_RW(0, 0, 0)
    assert (outcome.status, outcome.iterations) == ("stalled", 0)
    assert len(rows_of(outcome.directory)) == 1


def test_a_stalled_walk_goes_on_with_more_suggestions(tmp_path: Path) -> None:
    settings = {"df_seeds": seeds_at([0.0] * 6), "evaluation_function": everything}
    whole = walk_of(6, tmp_path / "whole", max_suggestions=10_000, **settings)
    assert whole.run_RW(0, 0, 5).status == "completed"
    parts = walk_of(6, tmp_path / "parts", max_suggestions=1, **settings)
    stalls = 0
    while parts.run_RW(0, 0, 5).status == "stalled":
        stalls += 1
        parts.max_suggestions += 1
    assert stalls > 3
    pd.testing.assert_frame_equal(
        rows_of(tmp_path / "whole" / "0" / "0"), rows_of(tmp_path / "parts" / "0" / "0")
    )


def test_all_parameters_at_their_aims_leave_nothing_to_draw(tmp_path: Path) -> None:
    seeds = seeds_at([0.5, 0.5])
    walk = walk_of(
        2, tmp_path, df_seeds=seeds, aim_params=seeds.iloc[0].to_dict(), max_suggestions=20
    )
    outcome = walk.run_RW(0, 0, 0)
    assert outcome.status == "stalled"
    assert "hold every explored parameter" in outcome.reason


def test_expand_and_aims_hold_for_the_same_draw(tmp_path: Path) -> None:
    walk = walk_of(3, tmp_path, mode="expand", n_iterations=40, max_suggestions=10_000)
    table = ranges_of(3)
    walk.aim_params = {"g1": float(table["min"]["g1"])}
    walk.run_RW(0, 0, 2)
    start = unit_of(walk.df_seeds)
    expected = reference(2, start, in_ball(0.3), 40, expand=True, aims={1: (0.0, -1)})
    check_replay(rows_of(tmp_path / "0" / "0"), expected, names_of(3))


@pytest.mark.parametrize("explored", [["g3", "g0"], ["g2"], ["g4", "g3", "g2", "g1", "g0"]])
def test_a_subset_moves_in_the_given_order_and_the_rest_stays(
    tmp_path: Path, explored: list[str]
) -> None:
    seeds = seeds_at([0.5, 0.4, 0.51, 0.45, 0.55])
    seen = []

    def evaluate(p: pd.Series) -> tuple[bool, dict[str, float]]:
        seen.append(p)
        return ball(0.13, 5)(p)

    walk = walk_of(
        5, tmp_path, df_seeds=seeds, params_to_explore=explored, evaluation_function=evaluate
    )
    walk.run_RW(0, 0, 9)

    places = [int(name[1]) for name in explored]
    origin = unit_of(seeds)

    def inside(z: np.ndarray) -> bool:
        whole = origin.copy()
        whole[places] = z
        return bool(np.linalg.norm(whole - 0.5) <= 0.13)

    expected = reference(9, origin[places], inside, 60)
    frame = rows_of(tmp_path / "0" / "0")
    check_replay(frame, expected, explored)
    for name in set(names_of(5)) - set(explored):
        assert (frame[name] == seeds[name][0]).all()
    assert all(p.index.tolist() == names_of(5) and p.dtype == np.float64 for p in seen)


def test_aims_go_by_name_when_parameters_are_reordered(tmp_path: Path) -> None:
    table = ranges_of(3)
    aim = {"g2": float(table["min"]["g2"] + 0.9 * (table["max"]["g2"] - table["min"]["g2"]))}
    walk = walk_of(3, tmp_path, params_to_explore=["g2", "g0"], aim_params=aim, n_iterations=25)
    walk.run_RW(0, 0, 4)
    start = unit_of(walk.df_seeds)[[2, 0]]
    target = walk.normalized_aim_params["g2"]
    expected = reference(
        4, start, lambda z: bool(np.linalg.norm(z - 0.5) <= 0.3), 25, aims={0: (target, 1)}
    )
    check_replay(rows_of(tmp_path / "0" / "0"), expected, ["g2", "g0"])
    point = pd.Series({"g0": 0.1, "g1": 0.2, "g2": 0.9})
    assert walk.assess_aim_params_reached(point, 1e-4) == [True]
    assert walk.assess_aim_params_reached(point[["g2", "g0"]].to_numpy(), 1e-4) == [True]
    assert walk.assess_aim_params_reached(point.to_numpy(), 1e-4) == [True]
    assert walk.assess_aim_params_reached(point[["g2", "g0"]].to_numpy() + 2e-4, 1e-4) == [False]
    assert walk.assess_aim_params_reached(point + 2e-4, tolerance=1e-3) == [True]


@pytest.mark.parametrize("n", [0, 1, 19, 20, 21, 77])
def test_exactly_the_wanted_number_of_points_is_evaluated(tmp_path: Path, n: int) -> None:
    calls = []

    def evaluate(p: pd.Series) -> tuple[bool, dict[str, float]]:
        calls.append(1)
        return True, {}

    walk = walk_of(2, tmp_path, evaluation_function=evaluate, n_iterations=n)
    outcome = walk.run_RW(0, 0, 1)
    assert (outcome.iterations, len(calls)) == (n, n + 1)
    assert walk.run_RW(0, 0, 1) == outcome
    assert len(calls) == n + 1
    assert rows_of(outcome.directory)["iteration"].tolist() == list(range(n + 1))


def test_walks_in_one_process_leave_each_other_and_the_global_stream_alone(tmp_path: Path) -> None:
    alone = walk_of(3, tmp_path / "alone")
    alone.run_RW(0, 0, 8)
    inner = walk_of(2, tmp_path / "inner", n_iterations=5)

    def evaluate(p: pd.Series) -> tuple[bool, dict[str, float]]:
        inner.n_iterations += 1
        inner.run_RW(0, 0, 8)
        np.random.random_sample()
        return ball(0.3, 3)(p)

    np.random.seed(123)
    outer = walk_of(3, tmp_path / "outer", evaluation_function=evaluate)
    outer.run_RW(0, 0, 8)
    after = np.random.random_sample()
    np.random.seed(123)
    assert after == np.random.random_sample(62)[-1]
    pd.testing.assert_frame_equal(
        rows_of(tmp_path / "alone" / "0" / "0"), rows_of(tmp_path / "outer" / "0" / "0")
    )


def test_the_settings_are_public_attributes(tmp_path: Path) -> None:
    walk = walk_of(3, tmp_path, aim_params={"g1": 0.5}, mode="expand")
    assert EXPORTED is RW
    assert walk.max_step_size == 0.02
    assert walk.min_step_size == 0
    assert walk.checkpoint_by_time is None
    assert walk.concat_every_n_save == 60
    assert walk.stop_n_inside_with_aim_params == -1
    assert walk.mode == "expand"
    assert walk.aim_params == {"g1": 0.5}
    assert walk.all_param_names == walk.params_to_explore == names_of(3)
    assert isinstance(walk.normalized_aim_params, pd.Series)
    table = ranges_of(3)
    expected = (0.5 - table["min"]["g1"]) / (table["max"]["g1"] - table["min"]["g1"])
    assert walk.normalized_aim_params["g1"] == expected
    assert RW(None, table).normalized_aim_params.empty
    assert RW(None, table).n_iterations == 60000
    p = pd.Series({"g0": 1.0, "g1": 0.5, "g2": 2.0})
    pd.testing.assert_series_equal(walk._unnormalize_params(walk._normalize_params(p)), p)
    assert walk._normalize_params(p)["g1"] == expected


def test_ranges_may_be_named_with_an_underscore(tmp_path: Path) -> None:
    plain = walk_of(2, tmp_path / "a")
    other = walk_of(
        2,
        tmp_path / "b",
        param_ranges=ranges_of(2).rename(columns={"min": "min_", "max": "max_"}),
    )
    assert plain.run_RW(0, 0, 0).inside == other.run_RW(0, 0, 0).inside
    pd.testing.assert_frame_equal(
        rows_of(tmp_path / "a" / "0" / "0"), rows_of(tmp_path / "b" / "0" / "0")
    )


def test_messages_of_level_info_are_well_formed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="ax_jax_runners"):
        walk_of(2, tmp_path, concat_every_n_save=2).run_RW(0, 0, 0)
    text = caplog.text
    for word in ("starts with seed 0", "checkpoint at iteration 20", "Merged 2", "completed"):
        assert word in text


def test_nan_counts_as_outside_and_other_truths_of_one_bit_are_read(tmp_path: Path) -> None:
    answers = [True, math.nan, np.bool_(True), np.array(False), np.float32("nan"), True]
    walk = walk_of(2, tmp_path, evaluation_function=lambda p: (answers.pop(0), {}), n_iterations=5)
    walk.run_RW(0, 0, 0)
    inside = rows_of(tmp_path / "0" / "0")["inside"]
    assert inside.tolist() == [True, False, True, False, False, True]
    assert inside.dtype == bool
