"""Loading from the original's files: what is chosen, what is refused, what is left alone.

Faults of the original: 3 (printing), 27 (files), 29 (missing files), 30 (Hessians), 31 and 32 (NaN
and ties), 33 (the last row), 34 (nothing feasible), 35 (misspelt metrics), 36 (each set), 37
(one set's parameters), 38 (load_or_init and load), 39 (formats), 40 (attempts).
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import (
    ConfigurationError,
    DataFileError,
    NoFeasibleArm,
    ParameterError,
    UnknownMetric,
)
from ax_jax_runners.strategies import (
    LOAD_METHODS,
    calc_hessian_from_loaded_params,
    get_objective_scalar,
    get_run_location,
    init_params,
    load,
    load_manually,
    load_or_init,
    load_result_array,
    retrieve_best,
)
from tests.unit.quantamm_files import FINGERPRINT, NAN, row, tabled, write

VALUES = {"initial_memory_length": 10.0, "initial_k_per_day": 20.0}
TRAIN = [[0.9, 0.8], [0.7, 0.7], [0.6, 0.95]]
TEST = [[-0.1, 0.1], [0.2, NAN], [0.1, -0.5]]


def place(path: Path, method: str, **options: Any) -> tuple[int, int | None]:
    found, member = load_manually(path, method, **options)
    return found["step"] // 10, member


def both(path: Path) -> Path:
    return write(path, tabled(train_objective=TRAIN, test_objective=TEST))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


def test_a_checkpoint_of_nan_does_not_win(path: Path) -> None:
    table = [[NAN, NAN], [0.2, 0.1], [NAN, 0.3], [float("inf"), 0.1]]
    for name in ("objective", "train_objective", "test_objective"):
        write(path, tabled(**{name: table}))
        assert place(path, f"best_{name}") == (2, 1)
        write(path, tabled(**{name: [[None, 0.1], [0.05, None]]}))  # type: ignore[list-item]
        assert place(path, f"best_{name}") == (0, 1)
        write(path, tabled(**{name: [[NAN], [NAN]]}))
        with pytest.raises(NoFeasibleArm, match="no checkpoint has a finite objective"):
            load_manually(path, f"best_{name}")


def test_checkpoint_and_set_are_chosen_together_and_the_earliest_of_equals(path: Path) -> None:
    for name in ("objective", "train_objective", "test_objective"):
        write(path, tabled(**{name: [[0.0, 1.0], [1.0, 0.0]]}))
        assert place(path, f"best_{name}") == (0, 1)
        write(path, tabled(**{name: [[0, 1], [2, 3], [5, 4], [9, 8]]}))
        assert place(path, f"best_{name}") == (3, 0)


def test_the_last_checkpoint_has_a_best_set_of_its_own(path: Path) -> None:
    for name in ("objective", "train_objective", "test_objective"):
        write(path, tabled(**{name: [[9.0, 8.0, 7.0], [0.1, 0.3, NAN]]}))
        assert place(path, f"best_{name}_of_last") == (1, 1)
        write(path, tabled(**{name: [[9.0], [NAN]]}))
        with pytest.raises(NoFeasibleArm):
            load_manually(path, f"best_{name}_of_last")
    assert place(path, "last") == (1, None)


def test_each_set_has_a_checkpoint_and_a_set_of_nan_none(path: Path) -> None:
    name = "best_train_objective_for_each_parameter_set"
    write(path, tabled(train_objective=[[0.1, 0.9, NAN], [0.5, 0.2, NAN], [0.5, NAN, NAN]]))
    for as_lists in (False, True):
        rows, members = load_manually(path, name, return_as_iterables=as_lists)
        assert [found["step"] for found in rows] == [10, 0]
        assert members == [0, 1]
    params, steps = retrieve_best(path, name, False, return_as_iterables=True)
    assert steps == [10, 0]
    assert [each["log_k"] for each in params] == [[1000.0, 1001.0], [10.0, 11.0]]
    with pytest.raises(ConfigurationError, match="chooses several checkpoints"):
        load(path, VALUES, 2, 0, load_method=name)
    write(path, tabled(train_objective=[[NAN]]))
    with pytest.raises(NoFeasibleArm, match="no set has a finite objective"):
        load_manually(path, name)


def test_one_objective_is_maximised_where_the_other_is_good_enough(path: Path) -> None:
    both(path)
    assert place(path, "best_train_min_test_objective") == (0, 1)
    assert place(path, "best_train_min_test_objective", min_test=0.15) == (1, 0)
    assert place(path, "best_test_min_train_objective") == (1, 0)
    assert place(path, "best_test_min_train_objective", min_test=0.75) == (0, 1)
    found, step = retrieve_best(path, "best_train_min_test_objective", False, 0.15)
    assert (found["log_k"], step) == ([1000.0, 1001.0], 10)
    assert load_manually(path, "best_train_min_test_objective", return_as_iterables=True)[1] == [1]
    for method in ("best_train_min_test_objective", "best_test_min_train_objective"):
        with pytest.raises(NoFeasibleArm, match=f"{method}.*at least 5; lower the minimum"):
            load_manually(path, method, min_test=5.0)
        with pytest.raises(ConfigurationError, match="least objective is nan"):
            load_manually(path, method, min_test=NAN)
    tied = {"train_objective": [[1.0], [1.0]], "test_objective": [[1.0], [1.0]]}
    write(path, tabled(**tied))
    assert place(path, "best_train_min_test_objective") == (0, 0)


def metrics(*sharpes: float) -> list[dict[str, float]]:
    return [{"sharpe": s, "return": -s} for s in sharpes]


def test_metrics_of_dictionaries_are_chosen_by_name(path: Path) -> None:
    rows = [
        row(0, 2, train_objective=metrics(0.1, 0.9), test_objective=metrics(0.5, 0.1)),
        # A metric that a later row lacks is no value there.
        row(10, 2, train_objective=[{"return": 2.0}, {"sharpe": 0.3}], test_objective=[]),
    ]
    write(path, rows)
    assert place(path, "best_train_objective", metric_key="sharpe") == (0, 1)
    assert place(path, "best_train_objective", metric_key="return") == (1, 0)
    assert place(path, "best_test_objective", metric_key="sharpe") == (0, 0)
    assert retrieve_best(path, "best_train_objective", False, metric_key="return")[1] == 10
    for method in LOAD_METHODS[2:]:
        if "test" in method or "train" in method:
            with pytest.raises(KeyError, match="No row has the metric 'sharp'.*return, sharpe"):
                load_manually(path, method, metric_key="sharp")
    with pytest.raises(UnknownMetric, match="No row has the objective 'objective'"):
        load_manually(path, "best_objective")
    single = [row(0, 1, train_objective={"sharpe": 1.0}), row(10, 1, train_objective=0.5)]
    write(path, single)
    assert place(path, "best_train_objective", metric_key="sharpe") == (0, 0)
    for first in (0.5, [0.5], [], None):
        write(path, [row(0, 1, train_objective=first), row(10, 1, train_objective=metrics(1.0))])
        assert place(path, "best_train_objective", metric_key="sharpe") == (1, 0)


def test_the_continuous_test_stands_for_the_test_in_every_row(path: Path) -> None:
    continuous = [{"continuous_test_sharpe": s} for s in (0.2, 0.4)]
    rows = [
        row(0, 2, train_objective=metrics(1.0, 1.0), test_objective=metrics(9.0, 0.0)),
        row(
            10,
            2,
            train_objective=metrics(0.5, 0.5),
            test_objective=metrics(0.1, -1.0),
            continuous_test_metrics=continuous,
        ),
    ]
    write(path, rows)
    assert place(path, "best_test_objective", metric_key="sharpe") == (1, 1)
    apart = {"metric_key": "sharpe", "use_continuous_test": False}
    assert place(path, "best_test_objective", **apart) == (0, 0)
    assert place(path, "best_train_min_test_objective", metric_key="sharpe") == (1, 0)
    assert place(path, "best_train_min_test_objective", **apart) == (0, 0)
    assert place(path, "best_test_objective_of_last", **apart) == (1, 0)
    assert retrieve_best(path, "best_test_objective", False, **apart)[1] == 0
    with pytest.raises(UnknownMetric, match="'continuous_test_return'"):
        load_manually(path, "best_test_objective", metric_key="return")
    write(path, [{**rows[1], "step": 0}, {**rows[0], "step": 10}])
    assert place(path, "best_test_objective", metric_key="sharpe") == (0, 1)
    with pytest.raises(NoFeasibleArm):
        load_manually(path, "best_test_objective_of_last", metric_key="sharpe")


def test_an_objective_is_a_number_or_a_metric() -> None:
    assert get_objective_scalar(0.25) == 0.25
    assert get_objective_scalar(jnp.float32(0.25)) == 0.25
    assert get_objective_scalar({"sharpe": 2}, "sharpe") == 2.0
    assert np.isnan(get_objective_scalar(None))
    with pytest.raises(KeyError, match="no metric 'returns_over_uniform_hodl'.*sharpe"):
        get_objective_scalar({"sharpe": 2})
    for given in ([0.1, 0.2], "0.1", np.ones(2)):
        with pytest.raises(DataFileError, match="which is no number"):
            get_objective_scalar(given)


def test_files_that_are_not_there_or_hold_something_else_are_refused(path: Path) -> None:
    readers = [
        lambda: load_manually(path),
        lambda: load_result_array(path),
        lambda: retrieve_best(path, "last", False),
        lambda: load(path, VALUES, 2, 0),
    ]
    for read in readers:
        with pytest.raises(FileNotFoundError, match="There is no file"):
            read()
    for text in ("", "[]", json.dumps("[]"), json.dumps([{}]), json.dumps([{}, 1]), "{"):
        path.write_text(text)
        for read in readers:
            with pytest.raises(DataFileError, match="no JSON|at least one row"):
                read()
    write(path, [row(0, 1, objective=["good"])])
    with pytest.raises(DataFileError, match="'objective' holds 'good'"):
        load_manually(path, "best_objective")
    path.write_text(json.dumps([FINGERPRINT, *tabled(objective=[[1.0], [2.0]])]))
    assert place(path, "best_objective") == (1, 0)


def test_there_is_no_other_method(path: Path) -> None:
    both(path)
    for read in (
        lambda: load_manually(path, "best"),
        lambda: retrieve_best(path, "best", False),
        lambda: load(path, VALUES, 2, 0, load_method="best"),
    ):
        with pytest.raises(NotImplementedError, match="no load method 'best'; the methods are"):
            read()


def test_the_rows_of_the_latest_attempt_count(path: Path) -> None:
    begun_again = [
        row(0, 1, objective=[1.0]),
        row(10, 1, objective=[9.0]),
        row(20, 1, objective=[2.0]),
        row(0, 1, objective=[3.0]),
        row(10, 1, objective=[4.0]),
    ]
    write(path, begun_again)
    assert load_result_array(path)[1] == [[3.0], [4.0]]
    found, _ = load_manually(path, "best_objective")
    assert (found["step"], found["objective"]) == (10, [4.0])
    gone_on = [*begun_again[:3], row(10, 1, objective=[5.0]), row(20, 1, objective=[0.0])]
    write(path, gone_on)
    assert load_result_array(path)[1] == [[1.0], [5.0], [0.0]]
    unnumbered = [{"log_k": [[float(i)]], "objective": [float(-i)]} for i in range(3)]
    write(path, unnumbered)
    assert retrieve_best(path, "best_objective", False) == ({"log_k": [0.0]}, 0)


def test_a_result_array_has_a_value_of_every_checkpoint(path: Path) -> None:
    both(path)
    fingerprint, values = load_result_array(str(path), "train_objective")
    assert fingerprint == FINGERPRINT
    assert values == TRAIN
    with pytest.raises(KeyError, match="Step 0 .* has no 'objective'; it has"):
        load_result_array(path)


def test_parameters_of_one_set_come_without_anything_else(path: Path) -> None:
    nested = [{"log_k": [[1.0], [2.0]], "subsidary_params": []}]
    rows = tabled(train_objective=TRAIN, test_objective=TEST)
    for each in rows:
        each.update(subsidary_params=nested, validation_metrics=[{}, {}])
        del each["local_learning_rate"]
    write(path, rows)
    params, step = retrieve_best(path, "best_train_objective", False)
    assert step == 20
    assert params == {
        "log_k": [2010.0, 2011.0],
        "logit_lamb": [4.0, 5.0],
        "subsidary_params": [{"log_k": [2.0], "subsidary_params": []}],
    }
    params, step = retrieve_best(path, "last", False)
    assert (params["log_k"], step) == ([2000.0, 2001.0], 20)
    listed, steps = retrieve_best(path, "last", False, return_as_iterables=True)
    assert (listed, steps) == ([params], [20])
    rows[2]["log_k"] = [1.0, 2.0, 3.0]
    write(path, rows)
    with pytest.raises(DataFileError, match="'log_k' has no axis of the 2 sets"):
        retrieve_best(path, "best_train_objective", False)
    write(path, [{"log_k": [1.0, 2.0, 3.0], "objective": 0.5, "step": 7}])
    assert retrieve_best(path, "best_objective", False) == ({"log_k": [1.0, 2.0, 3.0]}, 7)


def cubes(params: dict[str, Any]) -> jax.Array:
    assert set(params) == {"log_k", "logit_lamb", "subsidary_params"}
    nested = sum((jnp.sum(each["k"] ** 2) for each in params["subsidary_params"]), start=0.0)
    return (
        jnp.sum(params["log_k"] ** 3) / 6
        + params["log_k"].sum() * params["logit_lamb"].sum()
        + nested
    )


def test_hessians_are_those_of_a_given_function_of_the_parameters(path: Path) -> None:
    rows = tabled(train_objective=[[0.1, 0.3]], test_objective=[[0.1, 0.3]])
    rows[0]["subsidary_params"] = [{"k": [1.0, 2.0], "step": 3}]
    exact = calc_hessian_from_loaded_params(rows[0], cubes)
    assert exact == pytest.approx(sum(sum(line) for line in rows[0]["log_k"]) + 4.0)
    given = calc_hessian_from_loaded_params(
        rows[0], cubes, hessian_trace=lambda params, function: function(params) * jnp.ones(2)
    )
    assert given.shape == (2,)
    write(path, rows)
    before = path.read_bytes()

    def trace(params: dict[str, Any]) -> Any:
        return calc_hessian_from_loaded_params(params, cubes)

    found, _ = load_manually(path, "best_train_objective", True, hessian_trace=trace)
    assert found["hessian_trace"] == pytest.approx(exact)
    assert load_manually(path)[0]["hessian_trace"] == [0.0, 0.0]
    fingerprint, traces = load_result_array(path, "hessian_trace", True, hessian_trace=trace)
    assert traces == [pytest.approx(exact)]
    assert "hessian_trace" not in fingerprint
    assert path.read_bytes() == before
    for read in (
        lambda: load_manually(path, "last", True),
        lambda: load_result_array(path, recalc_hess=True),
        lambda: retrieve_best(path, "last", True),
    ):
        with pytest.raises(ConfigurationError, match="recalc_hess needs the function"):
            read()


def test_a_loaded_checkpoint_is_completed_and_its_file_left_alone(path: Path) -> None:
    both(path)
    before = path.read_bytes()
    params, member = load(path, VALUES, 2, 0, 60, "best_train_objective", 2)
    assert member == 1
    assert params["log_k"].tolist() == [[2000.0, 2001.0], [2010.0, 2011.0]]
    assert all(isinstance(params[name], jax.Array) for name in ("log_k", "raw_width", "step"))
    initial = init_params(VALUES, 2, n_parameter_sets=2)
    np.testing.assert_array_equal(params["raw_width"], initial["raw_width"])
    assert path.read_bytes() == before
    with pytest.raises(ParameterError, match="give n_parameter_sets=2"):
        load(path, VALUES, 2, 0)
    rows = [row(0, 1, train_objective=metrics(1.0)), row(10, 1, train_objective=metrics(-1.0))]
    for each, value in zip(rows, (1.0, 2.0), strict=True):
        each["train_objective"][0]["returns_over_uniform_hodl"] = value
    write(path, rows)
    assert load(path, VALUES, 2, 0, load_method="best_train_objective")[0]["step"] == 10


def test_a_run_is_loaded_where_it_has_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ax_jax_runners")
    arguments = (FINGERPRINT, VALUES, 2, 0)
    made, loaded = load_or_init(*arguments, n_parameter_sets=2, results_dir=tmp_path)
    assert not loaded
    initial = init_params(VALUES, 2, n_parameter_sets=2)
    jax.tree.map(np.testing.assert_array_equal, made, initial)
    # Columns rise with the set and rows fall: neither number stands for the other.
    rows = tabled(objective=[[0.0, 0.1], [0.2, 0.1], [0.3, 0.2], [0.9, 0.8]])
    write(tmp_path / f"{get_run_location(FINGERPRINT)}.json", rows)
    options: dict[str, Any] = {"n_parameter_sets": 2, "results_dir": f"{tmp_path}/"}
    found, loaded = load_or_init(*arguments, load_method="best_objective", **options)
    assert loaded
    assert found["step"] == 30
    assert isinstance(found["log_k"], jax.Array)
    assert not load_or_init(*arguments, force_init=True, **options)[1]
    reordered = {key: FINGERPRINT[key] for key in reversed(FINGERPRINT)}
    assert load_or_init(reordered, *arguments[1:], **options)[1]
    assert not load_or_init({**FINGERPRINT, "fees": 1.0}, *arguments[1:], **options)[1]
    assert capsys.readouterr().out == ""
    assert "Parameters are loaded from" in caplog.text
    assert "Parameters are initialised: asked for." in caplog.text


def test_files_are_found_by_the_names_that_the_original_gave_them(tmp_path: Path) -> None:
    fingerprint = {"tokens": ["BTC"], "fees": 0.0}
    text = '{"fees": 0.0, "tokens": ["BTC"]}'
    name = f"run_{hashlib.sha256(text.encode()).hexdigest()}"
    write(tmp_path / f"{name}.json", tabled(objective=[[1.0]]), fingerprint)
    assert load_or_init(fingerprint, VALUES, 2, 0, results_dir=tmp_path)[1]
    traced, _ = load_or_init(
        fingerprint,
        VALUES,
        2,
        0,
        recalc_hess=True,
        results_dir=tmp_path,
        partial_fixed_training_step=lambda params: jnp.sum(params["raw_width"] ** 2),
    )
    assert traced["hessian_trace"] == 4.0
    with pytest.raises(ConfigurationError, match="recalc_hess needs"):
        load_or_init(fingerprint, VALUES, 2, 0, recalc_hess=True, results_dir=tmp_path)
    (tmp_path / f"{name}.json").write_text("broken")
    with pytest.raises(DataFileError, match="no JSON"):
        load_or_init(fingerprint, VALUES, 2, 0, results_dir=tmp_path)
