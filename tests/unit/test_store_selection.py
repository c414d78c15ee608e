"""Selections and their names: what is chosen, what is refused, and in which words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    Selection,
    StepwiseTask,
    Store,
)
from ax_jax_runners.errors import ConfigurationError, NoFeasibleArm, UnknownMetric
from ax_jax_runners.store import AtLeast, AtMost, Chosen
from ax_jax_runners.store.named_selections import NAMES, named_selection
from ax_jax_runners.store.observations import Observation, write_observations
from ax_jax_runners.store.selection import read_condition
from ax_jax_runners.store.selection_query import choose

NAN = math.nan
EXPERIMENT = 11

Table = Sequence[Sequence[float]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path_factory.mktemp('selection') / 'c.db'}")
    yield opened
    opened.close()


def pick(store: Store, selection: Selection, **tables: Table) -> Any:
    """Choose from tables of one value for each checkpoint (row) and parameter set (column)."""
    rows = [
        Observation(
            0, "0_0", metric, None if math.isnan(value) else value, None, "completed", step, member
        )
        for metric, table in tables.items()
        for step, values in enumerate(table)
        for member, value in enumerate(values)
    ]
    with store.reading() as connection:
        write_observations(connection, EXPERIMENT, rows)
        try:
            return choose(connection, EXPERIMENT, selection)
        finally:
            connection.rollback()


def place(chosen: Any) -> Any:
    if isinstance(chosen, tuple):
        return [place(each) for each in chosen]
    return chosen.step, chosen.member


def by_name(store: Store, name: str, *, minimum: float = 0.0, **tables: Table) -> Any:
    return place(pick(store, named_selection(name, minimum=minimum), **tables))


def test_a_checkpoint_of_nan_does_not_win(store: Store) -> None:
    table = [[NAN, NAN], [0.2, 0.1], [NAN, 0.3]]
    for kind in ("objective", "train_objective", "test_objective"):
        assert by_name(store, f"best_{kind}", **{kind: table}) == (2, 1)
        smallest = Selection(kind, direction="min")
        assert place(pick(store, smallest, **{kind: table})) == (1, 1)


def test_checkpoint_and_set_are_chosen_together(store: Store) -> None:
    tied = [[0.0, 1.0], [1.0, 0.0]]
    assert by_name(store, "best_objective", objective=tied) == (0, 1)
    latest = Selection("objective", ties="latest")
    assert place(pick(store, latest, objective=tied)) == (1, 0)
    assert by_name(store, "best_objective", objective=[[0, 1], [2, 3], [5, 4], [9, 8]]) == (3, 0)


def test_the_last_checkpoint_has_a_best_set_of_its_own(store: Store) -> None:
    table = [[9.0, 8.0, 7.0], [0.1, 0.3, NAN]]
    for kind in ("objective", "train_objective", "test_objective"):
        assert by_name(store, f"best_{kind}_of_last", **{kind: table}) == (1, 1)
        with pytest.raises(NoFeasibleArm):
            by_name(store, f"best_{kind}_of_last", **{kind: [[1.0], [NAN]]})
    assert by_name(store, "last", objective=table) == (1, 0)
    assert by_name(store, "last", objective=[[1.0], [NAN]]) == (1, 0)


def test_each_parameter_set_has_its_best_checkpoint(store: Store) -> None:
    name = "best_train_objective_for_each_parameter_set"
    table = [[0.1, 0.9, NAN], [0.5, 0.2, NAN], [0.5, NAN, NAN]]
    assert by_name(store, name, train_objective=table) == [(0, 1), (1, 0)]


TRAIN = [[0.9, 0.8], [0.7, 0.7], [0.6, 0.95]]
TEST = [[-0.1, 0.1], [0.2, NAN], [0.1, -0.5]]


def test_one_window_is_maximised_where_another_is_good_enough(store: Store) -> None:
    both = {"train_objective": TRAIN, "test_objective": TEST}
    assert by_name(store, "best_train_min_test_objective", **both) == (0, 1)
    assert by_name(store, "best_train_min_test_objective", minimum=0.15, **both) == (1, 0)
    assert by_name(store, "best_test_min_train_objective", **both) == (1, 0)
    assert by_name(store, "best_test_min_train_objective", minimum=0.75, **both) == (0, 1)
    ties = {"train_objective": [[1.0], [1.0]], "test_objective": [[1.0], [1.0]]}
    assert by_name(store, "best_train_min_test_objective", **ties) == (0, 0)


def test_nothing_feasible_is_said_and_not_papered_over(store: Store) -> None:
    both = {"train": TRAIN, "test": TEST}
    with pytest.raises(NoFeasibleArm, match="value of train and test >= 5; run more"):
        pick(store, Selection("train", subject_to=["test >= 5"]), **both)
    quiet = Selection("train", subject_to=["test >= 5"], on_empty="none")
    assert pick(store, quiet, **both) is None
    assert pick(store, Selection("train", per="set", on_empty="none"), train=[[NAN]]) == ()
    loose = Selection("train", subject_to=["test >= 5"], on_empty="ignore_constraints")
    chosen = pick(store, loose, **both)
    assert place(chosen) == (2, 1)
    assert chosen.reason == "the largest train, 0.95; none keeps test >= 5"


def test_each_set_falls_back_on_its_own(store: Store) -> None:
    selection = Selection(
        "train", subject_to=["test >= 0.15"], per="set", on_empty="ignore_constraints"
    )
    chosen = pick(store, selection, train=TRAIN, test=TEST)
    assert place(chosen) == [(1, 0), (2, 1)]
    assert [each.reason.partition(", 0.")[2][:4] for each in chosen] == ["7, w", "95; "]


def test_a_choice_says_what_it_is_and_why(store: Store) -> None:
    selection = Selection("train", subject_to=[AtLeast("test", 0.0), AtMost("train", 0.85)])
    chosen = pick(store, selection, train=TRAIN, test=TEST)
    assert chosen == Chosen(
        0,
        "0_0",
        0,
        1,
        {"train": 0.8, "test": 0.1},
        "the largest train, 0.8, where test >= 0 and train <= 0.85",
    )


@pytest.mark.parametrize("kind", [ConfigurationError, KeyError, ValueError])
def test_a_misspelt_metric_is_an_error_that_names_the_known(
    store: Store, kind: type[Exception]
) -> None:
    for selection in (
        Selection("trian"),
        Selection("train", window="day"),
        Selection("train", subject_to=["tset >= 0"], on_empty="none"),
        Selection("train", subject_to=["tset >= 0"], on_empty="ignore_constraints"),
    ):
        with pytest.raises(kind, match=r"^No observation has the metric .*are test, train\.$"):
            pick(store, selection, train=TRAIN, test=TEST)


def test_windows_of_one_metric_are_kept_apart(store: Store) -> None:
    values = {"": 0.0, "train": 0.5, "test": -0.5}
    rows = [
        Observation(0, "0_0", "sharpe", value, None, "completed", window=window)
        for window, value in values.items()
    ]
    with store.reading() as connection:
        write_observations(connection, EXPERIMENT, rows)
        named = named_selection("best_train_min_test_objective", metric="sharpe", minimum=-1.0)
        chosen = choose(connection, EXPERIMENT, named)
        with pytest.raises(NoFeasibleArm, match=r"sharpe\[train\] and sharpe\[test\] >= 0"):
            choose(
                connection,
                EXPERIMENT,
                named_selection("best_train_min_test_objective", metric="sharpe"),
            )
        connection.rollback()
    assert isinstance(chosen, Chosen)
    assert chosen.metrics == {"sharpe": 0.0, "sharpe[train]": 0.5, "sharpe[test]": -0.5}


def test_there_are_ten_names() -> None:
    assert len(set(NAMES)) == 10
    assert len({named_selection(name) for name in NAMES}) == 10
    with pytest.raises(ConfigurationError, match="no selection 'best'; the names are last, best_"):
        named_selection("best")


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("validation >= 0", AtLeast("validation", 0.0)),
        (" rms.error<=1e-3 ", AtMost("rms.error", 1e-3)),
        ("gain[0] >= -2.5", AtLeast("gain[0]", -2.5)),
        ("a b <= +3", AtMost("a b", 3.0)),
    ],
)
def test_conditions_are_read_from_texts(text: str, condition: AtLeast | AtMost) -> None:
    assert read_condition(text) == condition
    assert read_condition(str(condition)) == condition


@pytest.mark.parametrize("text", ["", "validation", "validation > 0", ">= 0", "x >= y", "x >= nan"])
def test_other_texts_are_no_conditions(text: str) -> None:
    with pytest.raises(ConfigurationError, match="such as 'validation >= 0'"):
        read_condition(text)


@pytest.mark.parametrize(
    "options",
    [
        {"direction": "up"},
        {"per": "trial"},
        {"ties": "first"},
        {"on_empty": "ignore"},
        {"subject_to": [3]},
        {"metric": None},
        {"metric": None, "last": True, "per": "set"},
        {"subject_to": ["x >= inf"]},
    ],
)
def test_options_that_mean_nothing_are_refused(options: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Selection(**{"metric": "train", **options})
    with pytest.raises(ConfigurationError, match="finite"):
        AtMost("x", NAN)


SPACE = ParameterSpace([Parameter("x", lower=0.0, upper=1.0)])


def windows(values: Mapping[str, Any]) -> dict[str, jax.Array]:
    x = values["x"]
    return {"train": jnp.sin(6 * x), "validation": jnp.cos(7 * x)}


TASK = FeatureTask(
    FeatureEvaluator(windows, SPACE),
    outputs={"train": lambda f: f["train"], "validation": lambda f: f["validation"]},
)


def test_a_campaign_selects_among_its_trials(store: Store) -> None:
    campaign = Campaign("bench", TASK, objective="-train", generation="sobol", store=store)
    campaign.run(12, progress=False)
    frame = campaign.to_frame()
    kept = frame[frame["validation"] >= 0]
    chosen = campaign.select(Selection("train", subject_to=["validation >= 0"]))
    assert isinstance(chosen, Chosen)
    assert chosen.trial_index == kept["train"].idxmax()
    assert chosen.metrics["train"] == kept["train"].max()
    smallest = campaign.select("best_objective")
    assert isinstance(smallest, Chosen)
    assert smallest.trial_index == frame["train"].idxmin()
    last = campaign.select("last")
    assert isinstance(last, Chosen)
    assert last.trial_index == 11
    with pytest.raises(UnknownMetric, match="train_objective.*train, validation"):
        campaign.select("best_train_objective")
    with pytest.raises(ConfigurationError, match="a Selection has its own"):
        campaign.select(Selection("train"), minimum=1.0)


def test_checkpoints_of_a_long_trial_can_be_chosen(store: Store) -> None:
    task = StepwiseTask(
        SPACE,
        outputs=["gain"],
        begin=lambda values, key: {"x": values["x"], "t": 0, "key": key},
        advance=lambda state: {**state, "t": state["t"] + 1},
        report=lambda state: {
            "step": state["t"],
            "done": state["t"] >= 4,
            # Best in the middle.
            "outputs": {"gain": (state["x"] - (state["t"] - 2.0) ** 2, 0.0)},
        },
    )
    campaign = Campaign("long", task, objective="gain", generation="sobol", store=store)
    campaign.run(3, progress=False)
    best_x = campaign.to_frame()["x"].idxmax()
    chosen = campaign.select("best_objective")
    at_end = campaign.select("best_objective_of_last")
    assert isinstance(chosen, Chosen)
    assert isinstance(at_end, Chosen)
    assert (chosen.trial_index, chosen.step) == (best_x, 2)
    assert (at_end.trial_index, at_end.step) == (best_x, 4)
    of_steps = campaign.select(Selection("gain", per="checkpoint"))
    assert isinstance(of_steps, tuple)
    assert [each.step for each in of_steps] == [1, 2, 3, 4] * 3
    best = campaign.best()
    assert not isinstance(best, tuple)
    assert best.outputs["gain"] == at_end.metrics["gain"]
    assert Campaign.load("long", task, store=store).best() == best
