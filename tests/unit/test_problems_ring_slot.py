"""The measured ring slot: its reference costs, its boxes and its bad inputs."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
import skrf

from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError, DataFileError
from ax_jax_runners.problems.ring_slot import BOXES
from ax_jax_runners.tasks import FeatureTask, Progress

BEST_FOUR = {"f0": 85.54548, "b": 6.29779, "g": 0.0, "l1": 0.2033}
BEST_SIX = {
    "f0": 86.1365,
    "b": 6.08873,
    "g": 0.0,
    "l1": 0.212962,
    "rho": 0.0844738,
    "l2": 0.196196,
}


def evaluate(task: FeatureTask, arm: dict[str, float]) -> Progress:
    state = task.begin([arm], jax.random.split(jax.random.key(0), 1))
    return task.progress(task.advance(state))[0]


@pytest.mark.parametrize(
    ("variant", "best", "cost"),
    [
        ("four", BEST_FOUR, 3.9614811e-3),
        ("six", BEST_SIX, 1.3202288e-3),
        ("six-hard", BEST_SIX, 1.3202288e-3),
        ("six-centred", BEST_SIX, 1.3202288e-3),
    ],
)
def test_the_reference_points_have_their_reference_costs(
    variant: str, best: dict[str, float], cost: float
) -> None:
    outputs = evaluate(problems.build("ring-slot", variant=variant), best).outputs
    # The points are printed to six digits, the costs to eight.
    assert outputs["cost"][0] == pytest.approx(cost, rel=5e-8)
    assert outputs["log10_cost"][0] == pytest.approx(np.log10(cost), abs=1e-7)
    assert outputs["rms_error"][0] == pytest.approx(np.sqrt(cost), rel=5e-8)


def test_the_reference_cost_is_a_minimum_that_no_neighbour_beats() -> None:
    task = problems.build("ring-slot")
    reference = problems.get("ring-slot").reference
    centre = task.space.pack(BEST_FOUR)
    width = task.space.upper - task.space.lower
    rng = np.random.default_rng(7)
    for scale in (1e-4, 1e-3, 1e-2):
        steps = rng.uniform(-1.0, 1.0, (64, 4)) * width * scale
        theta = np.clip(centre + steps, task.space.lower, task.space.upper)
        features = task.evaluator.model_features(theta)
        costs = jax.vmap(task.output_functions["cost"])(features)
        assert (np.asarray(costs) >= reference * (1.0 - 1e-6)).all()


def test_the_four_parameter_model_is_the_six_parameter_one_without_mismatch() -> None:
    four = evaluate(problems.build("ring-slot"), BEST_FOUR)
    six = evaluate(problems.build("ring-slot", variant="six"), {**BEST_FOUR, "rho": 0.0, "l2": 0.3})
    assert four.outputs["cost"][0] == pytest.approx(six.outputs["cost"][0], rel=1e-12)


def test_the_measured_curve_matches_the_feature() -> None:
    task = problems.build("ring-slot")
    (curve,) = problems.measured(task)
    progress = evaluate(task, BEST_FOUR)
    fitted = progress.arrays[curve.feature]
    assert fitted.shape == curve.values.shape == curve.x.shape == (101,)
    assert (curve.x[0], curve.x_label) == (75.0, "frequency [GHz]")
    distance = np.mean(np.abs(fitted - curve.values) ** 2)
    assert distance == pytest.approx(progress.outputs["cost"][0], rel=1e-12)


@pytest.mark.parametrize("variant", BOXES)
def test_every_variant_is_finite_all_over_its_box(variant: str) -> None:
    task = problems.build("ring-slot", variant=variant)
    corners = np.random.default_rng(1).choice([0.0, 1.0], size=(64, task.space.dimension))
    theta = task.space.lower + corners * (task.space.upper - task.space.lower)
    assert task.evaluator.evaluate(theta).valid.all()


def test_equal_builds_are_equal_tasks() -> None:
    assert problems.build("ring-slot") == problems.build("ring-slot", variant="four")
    assert problems.build("ring-slot") != problems.build("ring-slot", variant="six")


@pytest.mark.parametrize("variant", ["five", 4, None])
def test_an_unknown_variant_is_refused(variant: object) -> None:
    with pytest.raises(ConfigurationError, match="'four', 'six', 'six-hard', 'six-centred'"):
        problems.build("ring-slot", variant=variant)


def test_data_that_cannot_be_a_waveguide_one_port_are_refused(tmp_path: Path) -> None:
    low = tmp_path / "low.s1p"
    low.write_text("# GHz S RI R 50\n1 0.1 0.2\n2 0.1 0.2\n")
    with pytest.raises(DataFileError, match=r"begins at 1 GHz, below the cut-off 59\.01 GHz"):
        problems.build("ring-slot", data=str(low))
    two_port = Path(skrf.__file__).parent / "data" / "ring slot.s2p"
    with pytest.raises(DataFileError, match=r"2 ports.*use the problem 'touchstone'"):
        problems.build("ring-slot", data=str(two_port))
    with pytest.raises(DataFileError, match="there is no such file"):
        problems.build("ring-slot", data="missing.s1p")


def test_the_users_own_measurement_is_fitted(tmp_path: Path) -> None:
    task = problems.build("ring-slot")
    fitted = evaluate(task, BEST_FOUR).arrays["s11"]
    path = tmp_path / "mine.s1p"
    rows = [
        f"{f:.12f} {s.real:.15e} {s.imag:.15e}"
        for f, s in zip(problems.measured(task)[0].x, fitted, strict=True)
    ]
    path.write_text("# GHz S RI R 50\n" + "\n".join(rows) + "\n")
    outputs = evaluate(problems.build("ring-slot", data=str(path)), BEST_FOUR).outputs
    assert outputs["cost"][0] < 1e-24
