"""A selection chooses what a plain loop over the history chooses, on every database."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ax_jax_runners import Selection, Store
from ax_jax_runners.errors import NoFeasibleArm, UnknownMetric
from ax_jax_runners.store.named_selections import NAMES, named_selection
from ax_jax_runners.store.observations import Observation, write_observations
from ax_jax_runners.store.selection import AtLeast, AtMost, Chosen
from ax_jax_runners.store.selection_query import choose

METRICS = ("objective", "train_objective", "test_objective")
WINDOWS = ("", "train", "test")
NUMBERS = itertools.count(1)
#: How many candidates are looked at before all are read; a history has up to 72.
NEAREST = "ax_jax_runners.store.selection_statement.NEAREST"
nearest = st.sampled_from([1, 2, 5, 4_000])

Place = tuple[int, str, int, int]
History = dict[Place, dict[tuple[str, str], float]]

# Few values, so that ties abound; NaN and infinity have no place in the database.
values = st.sampled_from([-1.0, 0.0, -0.0, 0.5, 1.0, 1e-300, math.nan, math.inf])
sizes = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 4), st.integers(1, 3))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Trials, arms, checkpoints and members; a few of them are absent."""
    trials, arms, steps, members = draw(sizes)
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(METRICS), st.sampled_from(WINDOWS)),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    history: History = {}
    for trial, arm, step, member in itertools.product(*map(range, (trials, arms, steps, members))):
        if draw(st.integers(0, 9)):
            # Ten and more arms, whose names a database may sort as texts.
            place = (trial, f"{trial}_{9 + arm}", 3 * step, member)
            history[place] = {key: draw(values) for key in keys if draw(st.integers(0, 9))}
    return {place: found for place, found in history.items() if found}


conditions = st.builds(
    lambda kind, metric, bound, window: kind(metric, bound, window or None),
    st.sampled_from([AtLeast, AtMost]),
    st.sampled_from(METRICS),
    st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    st.sampled_from(WINDOWS),
)
selections = st.builds(
    Selection,
    metric=st.sampled_from(METRICS),
    window=st.sampled_from((None, *WINDOWS[1:])),
    direction=st.sampled_from(["max", "min"]),
    subject_to=st.lists(conditions, max_size=2),
    per=st.sampled_from([None, "set", "checkpoint"]),
    last=st.booleans(),
    ties=st.sampled_from(["earliest", "latest"]),
    on_empty=st.sampled_from(["raise", "none", "ignore_constraints"]),
) | st.sampled_from([named_selection(name) for name in NAMES])


@dataclass
class Reference:
    """The same in plain Python."""

    history: History
    selection: Selection

    def answer(self) -> list[Place]:
        chosen = self.selection
        if chosen.metric is None:
            return self.last_checkpoint()
        kept = self.best_of([p for p in self.candidates() if all(map(self.holds(p), self.wanted))])
        if chosen.on_empty == "ignore_constraints" and self.wanted:
            return sorted({**self.best_of(self.candidates()), **kept}.values())
        return sorted(kept.values())

    @property
    def wanted(self) -> tuple[Any, ...]:
        return self.selection.conditions

    def last_checkpoint(self) -> list[Place]:
        if not self.history:
            return []
        trial = max(place[0] for place in self.history)
        step = max(place[2] for place in self.history if place[0] == trial)
        ends = [place for place in self.history if place[0] == trial and place[2] == step]
        return [min(ends, key=lambda p: (len(p[1]), p[1], p[3]))]

    def candidates(self) -> list[Place]:
        found = [p for p in self.history if math.isfinite(self.value(p))]
        if not self.selection.last:
            return found
        return [p for p in found if p[2] == max(q[2] for q in self.history if q[:2] == p[:2])]

    def value(self, place: Place) -> float:
        key = (self.selection.metric or "", self.selection.window or "")
        return self.history[place].get(key, math.nan)

    def holds(self, place: Place) -> Callable[[Any], bool]:
        def check(condition: Any) -> bool:
            key = (condition.metric, condition.window or "")
            value = self.history[place].get(key, math.nan)
            if not math.isfinite(value):
                return False
            above = isinstance(condition, AtLeast)
            return value >= condition.bound if above else value <= condition.bound

        return check

    def best_of(self, candidates: list[Place]) -> dict[Any, Place]:
        def part(place: Place) -> Any:
            trial, arm, step, member = place
            return {None: (), "set": (trial, arm, member), "checkpoint": (trial, arm, step)}[
                self.selection.per
            ]

        sign = 1 if self.selection.direction == "max" else -1
        best: dict[Any, Place] = {}
        in_order = sorted(candidates, key=lambda p: (p[0], p[2], p[3], len(p[1]), p[1]))
        if self.selection.ties == "latest":
            in_order.reverse()
        for place in in_order:
            held = best.get(part(place))
            if held is None or sign * self.value(place) > sign * self.value(held):
                best[part(place)] = place
        return best

    def unknown(self) -> bool:
        known = {key for found in self.history.values() for key in found}
        asked = [(c.metric, c.window or "") for c in self.wanted]
        if self.selection.metric is not None:
            asked.append((self.selection.metric, self.selection.window or ""))
        return bool(known) and any(key not in known for key in asked)


