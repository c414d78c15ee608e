"""Random walks as trials: paths, bits, outputs, extensions, and arms that come to nothing."""

from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from ax_jax_runners.errors import ConfigurationError, ParameterError, SeedPointOutside
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.exploration.diagnostics import ess_from_jumps, ess_with_error, split_rhat
from ax_jax_runners.exploration.expedition import Expedition
from ax_jax_runners.exploration.running import begin
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.regions import Ball
from ax_jax_runners.tasks import RandomWalkTask, Task
from ax_jax_runners.tasks.freezing import freeze, join, static_shape, take, thaw
from ax_jax_runners.tasks.keys import arm_keys

BALL = Ball(3)
WALK = RandomWalk(BALL.evaluator(chunk=8), BALL.constraints, n_iterations=1)
SEEDS = [[0.5, 0.5, 0.5], [0.4, 0.5, 0.6]]
PARTICLES, TICKS = 12, 160
KEYS = arm_keys(3, [(i, 0) for i in range(4)])
ISOTROPIC = ("self_loop", "reflect", "hit_and_run")


def task_of(walk=WALK, **changes):
    given = {"seed_points": SEEDS, "evaluations": PARTICLES * TICKS, "particles": PARTICLES}
    return RandomWalkTask(walk, **{**given, **changes})


def walk_of(**changes):
    return dataclasses.replace(WALK, **changes)


def arm_of(kernel="self_loop", step=0.3, ratio=0.5, seed=0, adapt=False):
    return {
        "seed_point": seed,
        "max_step_size": step,
        "step_ratio": ratio,
        "kernel": kernel,
        "adapt": adapt,
    }


TASK = task_of()
ARMS = [
    arm_of("hit_and_run", step=0.8),
    arm_of("self_loop", seed=1, adapt=True),
    arm_of("reflect", step=0.2),
    arm_of("self_loop", step=0.1, ratio=0.0),
]


def finished(task, arms, keys=KEYS):
    state = task.begin(arms, keys[: len(arms)])
    for _ in range(task.slices):
        state = task.advance(state)
    return state


def trial(task, arm, key=0):
    (progress,) = task.progress(finished(task, [arm], KEYS[key : key + 1]))
    assert progress.done
    return progress


def same_bits(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        if name != "resume.slice":
            assert array.dtype == other[name].dtype
            assert array.tobytes() == other[name].tobytes(), name


@pytest.fixture(scope="module")
def together():
    return finished(TASK, ARMS)


@pytest.fixture(scope="module")
def reports(together):
    return TASK.progress(together)


# ---- paths


@dataclasses.dataclass(frozen=True)
class WithKeys(Expedition):
    """A run of a walk whose particles have given keys."""

    keys: np.ndarray

    def begin(self):
        walk = self.walk
        steps = (walk.min_step_size, walk.largest_step)
        return begin(
            walk.program, self.theta, self.keys, iteration=-walk.warm_up_iterations, step=steps
        )


def keys_of_particles(key, particles=PARTICLES):
    words = jnp.asarray(jax.random.key_data(key))
    pairs = [threefry_2x32(words, jnp.array([p, 0], jnp.uint32)) for p in range(particles)]
    return np.stack(pairs, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ARMS)))
def test_an_arm_is_a_run_of_a_walk_with_its_settings(reports, number):
    arm, found = ARMS[number], reports[number].arrays["unit_states"]
    chord = arm["kernel"] == "hit_and_run"
    rows = int(np.isfinite(found[:, :, 0]).sum(axis=0).min())
    walk = walk_of(
        kernel=arm["kernel"],
        max_step_size=arm["max_step_size"],
        min_step_size=0.0 if chord else arm["step_ratio"] * arm["max_step_size"],
        adapt=arm["adapt"],
        warm_up=TICKS // 4 if arm["adapt"] else None,
        n_iterations=rows,
    )
    seeds = np.array([SEEDS[arm["seed_point"]]])
    direct = WithKeys(walk, seeds, PARTICLES, keys_of_particles(KEYS[number])).run(
        None, progress=False
    )
    # The box is the unit box, in which the ball's parameters are.
    np.testing.assert_array_equal(direct.states, found[:rows])
    if not chord:
        assert rows == TICKS - walk.warm_up_iterations


