"""Test functions: their values, optima and fronts against BoTorch's, their noise, hypervolume."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
import torch
from botorch.test_functions import multi_objective, synthetic
from botorch.utils.multi_objective.hypervolume import Hypervolume
from hypothesis import given
from hypothesis import strategies as st

from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.problems import hypervolume
from ax_jax_runners.problems.synthetic import PROBLEMS
from ax_jax_runners.problems.synthetic_task import SyntheticFunction, SyntheticTask
from ax_jax_runners.tasks import FeatureTask, Task, task_identity

# The problem, its options, and BoTorch's class with its arguments.
SINGLE = [
    ("branin", {}, synthetic.Branin, {}),
    ("hartmann3", {}, synthetic.Hartmann, {"dim": 3}),
    ("hartmann6", {}, synthetic.Hartmann, {"dim": 6}),
    *[
        (name, {"dimension": d}, kind, {"dim": d})
        for name, kind in (
            ("ackley", synthetic.Ackley),
            ("levy", synthetic.Levy),
            ("rosenbrock", synthetic.Rosenbrock),
            ("rastrigin", synthetic.Rastrigin),
            ("griewank", synthetic.Griewank),
            ("michalewicz", synthetic.Michalewicz),
            ("styblinski-tang", synthetic.StyblinskiTang),
        )
        for d in (2, 5, 10)
    ],
    ("pressure-vessel", {}, synthetic.PressureVessel, {}),
]
SEVERAL = [
    ("branin-currin", {}, multi_objective.BraninCurrin, {}),
    ("dtlz2", {}, multi_objective.DTLZ2, {"dim": 6}),
    (
        "dtlz2",
        {"dimension": 7, "objectives": 4},
        multi_objective.DTLZ2,
        {"dim": 7, "objectives": 4},
    ),
    ("zdt1", {}, multi_objective.ZDT1, {"dim": 6}),
    ("zdt1", {"dimension": 30}, multi_objective.ZDT1, {"dim": 30}),
    ("vehicle-safety", {}, multi_objective.VehicleSafety, {}),
]
SINGLE_NAMES = [name for name, problem in PROBLEMS.items() if problem.reference is not None]


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """BoTorch holds the constants of Hartmann in the default dtype, single precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def build(name: str, **options: Any) -> SyntheticTask:
    task = problems.build(name, **options)
    assert isinstance(task, SyntheticTask)
    return task


@functools.cache
def function(name: str, **options: Any) -> SyntheticFunction:
    """One for each test that asks: it is compiled once."""
    return build(name, **options).function


def peer(kind: Any, arguments: dict[str, Any]) -> Any:
    named = {"num_objectives" if k == "objectives" else k: v for k, v in arguments.items()}
    return kind(**named, dtype=torch.float64)


def points(found: SyntheticFunction, count: int = 200, seed: int = 0) -> np.ndarray:
    low, high = np.array(found.bounds).T
    return low + (high - low) * np.random.default_rng(seed).uniform(size=(count, len(low)))