def check(store: Store, history: History, selection: Selection, nearest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NEAREST, nearest)
        check_choice(store, history, selection)


def check_choice(store: Store, history: History, selection: Selection) -> None:
    experiment_id = next(NUMBERS)
    rows = [
        Observation(
            trial,
            arm,
            metric,
            value if math.isfinite(value) else None,
            None,
            "completed",
            step=step,
            member=member,
            window=window,
        )
        for (trial, arm, step, member), found in history.items()
        for (metric, window), value in found.items()
    ]
    reference = Reference(history, selection)
    expected = reference.answer()
    # Nothing is committed, which would cost a flush of the disk for every example.
    with store.reading() as connection:
        write_observations(connection, experiment_id, rows)
        try:
            found = choose(connection, experiment_id, selection)
        except UnknownMetric:
            assert reference.unknown()
            return
        except NoFeasibleArm:
            assert not expected
            assert selection.on_empty != "none"
            return
        finally:
            connection.rollback()
    assert expected or selection.on_empty == "none"
    listed = [found] if isinstance(found, Chosen) else list(found or ())
    places = [(c.trial_index, c.arm_name, c.step, c.member) for c in listed]
    assert sorted(places) == expected
    for choice, place in zip(listed, places, strict=True):
        assert choice.metrics == {
            f"{metric}[{window}]" if window else metric: value if math.isfinite(value) else None
            for (metric, window), value in history[place].items()
        }


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('selection') / 'c.db'}")
    yield store
    store.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), selections, nearest)
def test_sqlite_chooses_as_a_loop_does(
    sqlite_store: Store, history: History, selection: Selection, nearest: int
) -> None:
    check(sqlite_store, history, selection, nearest)


def test_postgresql_chooses_as_a_loop_does(
    make_postgresql: Callable[[], str], tmp_path: Path
) -> None:
    store = Store.open(make_postgresql(), artifacts=tmp_path)

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(histories(), selections, nearest)
    def check_it(history: History, selection: Selection, nearest: int) -> None:
        check(store, history, selection, nearest)

    check_it()
    store.close()


@settings(max_examples=60)
@given(histories(), selections.filter(lambda s: s.metric is not None and not s.subject_to))
def test_the_smallest_is_the_largest_of_the_negatives(
    history: History, selection: Selection
) -> None:
    turned = {
        place: {key: -value for key, value in found.items()} for place, found in history.items()
    }
    other = replace(selection, direction={"max": "min", "min": "max"}[selection.direction])
    assert Reference(history, selection).answer() == Reference(turned, other).answer()