def test_all_states_are_inside_and_their_violations_told(reports):
    for report in reports:
        unit, violation = report.arrays["unit_states"], report.arrays["violations"]
        there = np.isfinite(violation)
        assert unit.shape == (TICKS, PARTICLES, 3)
        assert (there == np.isfinite(unit).all(axis=-1)).all()
        assert BALL.contains(unit[there]).all()
        radius = np.linalg.norm(unit[there] - 0.5, axis=-1)
        np.testing.assert_allclose(violation[there], radius - 0.3, atol=1e-12)


def test_a_walk_of_the_old_law_is_had_by_name():
    space = TASK.space
    choices = [p for p in space.parameters if p.name != "kernel"]
    redraw = task_of(space=ParameterSpace([*choices, Parameter("kernel", fixed="redraw")]))
    found = trial(redraw, arm_of("redraw"))
    assert set(found.outputs) == set(TASK.outputs)


# ---- bits


def test_an_arm_has_the_same_bits_alone_as_in_a_batch(reports):
    for number, arm in enumerate(ARMS):
        same_bits(trial(TASK, arm, number).arrays, reports[number].arrays)
        assert trial(TASK, arm, number).outputs == reports[number].outputs
    assert isinstance(TASK, Task)


def test_arms_frozen_after_every_slice_and_joined_with_strangers_keep_their_bits(reports):
    chosen = [2, 0]
    arms, keys = [ARMS[i] for i in chosen], KEYS[np.array(chosen)]
    state = TASK.begin(arms, keys)
    template = TASK.begin(arms, keys)
    for _ in range(TASK.slices):
        state = thaw(freeze(TASK.advance(state)), template)
    for row, i in enumerate(chosen):
        same_bits(TASK.progress(state)[row].arrays, reports[i].arrays)
    stranger = TASK.advance(TASK.begin(ARMS[1:2], KEYS[1:2]))
    late = take(TASK.advance(TASK.advance(TASK.begin(ARMS, KEYS))), [3, 0], arms=4)
    assert static_shape(stranger) == static_shape(late)
    state = join([stranger, late])
    for _ in range(TASK.slices):
        state = TASK.advance(state)
    for row, i in enumerate([1, 3, 0]):
        same_bits(TASK.progress(state)[row].arrays, reports[i].arrays)


@pytest.mark.parametrize("thin", [1, 3])
def test_the_number_of_slices_does_not_matter(thin):
    walk = walk_of(thin=thin)
    whole = finished(task_of(walk, slices=1), ARMS)
    parts = finished(task_of(walk, slices=7), ARMS)
    for one, other in zip(
        task_of(walk, slices=1).progress(whole),
        task_of(walk, slices=7).progress(parts),
        strict=True,
    ):
        same_bits(one.arrays, other.arrays)
        assert one.outputs == other.outputs
        assert len(one.arrays["violations"]) == TICKS // thin


@pytest.mark.slow
def test_nor_does_it_with_every_kernel_that_adapts():
    # Reflection learns a diagonal, the others a matrix.
    arms = [arm_of(kernel, step=0.4, adapt=True) for kernel in ISOTROPIC]
    walk = walk_of(warm_up=60)
    whole, parts = task_of(walk, slices=1), task_of(walk, slices=9)
    straight = whole.progress(finished(whole, arms))
    state = template = parts.begin(arms, KEYS[:3])
    for _ in range(9):
        state = thaw(freeze(parts.advance(state)), template)
    longer = task_of(walk, evaluations=PARTICLES * 250, slices=1)
    ends = longer.progress(finished(longer, arms))
    for one, other, end in zip(straight, parts.progress(state), ends, strict=True):
        same_bits(one.arrays, other.arrays)
        same_bits(parts.extend(other.arrays, longer.evaluations).arrays, end.arrays)


def test_a_thinned_walk_is_every_third_state_of_the_other():
    for number in (0, 3):
        all_of_them = trial(TASK, ARMS[number], number).arrays["unit_states"]
        thinned = trial(task_of(walk_of(thin=3)), ARMS[number], number).arrays["unit_states"]
        rows = np.isfinite(thinned[:, :, 0]).sum(axis=0)
        for particle, count in enumerate(rows):
            expected = all_of_them[2 : 3 * count : 3, particle]
            np.testing.assert_array_equal(thinned[:count, particle], expected)


def test_a_particle_does_not_depend_on_how_many_others_walk(reports):
    more = task_of(particles=21, evaluations=21 * TICKS)
    for number in (0, 1):
        found = trial(more, ARMS[number], number).arrays["unit_states"][:, :PARTICLES]
        kept = reports[number].arrays["unit_states"]
        if ARMS[number]["adapt"]:
            np.testing.assert_array_equal(found, kept)
        else:
            both = np.isfinite(found) & np.isfinite(kept)
            assert both.mean() > 0.2
            np.testing.assert_array_equal(found[both], kept[both])


