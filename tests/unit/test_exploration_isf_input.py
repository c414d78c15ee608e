"""RW refuses what it cannot use, names folders safely, and says what to do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ax_jax_runners.errors import (
    AxJaxError,
    ConfigurationError,
    InvalidFeatures,
    ParameterError,
    ResultNotStorable,
    SeedPointOutside,
)
from ax_jax_runners.exploration.isf import RW
from ax_jax_runners.exploration.isf.ranges import folder_name
from tests.unit.isf_walks import everything, ranges_of, rows_of, seeds_at, walk_of


def test_a_seed_point_outside_says_what_was_found(tmp_path: Path) -> None:
    walk = walk_of(2, tmp_path, evaluation_function=lambda p: (False, {"ISI_mean": 12.5}))
    with pytest.raises(SeedPointOutside, match=r"returned False and \{'ISI_mean': 12.5\}"):
        walk.run_RW(0, 0, 0)
    assert not list((tmp_path / "0" / "0").glob("[!_]*"))
    # The folder is not spoilt for a function that is right.
    walk.evaluation_function = everything
    assert walk.run_RW(0, 0, 0).status == "completed"


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (None, InvalidFeatures, "NoneType None at the seed point"),
        (True, InvalidFeatures, "must return a pair"),
        ((True, 3.0), InvalidFeatures, "must be a dictionary"),
        ((1, {}), InvalidFeatures, "int 1 as its first value"),
        (("yes", {}), InvalidFeatures, "must be True or False"),
        ((None, {}), InvalidFeatures, "must be True or False"),
        ((np.array([True, True]), {}), InvalidFeatures, "must be True or False"),
        ((True, {"cell": object()}), ResultNotStorable, "for 'cell' at the seed point"),
        ((True, {"z": 1j}), ResultNotStorable, "for 'z'"),
    ],
)
def test_answers_that_cannot_be_used_are_refused(
    tmp_path: Path, answer: Any, error: type[AxJaxError], text: str
) -> None:
    with pytest.raises(error, match=text):
        walk_of(2, tmp_path, evaluation_function=lambda p: answer).run_RW(0, 0, 0)


def test_a_bad_answer_later_names_its_iteration(tmp_path: Path) -> None:
    answers = iter([(True, {}), (True, {}), (True, None)])
    with pytest.raises(InvalidFeatures, match="at iteration 2"):
        walk_of(2, tmp_path, evaluation_function=lambda p: next(answers)).run_RW(0, 0, 0)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"mode": "shrink"}, "mode 'shrink' is unknown"),
        ({"min_step_size": 0.1, "max_step_size": 0.05}, "is above max_step_size"),
        ({"max_step_size": math.nan}, "max_step_size is nan"),
        ({"min_step_size": -0.1}, "finite number of at least 0"),
        ({"n_iterations": 2.5}, "n_iterations is 2.5; give a whole number"),
        ({"n_iterations": -1}, "at least 0"),
        ({"checkpoint_every": 0}, "at least 1"),
        ({"checkpoint_by_time": -1.0}, "checkpoint_by_time"),
        ({"concat_every_n_save": "many"}, "concat_every_n_save is 'many'"),
        ({"max_suggestions": 0}, "max_suggestions"),
        ({"shard_format": "pickle"}, "shard_format 'pickle' is unknown"),
        ({"param_ranges": None}, "param_ranges is missing"),
        ({"params_to_explore": ["g0", "h"]}, "'h'.*among the rows of param_ranges"),
        ({"params_to_explore": ["g0", "g0"]}, "a name twice"),
        ({"aim_params": {"h": 1.0}}, "aim_params holds 'h'"),
        ({"aim_params": {"g0": math.nan}}, "aim_params: 'g0' is nan"),
        ({"aim_params": {"g1": 1.0}, "params_to_explore": ["g0"]}, "'g1', which is not explored"),
        ({"param_ranges": ranges_of(2).rename(columns={"min": "low"})}, "'min' and 'max'"),
        ({"param_ranges": ranges_of(2).assign(max=-9.0)}, "'g0': min -2.0 is not below max -9.0"),
        ({"param_ranges": ranges_of(2).assign(min=math.inf)}, "'g0' is inf"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_at_once(
    tmp_path: Path, changed: dict[str, Any], text: str
) -> None:
    with pytest.raises((ConfigurationError, ParameterError), match=text):
        walk_of(2, tmp_path, **changed)


@pytest.mark.parametrize("missing", ["df_seeds", "evaluation_function", "MAIN_DIRECTORY"])
def test_what_a_run_needs_is_asked_for(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{missing} is missing"):
        walk_of(2, tmp_path, **{missing: None}).run_RW(0, 0, 0)


@pytest.mark.parametrize("seed", [None, -1, 2**32, 0.5, "a", True])
def test_seeds_are_whole_numbers(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(ConfigurationError, match="seed is"):
        walk_of(2, tmp_path).run_RW(0, 0, seed)
    assert not list(tmp_path.iterdir())


def test_seed_points_are_found_by_position_or_label(tmp_path: Path) -> None:
    table = seeds_at([0.5, 0.5], [0.4, 0.6], [0.6, 0.4])

    def starts(index: Any, chosen: Any) -> int:
        walk = walk_of(2, tmp_path / str(index), df_seeds=table.set_axis(index), n_iterations=0)
        first = rows_of(walk.run_RW(chosen, 0, 0).directory).iloc[0]
        return table["g0"].tolist().index(first["g0"])

    assert starts([0, 1, 2], 1) == 1
    assert starts([2, 1, 0], np.int64(2)) == 2
    assert starts([5, 1, 0], 2) == 2
    assert starts([30, 10, 20], 10) == 1
    assert starts([30, 10, 20], 0) == 0
    assert starts(["a", "b", "c"], "c") == 2
    assert starts(["a", "b", "c"], 1) == 1
    assert starts([("x", 1), ("x", 2), ("y", 1)], ("y", 1)) == 2
    for index, chosen in [([1, 2, 3], 3), ([0, 1, 2], -1), (["a", "a", "b"], "a"), ("abc", "d")]:
        with pytest.raises(ConfigurationError, match="selected_seedpoint"):
            starts(list(index), chosen)


def test_seed_points_need_all_parameters_inside_their_ranges(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no column 'g1'"):
        walk_of(2, tmp_path, df_seeds=seeds_at([0.5, 0.5])[["g0"]]).run_RW(0, 0, 0)
    with pytest.raises(ParameterError, match="'g1' is nan"):
        walk_of(2, tmp_path, df_seeds=seeds_at([0.5, math.nan])).run_RW(0, 0, 0)
    with pytest.raises(ParameterError, match=r"'g1' is at 1\.25 of its range"):
        walk_of(2, tmp_path, df_seeds=seeds_at([0.5, 1.25])).run_RW(0, 0, 0)
    fixed = walk_of(
        2,
        tmp_path,
        df_seeds=seeds_at([0.5, 1.25]),
        params_to_explore=["g0"],
        evaluation_function=everything,
    )
    assert fixed.run_RW(0, 0, 0).status == "completed"


def test_columns_of_objects_are_read_as_numbers(tmp_path: Path) -> None:
    seen: list[pd.Series] = []
    walk = walk_of(
        2,
        tmp_path,
        df_seeds=seeds_at([0.5, 0.5]).astype(object).assign(name="best"),
        evaluation_function=lambda p: (seen.append(p) is None, {}),
        n_iterations=2,
    )
    walk.run_RW(0, 0, 0)
    assert [p.dtype for p in seen] == [np.float64] * 3


@pytest.mark.parametrize(
    "label", ["..", ".", "", "../../up", "/etc", "a/b", "a\\b", "x\0y", "n" * 300, "µ-Zelle", "a b"]
)
def test_labels_stay_below_the_main_directory(tmp_path: Path, label: str) -> None:
    main = tmp_path / "main"
    main.mkdir()
    walk = walk_of(2, main, df_seeds=seeds_at([0.5, 0.5]).set_axis([label]), n_iterations=3)
    outcome = walk.run_RW(label, label, 0)
    assert outcome.directory.resolve().parents[1] == main.resolve()
    assert [p.name for p in tmp_path.iterdir()] == ["main"]
    assert len(rows_of(outcome.directory)) == 4
    assert (rows_of(outcome.directory)["particle_id"] == label).all() or "\0" in label


@given(st.text(max_size=200), st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folder_names_are_single_and_distinct(one: str, other: str) -> None:
    name = folder_name(one)
    assert name not in {"", ".", ".."}
    assert not set(name) & set("/\\\0")
    assert len(name.encode()) <= 200
    assert (name == folder_name(other)) == (one == other)


def test_plain_labels_are_names_as_they_are() -> None:
    for label in (0, np.int64(17), "seed-3", "a.b_c"):
        assert folder_name(label) == str(label)


def test_parameters_for_the_box_come_as_a_named_series(tmp_path: Path) -> None:
    walk = RW(None, ranges_of(2))
    with pytest.raises(ParameterError, match="give a pandas Series"):
        walk._normalize_params(np.array([1.0, 2.0]))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="names among g0, g1"):
        walk._unnormalize_params(pd.Series({"g0": 1.0, "h": 2.0}))
    pinned = RW(None, ranges_of(2).assign(max=[-2.0, 6.5]), ["g1"])
    assert pinned._unnormalize_params(pd.Series({"g1": 0.0, "g0": 0.5})).tolist() == [-1.63, -2.0]
    walk = RW(None, ranges_of(2), aim_params={"g1": 1.0})
    with pytest.raises(ParameterError, match="The point has 3 values"):
        walk.assess_aim_params_reached(np.zeros(3))
    with pytest.raises(ParameterError, match="one for each of g0, g1"):
        walk.assess_aim_params_reached(pd.Series({"g0": 1.0}))
