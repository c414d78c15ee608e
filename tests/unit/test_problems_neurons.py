"""Neurons: against an adaptive solver, published behaviour, and what the features promise."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Violation
from ax_jax_runners.problems.neurons import (
    FIRING_CLASSES,
    FitzHughNagumo,
    HodgkinHuxley,
    Izhikevich,
)
from ax_jax_runners.problems.neurons.membrane import gate_rates
from ax_jax_runners.problems.neurons.spikes import (
    observed,
    silent_train,
    train_features,
    upstroke,
)

NEURONS = [HodgkinHuxley(), FitzHughNagumo(), Izhikevich()]
# A regular-spiking cell of moderate leak, and the published cell of Pospischil et al. 2008.
MODERATE = dict(gNa=50.0, gKd=5.0, gM=0.07, gL=0.1, EL=-70.0, VT=-56.2, tau_max=600.0)
PUBLISHED = dict(gNa=56.0, gKd=6.0, gM=0.075, gL=0.0205, EL=-70.3, VT=-56.2, tau_max=608.0)


@functools.cache
def evaluator_of(neuron: Any, dtype: str = "float64") -> FeatureEvaluator:
    return neuron.evaluator(dtype, chunk=16)


def features_of(
    neuron: Any, point: Mapping[str, float], dtype: str = "float64"
) -> dict[str, float]:
    found = evaluator_of(neuron, dtype).model_features(neuron.space.pack(point))
    return {name: float(value) for name, value in found.items()}


def violation(neuron: Any, features: Any) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(jax.vmap(Violation(neuron.constraints))(features))


# ---------------------------------------------------------------------- all neurons


@pytest.mark.slow
@pytest.mark.parametrize("neuron", NEURONS, ids=repr)
def test_the_seed_point_is_inside_in_either_precision(neuron: Any) -> None:
    point = neuron.space.pack(neuron.seed_point)
    assert ((point >= neuron.space.lower) & (point <= neuron.space.upper)).all()
    for dtype in ("float64", "float32"):
        features = evaluator_of(neuron, dtype).model_features(point[None])
        assert violation(neuron, features)[0] < 0.0
    assert pickle.loads(pickle.dumps(neuron)) == neuron  # noqa: S301


@pytest.mark.slow
@pytest.mark.parametrize("neuron", NEURONS, ids=repr)
def test_features_are_finite_all_over_the_box_and_both_batch_axes_agree(neuron: Any) -> None:
    rng = np.random.default_rng(3)
    d = neuron.space.dimension
    u = np.concatenate([rng.random((10, d)), rng.integers(0, 2, (6, d)).astype(float)])
    evaluator = evaluator_of(neuron)
    theta = evaluator.icdf(u)
    evaluation = evaluator.evaluate(theta)
    assert evaluation.valid.all()
    assert np.isfinite(violation(neuron, evaluation.features)).all()
    with jax.enable_x64(True):
        last = jax.jit(jax.vmap(evaluator.row_features, in_axes=-1))(theta.T)
    for name, values in evaluation.features.items():
        assert values.shape == (16,)
        np.testing.assert_allclose(last[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


# ---------------------------------------------------------------------- Hodgkin-Huxley


def linear_over_exponential(x: float) -> float:
    return 1.0 + x / 2.0 if abs(x) < 1e-9 else x / -np.expm1(-x)


def hodgkin_huxley_slope(p: Mapping[str, float], current: float) -> Callable[..., list[float]]:
    """The equations of Pospischil et al. 2008 as they are printed."""

    def slope(_: float, y: np.ndarray) -> list[float]:
        v, m, h, n, k = y
        u = v - p["VT"]
        am, bm = (
            1.28 * linear_over_exponential((u - 13) / 4),
            1.4 * linear_over_exponential((40 - u) / 5),
        )
        ah, bh = 0.128 * np.exp((17 - u) / 18), 4 / (1 + np.exp((40 - u) / 5))
        an, bn = 0.16 * linear_over_exponential((u - 15) / 5), 0.5 * np.exp((10 - u) / 40)
        k_inf = 1 / (1 + np.exp(-(v + 35) / 10))
        tau = p["tau_max"] / (3.3 * np.exp((v + 35) / 20) + np.exp(-(v + 35) / 20))
        ionic = (
            p["gNa"] * m**3 * h * (v - 50.0)
            + (p["gKd"] * n**4 + p["gM"] * k) * (v + 90.0)
            + p["gL"] * (v - p["EL"])
        )
        gates = [am * (1 - m) - bm * m, ah * (1 - h) - bh * h, an * (1 - n) - bn * n]
        return [current - ionic, *gates, (k_inf - k) / tau]

    return slope


def solved(p: Mapping[str, float], current: float) -> dict[str, float]:
    """Features of one step from an adaptive solver of high order."""
    options: dict[str, Any] = {"method": "LSODA", "rtol": 1e-8, "atol": 1e-10}
    at_leak = hodgkin_huxley_slope({**p}, 0.0)
    start = [p["EL"], 0.0, 0.0, 0.0, 0.0]
    # A gate's slope is linear in it: two values give its steady state.
    zero, one = at_leak(0.0, np.array(start)), at_leak(0.0, np.array([p["EL"], 1, 1, 1, 1]))
    start[1:] = [a / (a - b) for a, b in zip(zero[1:], one[1:], strict=True)]
    base_times = np.linspace(90.0, 100.0, 201)
    rest = solve_ivp(at_leak, (0.0, 100.0), start, t_eval=base_times, **options)

    def up(_: float, y: np.ndarray) -> float:
        return y[0] + 20.0

    up.direction = 1.0  # type: ignore[attr-defined]
    step = solve_ivp(
        hodgkin_huxley_slope(p, current), (0.0, 400.0), rest.y[:, -1], events=up, max_step=0.5,
        dense_output=True, **options,
    )  # fmt: skip
    times = step.t_events[0]
    fine = step.sol(np.linspace(0.0, 400.0, 80_001))[0]
    intervals = np.diff(times)
    after = np.linspace(0.0, 400.0, 80_001) > times[0] + 0.5
    return {
        "voltage_base": rest.y[0].mean(),
        f"spike_count_{current:g}": len(times),
        f"latency_{current:g}": times[0],
        f"mean_isi_{current:g}": intervals.mean(),
        f"rate_{current:g}": 1000.0 / intervals.mean(),
        f"isi_cv_{current:g}": intervals.std() / intervals.mean(),
        f"maximum_voltage_{current:g}": fine.max(),
        f"trough_{current:g}": fine[after].min(),
    }


@pytest.mark.parametrize(("point", "current"), [(MODERATE, 4.0), (PUBLISHED, 2.0)])
def test_hodgkin_huxley_agrees_with_an_adaptive_solver(
    point: dict[str, float], current: float
) -> None:
    reference = solved(point, current)
    coarse = features_of(HodgkinHuxley(), point)
    fine = features_of(HodgkinHuxley(dt=0.0125), point)
    single = features_of(HodgkinHuxley(), point, "float32")
    assert reference.keys() < coarse.keys()
    for name, expected in reference.items():
        absolute = 0.2 if "voltage" in name or "trough" in name else 0.0
        if "count" in name:
            assert coarse[name] == fine[name] == single[name] == expected
        else:
            assert coarse[name] == pytest.approx(expected, rel=4e-3, abs=absolute), name
            assert fine[name] == pytest.approx(expected, rel=1e-3, abs=absolute / 3), name
            assert single[name] == pytest.approx(coarse[name], rel=1e-3), name


def test_hodgkin_huxley_figures_of_a_regular_spiking_cell() -> None:
    found = features_of(HodgkinHuxley(), MODERATE)
    assert found["spike_count_4"] == 24.0
    assert found["latency_4"] == pytest.approx(9.15, abs=0.02)
    assert found["mean_isi_4"] == pytest.approx(16.54, abs=0.05)
    assert found["maximum_voltage_4"] == pytest.approx(47.4, abs=0.2)


def test_a_silent_cell_has_finite_features_that_still_change() -> None:
    neuron = HodgkinHuxley()
    silent = [{**neuron.seed_point, "VT": -45.0, "gL": g} for g in (0.14, 0.16, 0.18)]
    theta = np.array([neuron.space.pack(point) for point in silent])
    found = evaluator_of(neuron).model_features(theta)
    for current in (1, 2):
        assert (found[f"spike_count_{current}"] == 0.0).all()
        assert (found[f"latency_{current}"] == 400.0).all()
        assert (found[f"mean_isi_{current}"] == 400.0).all()
        assert (found[f"rate_{current}"] == 0.0).all()
        assert (found[f"isi_cv_{current}"] == 0.0).all()
    worst = violation(neuron, found)
    assert (worst > 1.0).all()
    assert (np.diff(worst) > 0.01).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-7), ("float32", 1e-4)])
def test_rates_are_the_published_ones_also_where_they_are_zero_over_zero(
    dtype: str, tolerance: float
) -> None:
    near = [
        c + s * x for c in (13.0, 15.0, 40.0) for x in (0.0, 1e-6, 1e-3, 0.1, 0.3) for s in (-1, 1)
    ]
    u = np.array([*np.linspace(-40.0, 120.0, 161), *near])
    with jax.enable_x64(dtype == "float64"):
        found = jax.vmap(lambda v: gate_rates(v, PUBLISHED, 1.0))(
            jnp.asarray(u + PUBLISHED["VT"], dtype)
        )
    # A gate at 0 opens with its opening rate, a gate at 1 closes with its closing rate.
    slope = hodgkin_huxley_slope(PUBLISHED, 0.0)
    voltages = np.asarray(u + PUBLISHED["VT"], dtype)
    shut = np.array([slope(0.0, np.array([v, 0, 0, 0, 0.0])) for v in voltages.astype(float)])
    open_ = np.array([slope(0.0, np.array([v, 1, 1, 1, 1.0])) for v in voltages.astype(float)])
    for i, (opening, total) in enumerate(found, start=1):
        np.testing.assert_allclose(opening, shut[:, i], rtol=tolerance)
        np.testing.assert_allclose(total, shut[:, i] - open_[:, i], rtol=tolerance)


@pytest.mark.parametrize("dt", [0.0, 0.1, 0.03, -0.05, float("nan")])
def test_a_time_step_that_does_not_fit_is_refused(dt: float) -> None:
    with pytest.raises(ConfigurationError, match="simple fraction"):
        HodgkinHuxley(dt=dt)


@pytest.mark.slow
def test_a_thousandth_of_the_box_is_inside() -> None:
    neuron = HodgkinHuxley()
    evaluator = neuron.evaluator("float32", chunk=256)
    u = np.random.default_rng(17).random((40_960, 7))
    features = evaluator.model_features(evaluator.icdf(u))
    inside = (violation(neuron, features) <= 0.0).sum()
    # 41 are expected; four standard deviations.
    assert 41 - 26 <= inside <= 41 + 26


# ---------------------------------------------------------------------- Izhikevich


def test_the_published_classes_fire_as_they_are_called() -> None:
    space = Izhikevich().space
    theta = np.array([space.pack(point) for point in FIRING_CLASSES.values()])
    found = evaluator_of(Izhikevich()).model_features(theta)
    of = {
        name: {feature: float(values[i]) for feature, values in found.items()}
        for i, name in enumerate(FIRING_CLASSES)
    }
    # Regular spiking adapts: its first interval is the shortest, without a burst.
    assert of["RS"]["mean_isi"] > 1.5 * of["RS"]["first_isi"] > 15.0
    # Intrinsic bursting begins with a burst and goes on with single spikes.
    assert of["IB"]["first_isi"] < 5.0 < 20.0 < of["IB"]["mean_isi"]
    assert of["IB"]["isi_cv"] < 1.0
    # Chattering repeats bursts: short intervals and long gaps.
    assert of["CH"]["isi_cv"] > 1.0
    assert of["CH"]["first_isi"] < 5.0
    # Fast spiking is fast and does not adapt.
    assert of["FS"]["rate"] > 3.0 * of["RS"]["rate"]
    assert of["FS"]["isi_cv"] < 0.1
    for name in FIRING_CLASSES:
        inside = violation(Izhikevich(name), found) <= 0.0
        assert inside.tolist() == [other == name for other in FIRING_CLASSES]


def test_izhikevich_agrees_with_a_plain_loop() -> None:
    point = {"a": 0.03, "b": 0.21, "c": -58.0, "d": 5.0}
    a, b, c, d = point.values()
    v, u, voltages, times = -65.0, b * -65.0, [-65.0], []
    for k in range(1000):
        current = 0.0 if k < 200 else 10.0
        slope = 0.04 * v * v + 5.0 * v + 140.0 - u + current
        if v + 0.5 * slope >= 30.0:
            times.append(0.5 * (k - 200) + (30.0 - v) / slope)
            v, u = c, u + 0.5 * a * (b * v - u) + d
        else:
            v, u = v + 0.5 * slope, u + 0.5 * a * (b * v - u)
        voltages.append(v)
    found = features_of(Izhikevich(), point)
    intervals = np.diff(times)
    assert found["spike_count"] == len(times) > 5
    assert found["voltage_base"] == pytest.approx(np.mean(voltages[180:201]), rel=1e-12)
    assert found["latency"] == pytest.approx(times[0], rel=1e-9)
    assert found["first_isi"] == pytest.approx(intervals[0], rel=1e-9)
    assert found["mean_isi"] == pytest.approx(intervals.mean(), rel=1e-9)
    assert found["isi_cv"] == pytest.approx(intervals.std() / intervals.mean(), rel=1e-6)
    first = 201 + int(times[0] / 0.5)
    assert found["trough"] == pytest.approx(min(voltages[first:]), rel=1e-12)


def test_an_unknown_firing_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'RS', 'IB', 'CH', 'FS'"):
        Izhikevich("LTS")


# ---------------------------------------------------------------------- FitzHugh-Nagumo


def fixed_point(a: float, b: float) -> float:
    """The only real v with v - v^3 / 3 - (v + a) / b + 0.5 = 0."""
    roots = np.roots([-1.0 / 3.0, 0.0, 1.0 - 1.0 / b, 0.5 - a / b])
    return float(roots[np.abs(roots.imag).argmin()].real)


def test_oscillations_begin_at_the_hopf_bifurcation() -> None:
    neuron = FitzHughNagumo()
    evaluator = evaluator_of(neuron)
    theta = evaluator.icdf(np.random.default_rng(5).random((512, 3)))
    rest = np.array([fixed_point(a, b) for a, b, _ in theta])
    trace = 1.0 - rest**2 - theta[:, 2] * theta[:, 1]
    found = evaluator.model_features(theta)
    # At the boundary itself the transient has not died out, or a cycle coexists with the rest.
    stable, unstable = trace < -0.05, trace > 0.05
    assert min(stable.sum(), unstable.sum()) > 100
    assert (stable | unstable).mean() > 0.9
    assert (found["oscillations"][unstable] > 0.0).all()
    assert (found["amplitude"][unstable] > 0.5).all()
    assert (found["oscillations"][stable] == 0.0).all()
    # The slowest cells still creep towards rest.
    assert (found["amplitude"][stable] < 0.25).all()
    fast = stable & (trace < -0.2) & (theta[:, 2] > 0.05)
    assert fast.sum() > 30
    np.testing.assert_allclose(found["maximum"][fast], rest[fast], atol=1e-3)


def test_fitzhugh_nagumo_agrees_with_an_adaptive_solver() -> None:
    point = FitzHughNagumo().seed_point

    def slope(_: float, y: np.ndarray) -> list[float]:
        v, w = y
        return [v - v**3 / 3 - w + 0.5, point["eps"] * (v + point["a"] - point["b"] * w)]

    def up(_: float, y: np.ndarray) -> float:
        return y[0]

    up.direction = 1.0  # type: ignore[attr-defined]
    solution = solve_ivp(
        slope, (0.0, 400.0), [-1.0, -0.5], events=up, rtol=1e-10, atol=1e-12, max_step=0.1
    )
    times = solution.t_events[0][solution.t_events[0] > 200.0]
    late = solution.y[0][solution.t > 200.0]
    found = features_of(FitzHughNagumo(), point)
    assert found["oscillations"] == len(times)
    assert found["period"] == pytest.approx(np.diff(times).mean(), rel=1e-4)
    assert found["frequency"] == pytest.approx(1.0 / np.diff(times).mean(), rel=1e-4)
    assert found["maximum"] == pytest.approx(late.max(), abs=1e-3)
    assert found["minimum"] == pytest.approx(late.min(), abs=1e-3)
    assert found["period_cv"] < 1e-4


# ---------------------------------------------------------------------- streaming features


@pytest.mark.parametrize("block", [1, 2, 5, 10])
def test_streamed_features_are_those_of_the_whole_trace(block: int) -> None:
    rng = np.random.default_rng(6)
    dt, steps = 0.1, 2000
    time = dt * np.arange(steps + 1)
    spikes = np.cumsum(rng.uniform(5.0, 30.0, 40))
    spikes = spikes[spikes < 190.0]
    trace = -65.0 + 0.5 * rng.standard_normal(steps + 1)
    for spike in spikes:
        trace += 100.0 * np.exp(-0.5 * ((time - spike) / 0.6) ** 2)

    def stream(voltages: jax.Array) -> dict[str, jax.Array]:
        train = silent_train(voltages[0], 200.0)

        def step(train: Any, number: jax.Array) -> tuple[Any, None]:
            part = jax.lax.dynamic_slice(voltages, (number * block,), (block + 1,))
            before, *after = part
            spiked, since = upstroke(before, after, -20.0, dt)
            return observed(train, spiked, number * block * dt + since, after), None

        train, _ = jax.lax.scan(step, train, jnp.arange(steps // block))
        return train_features(train, 200.0)

    with jax.enable_x64(True):
        found = {name: float(x) for name, x in jax.jit(stream)(jnp.asarray(trace)).items()}
    rising = np.flatnonzero((trace[:-1] < -20.0) & (trace[1:] >= -20.0))
    crossings = time[rising] + dt * (-20.0 - trace[rising]) / (trace[rising + 1] - trace[rising])
    intervals = np.diff(crossings)
    assert found["spike_count"] == len(spikes) == len(crossings)
    assert found["latency"] == pytest.approx(crossings[0], rel=1e-9)
    assert found["mean_isi"] == pytest.approx(intervals.mean(), rel=1e-9)
    assert found["rate"] == pytest.approx(1000.0 / intervals.mean(), rel=1e-9)
    assert found["isi_cv"] == pytest.approx(intervals.std() / intervals.mean(), rel=1e-6)
    assert found["maximum_voltage"] == trace.max()
    assert found["trough"] == trace[rising[0] + 1 :].min()


@pytest.mark.parametrize(
    ("spikes", "expected"),
    [
        ([], {"latency": 100.0, "mean_isi": 100.0, "rate": 0.0, "isi_cv": 0.0}),
        ([7.0], {"latency": 7.0, "mean_isi": 100.0, "rate": 10.0, "isi_cv": 0.0}),
        ([7.0, 27.0], {"latency": 7.0, "mean_isi": 20.0, "rate": 50.0, "isi_cv": 0.0}),
        ([0.0, 10.0, 40.0], {"latency": 0.0, "mean_isi": 20.0, "rate": 50.0, "isi_cv": 0.5}),
    ],
)
def test_few_spikes_give_what_the_features_promise(
    spikes: list[float], expected: dict[str, float]
) -> None:
    train = silent_train(jnp.asarray(-70.0), 100.0)
    for spike in spikes:
        train = observed(train, jnp.asarray(True), jnp.asarray(spike), [jnp.asarray(-60.0)])
    found = train_features(train, 100.0)
    assert {name: float(found[name]) for name in expected} == pytest.approx(expected, abs=1e-6)
    assert float(found["spike_count"]) == len(spikes)
