"""Arms that go on where another process left them, in any company."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.runners.execution import ArmRequest, FrozenArms
from ax_jax_runners.runners.execution.batch import begun, singles
from ax_jax_runners.runners.execution.in_process import InProcessExecution
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.tasks import Progress

SPACE = ParameterSpace([Parameter("x", lower=0.0, upper=10.0)])


@dataclass(frozen=True)
class Counting:
    """Adds x in each of its slices, and notes which arms a call advances together.

    Attributes:
        slices: How many an arm needs.
        scale: Part of what the task computes.
    """

    slices: int = 4
    scale: float = 1.0
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("sum",)

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: jax.Array) -> dict[str, Any]:
        x = np.array([arm["x"] for arm in arms], float)
        return {"x": x, "step": np.zeros(len(arms), int), "sum": np.zeros(len(arms)), "keys": keys}

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        CALLS.append(list(zip(state["x"].tolist(), state["step"].tolist(), strict=True)))
        return {
            **state,
            "step": state["step"] + 1,
            "sum": state["sum"] + self.scale * state["x"],
        }

    def progress(self, state: dict[str, Any]) -> list[Progress]:
        return [
            Progress(int(step), bool(step >= self.slices), {"sum": (float(total), 0.0)})
            for step, total in zip(state["step"], state["sum"], strict=True)
        ]


CALLS: list[list[tuple[float, int]]] = []


@pytest.fixture(autouse=True)
def calls() -> list[list[tuple[float, int]]]:
    CALLS.clear()
    return CALLS


def request(index: int, x: float, *, position: int = 0) -> ArmRequest:
    return ArmRequest((0, index), position, f"{index}_{position}", {"x": x})


def execution(folder: Path | None, task: Counting | None = None, seed: int = 1) -> Any:
    task = task or Counting()
    frozen = None if folder is None else FrozenArms(task, seed=seed, folder=folder)
    return InProcessExecution(task, seed=seed, frozen=frozen)


def finish(runs: Any, requests: Sequence[ArmRequest]) -> dict[Any, ArmOutcome]:
    trials = {r.trial for r in requests}
    known = dict(runs.submit(requests))
    while any(not outcome.is_final for outcome in known.values()):
        known |= runs.poll(trials)
    return known


def test_what_decides_a_result_decides_the_key() -> None:
    arm = request(3, 2.0)
    base = FrozenArms(Counting(), seed=1, folder=Path("unused"))
    same = FrozenArms(Counting(), seed=1, folder=Path("elsewhere"))
    assert base.key(arm) == same.key(arm)
    # Neither the number of the experiment in a process nor an arm's name counts.
    assert base.key(replace(arm, trial=(7, 3), name="other")) == base.key(arm)
    others = [
        base.key(request(4, 2.0)),
        base.key(request(3, 2.5)),
        base.key(request(3, 2.0, position=1)),
        FrozenArms(Counting(), seed=2, folder=Path("unused")).key(arm),
        FrozenArms(Counting(scale=2.0), seed=1, folder=Path("unused")).key(arm),
    ]
    assert len({base.key(arm), *others}) == 6


@pytest.mark.fault(21)
@pytest.mark.parametrize("slices", [1, 2, 3])
def test_another_process_goes_on_from_the_last_slice(tmp_path: Path, slices: int) -> None:
    requests = [request(i, float(i + 1)) for i in range(3)]
    straight = finish(execution(None), requests)
    first = execution(tmp_path)
    first.submit(requests)
    for _ in range(slices - 1):
        first.poll({r.trial for r in requests})
    CALLS.clear()
    second = finish(execution(tmp_path), requests)
    assert second == straight
    # All arms at once, and none of their slices again.
    assert CALLS == [[(1.0, n), (2.0, n), (3.0, n)] for n in range(slices, 4)]


def test_arms_that_are_done_are_not_computed_again(tmp_path: Path) -> None:
    arm = request(0, 5.0)
    first = finish(execution(tmp_path), [arm])
    CALLS.clear()
    assert finish(execution(tmp_path), [arm]) == first
    assert CALLS == []


def test_arms_at_different_slices_advance_together(tmp_path: Path) -> None:
    old, new = request(0, 1.0), request(1, 2.0)
    first = execution(tmp_path)
    first.submit([old])
    first.poll({old.trial})
    CALLS.clear()
    execution(tmp_path).submit([old, new])
    assert CALLS == [[(2.0, 0), (1.0, 2)]] or CALLS == [[(1.0, 2), (2.0, 0)]]


def test_only_what_is_released_goes(tmp_path: Path) -> None:
    arms = [request(0, 1.0), request(1, 2.0)]
    runs = execution(tmp_path)
    finish(runs, arms)
    runs.release(arms[:1])
    frozen = FrozenArms(Counting(), seed=1, folder=tmp_path)
    assert [frozen.holds(arm) for arm in arms] == [False, True]
    runs.release(arms)
    runs.release(arms)
    assert list(tmp_path.iterdir()) == []


def test_a_single_slice_is_worth_no_file(tmp_path: Path) -> None:
    runs = execution(tmp_path / "frozen", Counting(slices=1))
    finish(runs, [request(0, 1.0)])
    runs.release([request(0, 1.0)])
    assert not (tmp_path / "frozen").exists()


def test_a_stopped_arm_can_be_taken_up_again(tmp_path: Path) -> None:
    arm = request(0, 1.0)
    runs = execution(tmp_path)
    runs.submit([arm])
    runs.poll({arm.trial})
    known = runs.stop(arm.trial)
    assert known[arm.key].step == 2
    CALLS.clear()
    assert finish(runs, [arm])[arm.key].outputs == {"sum": (4.0, 0.0)}
    assert [step for ((_, step),) in CALLS] == [2, 3]


@pytest.mark.fault(15)
def test_a_state_that_does_not_fit_begins_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arm = request(0, 1.0)
    frozen = FrozenArms(Counting(), seed=1, folder=tmp_path)
    done = ArmOutcome("running", step=3)
    frozen.save({"something": np.ones((1, 2))}, [(0, arm, 3, done)])
    assert frozen.holds(arm)
    assert finish(execution(tmp_path), [arm])[arm.key].outputs == {"sum": (4.0, 0.0)}
    assert [step for ((_, step),) in CALLS] == [0, 1, 2, 3]
    assert "passed over" in caplog.text


@pytest.mark.parametrize("strange", [{"x": np.float64(1.0)}, {"x": np.array([object()])}])
def test_a_state_that_cannot_be_frozen_is_told_and_goes_on(
    tmp_path: Path, strange: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frozen = FrozenArms(Counting(), seed=1, folder=tmp_path)
    frozen.save(strange, [(0, request(0, 1.0), 1, ArmOutcome("running"))])
    assert "cannot be frozen" in caplog.text
    assert not list(tmp_path.rglob("*.json"))


def test_batches_are_cut_by_arms() -> None:
    arms = [request(i, float(i)) for i in range(3)]
    state = Counting().begin([a.parameters for a in arms], jax.random.split(jax.random.key(0), 3))
    batch = replace(begun(arms, state), slices=[5, 6, 7])
    assert batch.without(lambda arm: False) is batch
    assert batch.without(lambda arm: True) is None
    rest = batch.without(lambda arm: arm.trial[1] == 1)
    assert rest is not None
    assert (rest.requests, rest.slices) == ([arms[0], arms[2]], [5, 7])
    assert rest.state["x"].tolist() == [0.0, 2.0]
    alone = singles(batch)
    assert [single.slices for single in alone] == [[5], [6], [7]]
    assert all(single.apart for single in alone)
    assert [single.state["x"].tolist() for single in alone] == [[0.0], [1.0], [2.0]]