def test_every_slice_costs_its_share_of_the_budget():
    task = task_of(evaluations=PARTICLES * 100 + 5, slices=8)
    state = task.begin(ARMS, KEYS)
    assert [p.step for p in task.progress(state)] == [0] * 4
    for number in range(1, 9):
        state = task.advance(state)
        found = task.progress(state)
        assert [p.step for p in found] == [PARTICLES * (100 * number // 8)] * 4
        assert [p.done for p in found] == [number == 8] * 4
    assert all(not p.arrays for p in task.progress(task.begin(ARMS, KEYS)))
    before = freeze(state)
    after = freeze(task.advance(state))
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


# ---- outputs


@pytest.mark.parametrize("number", [0, 1])
def test_outputs_are_those_of_the_diagnostics(reports, number):
    found, arrays = reports[number].outputs, reports[number].arrays
    rows = int(np.isfinite(arrays["violations"]).sum(axis=0).min())
    states = arrays["unit_states"][:rows]
    rate = 1000 / (PARTICLES * TICKS)
    draws, errors = ess_from_jumps(states, variance=1 / 12)
    worst = draws.argmin()
    value, error = found["log10_jump_ess_per_1000"]
    assert value == pytest.approx(math.log10(draws[worst] * rate))
    assert error == pytest.approx(errors[worst] / draws[worst] / math.log(10))
    settled = states[round(rows / 4) :]
    draws, errors = ess_with_error(settled)
    worst = draws.argmin()
    expected = (draws[worst] * rate, errors[worst] * rate)
    assert found["ess_per_1000"] == pytest.approx(expected)
    assert found["log10_ess_per_1000"][0] == pytest.approx(math.log10(expected[0]))
    assert found["log10_ess_per_1000"][1] == pytest.approx(expected[1] / expected[0] / math.log(10))
    assert found["rhat"][0] == pytest.approx(split_rhat(settled).max())
    assert 0 < found["rhat"][1] < 1
    cells = np.minimum((states * 16).astype(int), 15)
    pairs = [np.unique(cells[..., [i, j]].reshape(-1, 2), axis=0) for i, j in [(0, 1), (0, 2)]]
    pairs.append(np.unique(cells[..., [1, 2]].reshape(-1, 2), axis=0))
    assert found["new_coverage"][0] == sum(map(len, pairs))


def test_acceptance_is_the_share_of_iterations_that_moved(reports):
    start = np.full((1, PARTICLES, 3), SEEDS[0])
    states = np.concatenate([start, reports[3].arrays["unit_states"]])
    moved = (np.diff(states, axis=0) != 0).any(axis=-1).mean(axis=0)
    mean, error = reports[3].outputs["acceptance"]
    assert mean == pytest.approx(moved.mean())
    assert error == pytest.approx(moved.std(ddof=1) / math.sqrt(PARTICLES))


def test_steps_of_a_good_size_are_told_from_small_ones_after_few_evaluations():
    state = TASK.begin([arm_of(step=0.3, ratio=0.9), arm_of(step=0.02)], KEYS[:2])
    known = []
    for _ in range(3):
        state = TASK.advance(state)
        known.append([p.outputs["log10_jump_ess_per_1000"] for p in TASK.progress(state)])
    for (good, good_error), (bad, bad_error) in known:
        assert good - bad > 5 * math.hypot(good_error, bad_error)
        assert good - bad > 1


def test_known_points_take_their_cells_and_tell_the_variance():
    rng = np.random.default_rng(0)
    points = BALL.sample(rng, 4000)
    informed = task_of(known_points=points)
    blind, seeing = trial(TASK, ARMS[3]).outputs, trial(informed, ARMS[3]).outputs
    assert seeing["new_coverage"][0] < 0.2 * blind["new_coverage"][0]
    states = trial(TASK, ARMS[3]).arrays["unit_states"]
    draws, _ = ess_from_jumps(states, variance=points.var(axis=0))
    expected = math.log10(draws.min() * 1000 / (PARTICLES * TICKS))
    assert seeing["log10_jump_ess_per_1000"][0] == pytest.approx(expected)
    points[:] = 0.5
    assert trial(informed, ARMS[3]).outputs == seeing
    # One point has no variance: that of the box stands in.
    one = trial(task_of(known_points=[SEEDS[0]]), ARMS[3]).outputs
    assert one["log10_jump_ess_per_1000"] == blind["log10_jump_ess_per_1000"]
    assert blind["new_coverage"][0] - one["new_coverage"][0] <= 3


def test_only_some_parameters_are_explored():
    task = task_of(walk_of(params_to_explore=("x2", "x0")))
    found = trial(task, arm_of(seed=1))
    assert found.arrays["unit_states"].shape == (TICKS, PARTICLES, 2)
    x2, x0 = np.moveaxis(found.arrays["unit_states"], -1, 0)
    assert BALL.contains(np.stack([x0, np.full_like(x0, 0.5), x2], axis=-1)).all()
    assert set(found.outputs) == set(TASK.outputs)


def noisy(values, key):
    return {"f": values["a"] + 0.1 * jax.random.normal(key)}


def test_a_stochastic_simulator_draws_from_the_arms_key():
    space = ParameterSpace(
        [Parameter("a", lower=0.1, upper=10.0, log_scale=True), Parameter("b", lower=0, upper=1)]
    )
    walk = RandomWalk(
        FeatureEvaluator(noisy, space, stochastic=True, chunk=8, dtype="float32"),
        [Constraint("f", lower=0.5, upper=5.0)],
        n_iterations=1,
    )
    task = task_of(walk, seed_points={"a": 2.0, "b": 0.5})
    assert [p.name for p in task.space.free] == ["max_step_size", "step_ratio", "kernel", "adapt"]
    one, again, other = trial(task, arm_of()), trial(task, arm_of()), trial(task, arm_of(), 1)
    same_bits(one.arrays, again.arrays)
    assert one.outputs == again.outputs != other.outputs
    a = 0.1 * 100 ** one.arrays["unit_states"][..., 0].astype(float)
    assert one.arrays["unit_states"].dtype == np.float32
    assert a.min() < 0.5 or a.max() > 5.0  # by the noise's grace
    assert 0.2 < a.min() < a.max() < 5.5


# ---- directed walks


def test_an_aimed_walk_tells_how_far_it_is():
    aims = {"x0": 0.7, "x2": 0.35}
    task = task_of(walk_of(aim_params=aims))
    assert task.outputs == ("distance_to_aim", "new_coverage", "acceptance")
    (kernel,) = [p for p in task.space.parameters if p.name == "kernel"]
    assert kernel.choices == ("self_loop", "reflect")
    state = task.begin([arm_of(step=0.02)], KEYS[:1])
    assert task.progress(state)[0].outputs == {}
    distances = []
    for _ in range(task.slices):
        state = task.advance(state)
        distances.append(task.progress(state)[0].outputs["distance_to_aim"])
    report = task.progress(state)[0]
    values = [value for value, _ in distances]
    assert values[0] < math.hypot(0.2, 0.15)
    assert all(later <= earlier for earlier, later in itertools.pairwise(values))
    last = report.arrays["unit_states"][-1]
    gaps = np.hypot(last[:, 0] - 0.7, last[:, 2] - 0.35)
    assert values[-1] == pytest.approx(gaps.mean(), abs=1e-12)
    assert distances[-1][1] == pytest.approx(gaps.std(ddof=1) / math.sqrt(PARTICLES))


@pytest.mark.parametrize("thin", [1, 40])
def test_particles_that_stop_at_their_aim_count_with_where_they_are(thin):
    aimed = walk_of(aim_params={"x0": 0.62}, stop_n_inside_with_aim_params=1, thin=thin)
    task = task_of(aimed, slices=4)
    found = trial(task, arm_of(step=0.06))
    assert found.outputs["distance_to_aim"][0] <= 1e-4
    assert found.step < PARTICLES * TICKS
    assert found.arrays["resume.walk.unit"][0] == pytest.approx(0.62, abs=1e-4)
    # Some are there while others have some way to go.
    early = task.advance(task.begin([arm_of(step=0.013, ratio=0.0)], KEYS[:1]))
    (report,) = task.progress(early)
    (now,) = early["walk.unit"][:, 0]
    assert np.ptp(early["walk.status"]) > 0
    assert report.outputs["distance_to_aim"][0] == pytest.approx(np.abs(now - 0.62).mean())


def test_an_expanding_walk_only_goes_outwards():
    task = task_of(walk_of(mode="expand"))
    assert task.outputs == ("new_coverage", "acceptance")
    assert "hit_and_run" in next(p for p in task.space.parameters if p.name == "kernel").choices
    found = trial(task, arm_of(step=0.05))
    distance = np.linalg.norm(found.arrays["unit_states"] - 0.5, axis=-1)
    assert (np.diff(distance, axis=0) >= 0).all()
    assert distance[-1].min() > 0.2
    assert found.outputs["new_coverage"][0] > 50
    assert set(found.outputs) == set(task.outputs)


# ---- longer trials


@pytest.mark.parametrize("thin", [1, 3])
@pytest.mark.parametrize("number", range(len(ARMS)))
def test_an_extended_arm_is_that_of_a_longer_trial(thin, number):
    walk = walk_of(thin=thin, warm_up=39)
    short, long = (task_of(walk, evaluations=PARTICLES * t) for t in (TICKS, 250))
    once = trial(short, ARMS[number], number)
    longer = trial(long, ARMS[number], number)
    extended = short.extend(once.arrays, PARTICLES * 250)
    assert extended.done
    assert (extended.step, extended.outputs) == (longer.step, longer.outputs)
    same_bits(extended.arrays, longer.arrays)
    again = task_of(walk, evaluations=PARTICLES * 200).extend(
        short.extend(once.arrays, PARTICLES * 200).arrays, PARTICLES * 250
    )
    same_bits(again.arrays, longer.arrays)


def test_an_extension_by_nothing_changes_nothing():
    found = trial(TASK, ARMS[3])
    extended = TASK.extend(found.arrays, TASK.evaluations)
    assert extended.outputs == found.outputs
    same_bits(extended.arrays, found.arrays)


def test_an_arm_that_has_stopped_is_not_extended():
    task = task_of(walk_of(aim_params={"x0": 0.62}, stop_n_inside_with_aim_params=1))
    found = trial(task, arm_of(step=0.05))
    extended = task.extend(found.arrays, 2 * task.evaluations)
    assert (extended.step, extended.outputs) == (found.step, found.outputs)


def test_an_extension_that_cannot_be_is_refused():
    found = trial(TASK, ARMS[3])
    with pytest.raises(ConfigurationError, match="evaluations is 100, and the arm has used 1920"):
        TASK.extend(found.arrays, 100)
    with pytest.raises(ConfigurationError, match="evaluations is 2000.5"):
        TASK.extend(found.arrays, 2000.5)
    with pytest.raises(ConfigurationError, match="lack violations, resume.arm"):
        TASK.extend({"unit_states": found.arrays["unit_states"]}, 4000)


# ---- arms that come to nothing


def test_a_walk_that_stands_still_has_the_worst_outputs():
    small = Ball(3, radius=0.01)
    task = task_of(RandomWalk(small.evaluator(chunk=8), small.constraints, n_iterations=1))
    found = trial(task, arm_of(step=0.4, ratio=1.0))
    assert found.failure is None
    assert found.outputs["acceptance"] == (0.0, 0.0)
    assert found.outputs["log10_jump_ess_per_1000"][0] == -3.0
    assert found.outputs["rhat"][0] == 10.0
    assert found.outputs["new_coverage"][0] == 3
    assert np.isfinite([value for value, _ in found.outputs.values()]).all()


def test_two_particles_are_enough():
    found = trial(task_of(particles=2, evaluations=2 * TICKS), arm_of())
    assert found.outputs["rhat"][1] is None
    assert np.isfinite([value for value, _ in found.outputs.values()]).all()


def test_a_stalled_walk_fails_with_a_sentence():
    task = task_of(walk_of(max_suggestions=5))
    found = trial(task, arm_of(step=2.0, ratio=1.0))
    assert found.outputs == {}
    assert found.arrays == {}
    assert found.failure is not None
    assert "None of 5 suggestions in a row" in found.failure
    assert found.step == 5 * PARTICLES


def test_particles_that_stall_early_are_left_out():
    task = task_of(walk_of(max_suggestions=5), seed_points=[0.29, 0.35, 0.45])
    found = trial(task, arm_of(step=0.6))
    recorded = np.isfinite(found.arrays["violations"]).sum(axis=0)
    assert sorted(recorded)[:4] == [51, 55, 91, 116]
    kept = recorded >= 80
    moves, iterations = (found.arrays[f"resume.walk.{name}"] for name in ("moves", "iteration"))
    assert found.outputs["acceptance"][0] == pytest.approx((moves / iterations)[kept].mean())
    draws, _ = ess_from_jumps(found.arrays["unit_states"][:91, kept], variance=1 / 12)
    expected = math.log10(draws.min() * 1000 / found.step)
    assert found.outputs["log10_jump_ess_per_1000"][0] == pytest.approx(expected)


@pytest.mark.parametrize("kernel", ["self_loop", "hit_and_run"])
def test_a_warm_up_that_eats_the_budget_fails_with_a_sentence(kernel):
    task = task_of(walk_of(warm_up=1000))
    found = trial(task, arm_of(kernel, adapt=True))
    assert found.failure is not None
    assert "All 160 evaluations of each particle went into the warm-up" in found.failure
    nearly = trial(task_of(walk_of(warm_up=150)), arm_of(adapt=True))
    assert nearly.failure is not None
    assert "Only 10 states of each particle were recorded" in nearly.failure
    # Without adaptation there is no warm-up.
    assert trial(task, arm_of(kernel)).failure is None


def test_an_arm_outside_is_named_with_what_it_violates():
    task = task_of(seed_points=[*SEEDS, [0.9, 0.5, 0.5]])
    with pytest.raises(SeedPointOutside, match=r"x0=0\.9.*radius.*found 0\.4"):
        task.begin([arm_of(), arm_of(seed=2)], KEYS[:2])
    with pytest.raises(ParameterError, match="kernel"):
        task.begin([arm_of("leap")], KEYS[:1])


# ---- arguments


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"walk": "a walk"}, "was given a str"),
        ({"particles": 1}, "particles is 1"),
        ({"particles": 2.0}, "particles is 2.0"),
        ({"slices": 0}, "slices is 0"),
        ({"slices": True}, "slices is True"),
        ({"evaluations": 95}, "at least 96"),
        ({"evaluations": 1e4}, "evaluations is 10000.0"),
        ({"space": BALL.space}, "The space has x0, x1, x2; an arm's settings are seed_point"),
        ({"space": {"kernel": 1}}, "is a dict"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(changes, words):
    with pytest.raises(ConfigurationError, match=words):
        task_of(**changes)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([0.5, 0.5], "shape"),
        ([[0.5, 0.5, 1.5]], "x2 = 1.5"),
        ([], "shape"),
        ("here", "no table"),
        ([{"x0": 0.5}], "x1"),
    ],
)
def test_seed_points_that_do_not_fit_are_refused(given, words):
    with pytest.raises(ParameterError, match=words):
        task_of(seed_points=given)
    with pytest.raises(ParameterError, match=words):
        task_of(known_points=given)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (Parameter("seed_point", choices=[0, 1, 2]), "seed_point may be 2"),
        (Parameter("seed_point", fixed=-1), "seed_point may be -1"),
        (Parameter("seed_point", lower=0.0, upper=1.0), "seed_point may be 0.0"),
        (Parameter("seed_point", choices=["a", "b"]), "seed_point may be 'a'"),
        (Parameter("max_step_size", lower=0.0, upper=1.0), "max_step_size may be 0"),
        (Parameter("step_ratio", lower=0.0, upper=1.5), "step_ratio may be 1.5"),
        (Parameter("kernel", choices=["reflect", "leap"]), "kernel is 'leap'"),
        (Parameter("adapt", choices=["no", "yes"]), "adapt may be 'no'"),
    ],
)
def test_settings_that_no_walk_can_have_are_refused(changed, words):
    rest = [p for p in TASK.space.parameters if p.name != changed.name]
    with pytest.raises(ConfigurationError, match=words):
        TASK.over(ParameterSpace([*rest, changed]))


def test_another_range_of_settings_can_be_searched():
    narrow = TASK.over(
        TASK.space.replace({"max_step_size": {"upper": 0.5}, "adapt": {"fixed": False}})
    )
    assert narrow.space.names == ("seed_point", "max_step_size", "step_ratio", "kernel")
    assert narrow != TASK
    assert narrow.over(TASK.space) == TASK
    same_bits(
        trial(narrow, ARMS[3]).arrays | {"resume.arm": np.zeros(0)},
        trial(TASK, ARMS[3]).arrays | {"resume.arm": np.zeros(0)},
    )
    with pytest.raises(ConfigurationError, match="aim"):
        aimed = task_of(walk_of(aim_params={"x0": 0.6}))
        rest = [p for p in aimed.space.parameters if p.name != "kernel"]
        aimed.over(ParameterSpace([*rest, Parameter("kernel", fixed="hit_and_run")]))