def run(task: Task, theta: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Means and standard errors, (B, 2) by output."""
    arms = [task.space.unpack(row) for row in theta]
    keys = jax.random.split(jax.random.key(seed), len(arms))
    reports = task.progress(task.advance(task.begin(arms, keys)))
    assert all(report.failure is None and not report.arrays for report in reports)
    return {
        name: np.array([report.outputs[name] for report in reports], float) for name in task.outputs
    }


def agree(found: np.ndarray, expected: np.ndarray) -> None:
    scale = np.maximum(1.0, np.abs(expected))
    assert (np.abs(found - expected) <= 1e-10 * scale).all()


# ---- values


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "kind", "arguments"), SINGLE)
def test_one_objective_is_that_of_botorch(
    name: str, options: dict, kind: Any, arguments: dict
) -> None:
    found, other = function(name, **options), peer(kind, arguments)
    assert np.array_equal(np.array(found.bounds).T, other.bounds.numpy())
    theta = points(found)
    agree(found.evaluate(theta)["value"], other.evaluate_true(torch.tensor(theta)).numpy())
    # BoTorch prints optima with six digits or more.
    if name != "pressure-vessel" and found.optimum is not None:
        assert found.optimum == pytest.approx(other.optimal_value, rel=2e-6, abs=1e-12)
    if getattr(other, "_optimizers", None) is not None:
        theirs = other.optimizers.numpy()
        agree(found.evaluate(theirs)["value"], other.evaluate_true(other.optimizers).numpy())
        np.testing.assert_allclose(np.sort(found.optimisers, 0), np.sort(theirs, 0), atol=2e-4)


@pytest.mark.parametrize(("name", "options", "kind", "arguments"), SEVERAL)
def test_several_objectives_are_those_of_botorch(
    name: str, options: dict, kind: Any, arguments: dict
) -> None:
    found, other = function(name, **options), peer(kind, arguments)
    assert np.array_equal(np.array(found.bounds).T, other.bounds.numpy())
    theta = points(found)
    values = found.evaluate(theta)
    expected = other.evaluate_true(torch.tensor(theta)).numpy()
    for i, objective in enumerate(found.objectives):
        agree(values[objective], expected[:, i])
    assert found.reference_point == pytest.approx(other.ref_point.tolist(), rel=1e-15)
    assert found.max_hypervolume is not None
    assert found.max_hypervolume == pytest.approx(other.max_hv, rel=1e-3)
    assert found.max_hypervolume >= other.max_hv - 1e-12


def test_the_constraints_of_the_pressure_vessel_are_those_of_botorch() -> None:
    found, other = function("pressure-vessel"), synthetic.PressureVessel(dtype=torch.float64)
    theta = points(found)
    values = found.evaluate(theta)
    expected = other.evaluate_slack_true(torch.tensor(theta)).numpy()
    for i, constraint in enumerate(found.constraints):
        agree(values[constraint], expected[:, i])


def test_gardner_is_as_printed() -> None:
    found = function("gardner")
    theta = points(found)
    x, y = theta.T
    values = found.evaluate(theta)
    agree(values["value"], np.cos(2 * x) * np.cos(y) + np.sin(x))
    holds = np.cos(x) * np.cos(y) - np.sin(x) * np.sin(y) <= 0.5
    assert np.array_equal(values["c1"] >= 0, holds)
    assert 0.1 < holds.mean() < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_batch_gives_the_bits_of_single_arms(name: str) -> None:
    task = build(name, noise_sd=0.3)
    theta = points(task.function, 5)
    arms = [task.space.unpack(row) for row in theta]
    keys = jax.random.split(jax.random.key(3), len(arms))
    together = task.progress(task.advance(task.begin(arms, keys)))
    for i, arm in enumerate(arms):
        (alone,) = task.progress(task.advance(task.begin([arm], keys[i : i + 1])))
        assert alone == together[i]


# ---- optima and fronts


@pytest.mark.parametrize("name", SINGLE_NAMES)
def test_the_optimum_is_reached_where_it_is_said_to_be(name: str) -> None:
    found = function(name)
    assert found.optimum == problems.get(name).reference
    values = found.evaluate(found.optimisers)
    np.testing.assert_allclose(values["value"], found.optimum, rtol=1e-12, atol=1e-12)
    assert (values["simple_regret"] <= 1e-9).all()
    for constraint in found.constraints:
        assert (values[constraint] >= 0).all()
    low, high = np.array(found.bounds).T
    assert (np.array(found.optimisers) >= low).all()
    assert (np.array(found.optimisers) <= high).all()


@pytest.mark.parametrize("name", SINGLE_NAMES)
@given(data=st.data())
def test_nothing_in_the_box_beats_the_optimum(name: str, data: st.DataObject) -> None:
    found = function(name)
    row = [data.draw(st.floats(low, high)) for low, high in found.bounds]
    values = {key: value[0] for key, value in found.evaluate([row]).items()}
    assert values["simple_regret"] >= 0
    assert found.optimum is not None
    if all(values[constraint] >= 0 for constraint in found.constraints):
        # Not what simple_regret says: that is never below 0.
        assert values["value"] >= found.optimum - 1e-12 * max(1.0, abs(found.optimum))
        assert values["simple_regret"] == pytest.approx(values["value"] - found.optimum, abs=1e-9)
    else:
        assert found.worst_feasible is not None
        assert values["simple_regret"] == found.worst_feasible - found.optimum


@pytest.mark.parametrize("name", SINGLE_NAMES)
def test_no_neighbour_of_the_optimum_beats_it(name: str) -> None:
    found = function(name)
    low, high = np.array(found.bounds).T
    rng = np.random.default_rng(5)
    for point in np.array(found.optimisers):
        for scale in (1e-1, 1e-2, 1e-3, 1e-4, 1e-6):
            steps = rng.normal(size=(300, len(low))) * (high - low) * scale
            values = found.evaluate(np.clip(point + steps, low, high))
            feasible = np.all([values[c] >= 0 for c in found.constraints] or [[True] * 300], axis=0)
            assert found.optimum is not None
            assert (values["value"][feasible] >= found.optimum - 1e-9).all()


@pytest.mark.parametrize("name", ["gardner", "pressure-vessel"])
def test_no_feasible_arm_is_worse_than_the_worst(name: str) -> None:
    found = function(name)
    low, high = np.array(found.bounds).T
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(len(low), -1).T
    values = found.evaluate(np.concatenate([points(found, 20_000), corners]))
    feasible = np.all([values[c] >= 0 for c in found.constraints], axis=0)
    assert found.worst_feasible is not None
    largest = values["value"][feasible].max()
    assert 0.99 * found.worst_feasible <= largest <= found.worst_feasible + 1e-9


def test_michalewicz_has_its_published_minima() -> None:
    for dimension, value in ((2, -1.80130341009855), (5, -4.68765817908815), (10, -9.66015171564)):
        assert function("michalewicz", dimension=dimension).optimum == pytest.approx(
            value, abs=1e-11
        )


def test_the_fronts_are_reached_and_have_the_largest_hypervolume() -> None:
    for name, first in (("dtlz2", 0.5), ("zdt1", 0.0)):
        found = function(name)
        assert found.front is not None
        assert found.reference_point is not None
        assert found.max_hypervolume is not None
        front = found.front(20_001)
        volume = hypervolume(front, found.reference_point)
        assert volume <= found.max_hypervolume
        assert volume == pytest.approx(found.max_hypervolume, rel=1e-3)
        # The front's parameters: any first one, the others all the same.
        theta = np.full((101, len(found.bounds)), first)
        theta[:, 0] = np.linspace(0.0, 1.0, 101)
        values = found.evaluate(theta)
        reached = np.stack([values["f1"], values["f2"]], axis=1)
        for row in reached:
            assert np.abs(front - row).sum(axis=1).min() < 1e-2
        if name == "zdt1":
            np.testing.assert_allclose(reached, found.front(101), atol=1e-12)
    sphere = function("dtlz2", dimension=5, objectives=3).front
    assert sphere is not None
    np.testing.assert_allclose((sphere(50) ** 2).sum(axis=1), 1.0)


@pytest.mark.parametrize(("name", "options", "kind", "arguments"), SEVERAL)
def test_no_set_of_arms_dominates_more_than_the_largest_hypervolume(
    name: str, options: dict, kind: Any, arguments: dict
) -> None:
    found = function(name, **options)
    values = found.evaluate(points(found, 300))
    objectives = np.stack([values[o] for o in found.objectives], axis=1)
    assert found.reference_point is not None
    assert found.max_hypervolume is not None
    assert hypervolume(objectives, found.reference_point) <= found.max_hypervolume
    alone = [hypervolume(row[None], found.reference_point) for row in objectives]
    np.testing.assert_allclose(values["hypervolume"], alone, rtol=1e-9, atol=1e-12)


# ---- hypervolume


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(4))
def test_hypervolume_is_that_of_botorch(objectives: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(size=(30, objectives))
    if seed % 2:
        # Most of the rows are on the front, with ties and points beyond the reference.
        rows = np.round(np.abs(rows / np.linalg.norm(rows, axis=1, keepdims=True)), 1)
    reference = np.full(objectives, 0.8)
    other = Hypervolume(ref_point=torch.tensor(-reference))
    inside = rows[(rows < reference).all(axis=1)]
    expected = other.compute(torch.tensor(-inside)) if len(inside) else 0.0
    assert hypervolume(rows, reference) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(
    rows=st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=12),
    corner=st.tuples(*[st.integers(1, 6)] * 3),
)
def test_hypervolume_counts_the_cells_that_are_dominated(rows: list, corner: tuple) -> None:
    cells = {
        (a, b, c)
        for x, y, z in rows
        for a in range(x, corner[0])
        for b in range(y, corner[1])
        for c in range(z, corner[2])
    }
    assert hypervolume(rows, corner) == len(cells)


def test_hypervolume_of_one_objective_is_the_improvement() -> None:
    assert hypervolume([[3.0], [1.0]], [4.0]) == 3.0
    assert hypervolume([], [4.0, 4.0]) == 0.0
    assert hypervolume([[5.0, 1.0]], [4.0, 4.0]) == 0.0


@pytest.mark.parametrize(
    ("rows", "corner", "words"),
    [
        ([[1.0, 2.0]], [3.0], r"shape \(1, 2\); give \(n, 1\)"),
        ([1.0, 2.0], [3.0, 3.0], r"shape \(2,\)"),
        ([[1.0, math.nan]], [3.0, 3.0], "NaN"),
        ([[1.0]], 3.0, "one number per objective"),
    ],
)
def test_points_without_a_hypervolume_are_refused(rows: Any, corner: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        hypervolume(rows, corner)


# ---- noise


def test_without_noise_nothing_is_uncertain() -> None:
    task = build("branin")
    found = run(task, points(task.function, 4))
    assert all((pairs[:, 1] == 0).all() for pairs in found.values())
    assert not task.evaluator.stochastic


def test_noise_has_its_standard_deviation_and_reports_it() -> None:
    task = build("branin", noise_sd=0.5)
    theta = np.tile(points(task.function, 1), (4000, 1))
    found = run(task, theta)
    assert (found["value"][:, 1] == 0.5).all()
    errors = found["value"][:, 0] - task.function.evaluate(theta[:1])["value"]
    # Five standard errors of mean and standard deviation.
    assert abs(errors.mean()) < 5 * 0.5 / math.sqrt(4000)
    assert abs(errors.std() / 0.5 - 1) < 5 / math.sqrt(2 * 4000)
    assert (found["simple_regret"] == found["simple_regret"][0]).all()
    assert (found["simple_regret"][:, 1] == 0).all()


def test_noise_grows_with_the_objective() -> None:
    task = build("branin", noise_sd={"base": 0.1, "slope": 0.02})
    theta = np.repeat(points(task.function, 3), 2000, axis=0)
    found = run(task, theta)
    truth = task.function.evaluate(theta)["value"]
    np.testing.assert_allclose(found["value"][:, 1], 0.1 + 0.02 * np.abs(truth), rtol=1e-12)
    assert len(np.unique(found["value"][:, 1])) == 3
    normal = ((found["value"][:, 0] - truth) / found["value"][:, 1]).reshape(3, 2000)
    assert (np.abs(normal.mean(axis=1)) < 5 / math.sqrt(2000)).all()
    assert (np.abs(normal.std(axis=1) - 1) < 5 / math.sqrt(2 * 2000)).all()


def test_noise_falls_on_every_objective_for_itself_and_on_nothing_else() -> None:
    task = build("vehicle-safety", noise_sd={"slope": 0.01})
    theta = points(task.function, 400)
    found, truth = run(task, theta), task.function.evaluate(theta)
    draws = np.stack(
        [(found[o][:, 0] - truth[o]) / found[o][:, 1] for o in task.function.objectives]
    )
    assert (np.abs(np.corrcoef(draws)[np.triu_indices(3, 1)]) < 0.2).all()
    assert np.array_equal(found["hypervolume"][:, 0], truth["hypervolume"])
    task = build("pressure-vessel", noise_sd=10.0)
    theta = points(task.function, 50)
    found, truth = run(task, theta), task.function.evaluate(theta)
    for name in (*task.function.constraints, "simple_regret"):
        assert np.array_equal(found[name][:, 0], truth[name])
        assert (found[name][:, 1] == 0).all()
    assert (found["value"][:, 0] != truth["value"]).all()


def test_noise_comes_from_the_key_alone() -> None:
    task = build("hartmann3", noise_sd=1.0)
    theta = points(task.function, 6)
    first, again, other = run(task, theta), run(task, theta), run(task, theta, seed=1)
    assert np.array_equal(first["value"], again["value"])
    assert (first["value"][:, 0] != other["value"][:, 0]).all()


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (-0.1, "noise_sd is -0.1"),
        (math.inf, "finite"),
        (math.nan, "finite"),
        (True, "noise_sd is True"),
        ("0.1", "noise_sd is '0.1'"),
        (None, "noise_sd is None"),
        ({}, "'base': b, 'slope': s"),
        ({"sd": 0.1}, "'base': b, 'slope': s"),
        ({"base": 0.1, "slope": -1}, "noise_sd: 'slope' is -1"),
        ({"base": "x"}, "noise_sd: 'base' is 'x'"),
    ],
)
def test_noise_that_cannot_be_used_is_refused(noise: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        problems.build("branin", noise_sd=noise)


# ---- problems


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_says_what_to_optimise_and_what_is_known(name: str) -> None:
    problem, task = problems.get(name), build(name)
    found = task.function
    assert name in problems.names()
    assert problem.objective == ", ".join(f"-{each}" for each in found.objectives)
    assert problem.outcome_constraints == tuple(f"{each} >= 0" for each in found.constraints)
    assert (problem.reference is None) == (problem.reference_point is not None)
    assert problem.reference_point == found.reference_point
    assert problem.max_hypervolume == found.max_hypervolume
    assert task.outputs[-1] == ("simple_regret" if problem.reference is not None else "hypervolume")
    assert isinstance(task, FeatureTask)
    assert build(name) == task
    assert task_identity(build(name)).digest == task_identity(task).digest
    assert task_identity(task).portable
    noisy = task_identity(build(name, noise_sd=0.1)).digest
    assert noisy != task_identity(task).digest
    assert noisy != task_identity(build(name, noise_sd=0.2)).digest


def test_a_built_problem_is_made_again_from_its_origin() -> None:
    options = {"dimension": 3, "noise_sd": {"base": 0.1, "slope": 0.2}}
    task = problems.build("ackley", **options, parameters={"x2": {"fixed": 0.5}})
    assert isinstance(task, SyntheticTask)
    assert task.space.names == ("x1", "x3")
    origin = problems.origin(task)
    assert origin is not None
    again = problems.build(origin[0], **origin[1])
    assert again == task
    found = run(task, np.array([[0.0, 0.0]]))
    expected = task.function.evaluate([[0.0, 0.5, 0.0]])
    assert found["simple_regret"][0, 0] == expected["value"][0]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("branin", {"dimension": 3}, "no option 'dimension'"),
        ("ackley", {"dimension": 0}, "dimension is 0; give a whole number, at least 1"),
        ("ackley", {"dimension": 2.5}, "dimension is 2.5"),
        ("levy", {"dimension": True}, "dimension is True"),
        ("rosenbrock", {"dimension": 1}, "at least 2"),
        ("zdt1", {"dimension": 1}, "at least 2"),
        ("dtlz2", {"dimension": 3, "objectives": 3}, "at least 4"),
        ("dtlz2", {"objectives": 1}, "objectives is 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(name: str, options: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        problems.build(name, **options)
