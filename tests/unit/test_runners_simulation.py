"""The cluster of the simulation, its runtimes and its draws, without Ax's loop."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ax_jax_runners.errors import ConfigurationError, TaskChanged, TaskNotBound
from ax_jax_runners.runners.simulation import (
    Cluster,
    FunctionResolver,
    Job,
    UnboundFunction,
    check_runtime,
    decode_runtime,
    encode_runtime,
    runtime_model,
    sample_runtime_unif,
    sampled,
)
from ax_jax_runners.runners.simulation.draws import FAILURE, MOMENT, RUNTIME, uniform


@dataclass(frozen=True)
class Arm:
    parameters: dict


@dataclass(frozen=True)
class Trial:
    index: int
    arms: tuple[Arm, ...] = (Arm({"x": 1.0}),)


# ---- the cluster


def run_out(cluster):
    while cluster.advance() or any(job.ended is None for job in cluster.jobs.values()):
        pass


def test_one_slot_runs_jobs_in_the_order_of_their_submission():
    cluster = Cluster(1)
    cluster.submit([Job(2, 0.0, 3.0), Job(0, 0.0, 1.0), Job(1, 0.0, 2.0)])
    run_out(cluster)
    found = {i: (j.queued, j.started, j.ended) for i, j in sorted(cluster.jobs.items())}
    assert found == {0: (0.0, 0.0, 1.0), 1: (0.0, 1.0, 3.0), 2: (0.0, 3.0, 6.0)}
    assert cluster.now == 6.0
    assert not cluster.advance()


def test_what_happens_at_one_instant_happens_together():
    cluster = Cluster(2)
    cluster.submit([Job(i, 0.0, 1.0) for i in range(4)])
    assert cluster.advance()
    assert [job.ended for job in cluster.jobs.values()] == [1.0, 1.0, None, None]
    assert [job.started for job in cluster.jobs.values()] == [0.0, 0.0, 1.0, 1.0]


def test_slices_are_equally_long_and_the_last_is_the_end():
    cluster = Cluster(1)
    job = Job(0, 0.0, 10.0, slices=4)
    cluster.submit([job])
    seen = []
    while job.ended is None:
        ended = cluster.advance()
        seen.append((cluster.now, job.shown, ended))
    assert seen == [(2.5, 1, False), (5.0, 2, False), (7.5, 3, False), (10.0, 3, True)]


def test_a_failing_job_shows_the_slices_before_its_failure():
    cluster = Cluster(1)
    job = Job(0, 0.0, 10.0, fails_after=6.0, slices=4)
    cluster.submit([job])
    run_out(cluster)
    assert (job.shown, job.ended) == (2, 6.0)


def test_a_stopped_job_frees_its_slot_at_once_and_a_stopped_waiting_one_never_starts():
    cluster = Cluster(1)
    cluster.submit([Job(i, 0.0, 4.0) for i in range(4)])
    cluster.stop(1)
    cluster.advance()
    assert cluster.jobs[1].started is None
    assert cluster.jobs[2].started == 4.0
    cluster.stop(2)
    assert cluster.jobs[2].ended == 4.0
    assert cluster.jobs[3].started == 4.0
    run_out(cluster)
    assert cluster.now == 8.0


@dataclass(frozen=True)
class Scenario:
    slots: int
    steps: tuple


spans = st.one_of(st.integers(1, 4).map(float), st.floats(0.1, 9.0))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.lists(st.tuples(spans, st.integers(1, 3)), max_size=5)),
        st.tuples(st.just("advance"), st.integers(1, 6)),
        st.tuples(st.just("stop"), st.integers(0, 20)),
    ),
    min_size=1,
    max_size=12,
)
scenarios = st.builds(Scenario, st.integers(1, 4), steps.map(tuple))


def play(scenario, forget=lambda cluster: cluster):
    """Play a scenario; after every step the cluster is replaced by what ``forget`` returns."""
    cluster = Cluster(scenario.slots)
    for what, detail in scenario.steps:
        if what == "submit":
            first = len(cluster.jobs)
            cluster.submit(
                Job(first + i, cluster.now, span, slices=slices)
                for i, (span, slices) in enumerate(detail)
            )
        elif what == "advance":
            for _ in range(detail):
                cluster.advance()
        elif detail in cluster.jobs and cluster.jobs[detail].ended is None:
            cluster.stop(detail)
        cluster = forget(cluster)
    run_out(cluster)
    return cluster


@given(scenarios)
def test_slots_are_never_overfull_and_never_idle_while_jobs_wait(scenario):
    jobs = play(scenario).jobs.values()
    ran = [job for job in jobs if job.started is not None]
    for job in ran:
        assert job.started >= job.queued
        assert job.ended <= job.started + job.span
    times = sorted({t for job in jobs for t in (job.queued, job.started, job.ended) if t})
    for time in (0.0, *times):
        busy = sum(job.started <= time < job.ended for job in ran)
        waiting = sum(job.queued <= time < min(started(job), job.ended) for job in jobs)
        assert busy <= scenario.slots
        assert not waiting or busy == scenario.slots


def started(job):
    return math.inf if job.started is None else job.started


@given(scenarios, st.booleans())
def test_a_cluster_rebuilt_from_records_goes_on_as_the_first_would_have(scenario, forget_starts):
    def forget(cluster):
        """Keep what a database has: the start of a job that waited may not be written yet."""
        jobs = []
        for job in cluster.jobs.values():
            unwritten = forget_starts and job.ended is None and job.started != job.queued
            started = None if unwritten else job.started
            jobs.append(Job(job.index, job.queued, job.span, None, started, job.ended))
        again = Cluster.rebuilt(scenario.slots, jobs, cluster.now)
        for job in again.jobs.values():
            if job.ended is None:
                again.follow(job, cluster.jobs[job.index].slices)
            assert job.started == cluster.jobs[job.index].started
        return again

    def history(cluster):
        return [(job.index, job.queued, job.started, job.ended) for job in cluster.jobs.values()]

    assert history(play(scenario, forget)) == history(play(scenario))


# ---- draws


def test_draws_are_uniform_and_depend_on_every_counter():
    numbers = np.array([uniform(0, RUNTIME, index) for index in range(4000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # Kolmogorov-Smirnov at 1e-3: 1.95 / sqrt(n).
    ranks = np.arange(1, 4001) / 4000
    assert np.abs(np.sort(numbers) - ranks).max() < 1.95 / math.sqrt(4000)
    counters = [(0, RUNTIME, 1), (1, RUNTIME, 1), (0, FAILURE, 1), (0, MOMENT, 1), (0, RUNTIME, 2)]
    assert len({uniform(*c) for c in counters} | {uniform(0, RUNTIME, 1, 1)}) == 6


def test_sample_runtime_unif_depends_on_the_trial_only():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    found = [sample_runtime_unif(Trial(index)) for index in range(300)]
    np.random.seed(4)
    assert [sample_runtime_unif(Trial(index)) for index in range(300)] == found
    assert 1.0 <= min(found) < 1.1
    assert 4.9 < max(found) <= 5.0
    assert all(2.0 <= sample_runtime_unif(Trial(i), low=2.0, high=2.5) <= 2.5 for i in range(50))
    np.random.seed(3)
    sample_runtime_unif(Trial(0))
    assert (np.random.get_state()[1] == before).all()
    with pytest.raises(ConfigurationError, match="low <= high"):
        sample_runtime_unif(Trial(0), low=2.0, high=1.0)


# ---- runtimes


def half(parameters):
    return parameters["x"] / 2


def traced(parameters):
    return jnp.exp(parameters["x"])


def seconds(runtime, index, *arms, seed=0):
    arms = arms or ({"x": 1.0},)
    model = runtime_model(check_runtime(runtime), seed)
    return sampled(model, Trial(index, tuple(Arm(arm) for arm in arms)))


def test_runtimes_of_every_kind():
    assert seconds(7, 3) == 7.0
    assert [seconds([1, 2.5], index) for index in range(4)] == [1.0, 2.5, 1.0, 2.5]
    assert seconds(np.array([1.0, 2.0]), 1) == 2.0
    assert seconds({3: 4.0}, 3) == 4.0
    assert seconds(half, 0, {"x": 5.0}) == 2.5
    assert seconds(half, 0, {"x": 5.0}, {"x": 9.0}) == 4.5
    assert seconds(traced, 0, {"x": 0.1}) == pytest.approx(math.exp(0.1), rel=1e-15)
    assert all(1.0 <= seconds(None, index) <= 5.0 for index in range(50))
    assert seconds(None, 4) == seconds(None, 4) != seconds(None, 4, seed=1)


def test_a_drawn_runtime_is_the_distributions_own_sample_with_the_trials_key():
    distribution = dist.LogNormal(1.0, 0.5)
    with jax.enable_x64(True):
        root = jax.random.key(5, impl="threefry2x32")
        expected = float(jax.jit(distribution.sample)(jax.random.fold_in(root, 300)))
    assert seconds(distribution, 300, seed=5) == pytest.approx(expected, rel=1e-12)
    model = runtime_model(check_runtime(distribution), 5)
    found = np.log([model.seconds(index, []) for index in range(1024)])
    assert abs(found.mean() - 1.0) < 4 * 0.5 / 32
    assert abs(found.std() - 0.5) < 0.05


def test_a_runtime_that_is_none_is_told_in_a_sentence():
    assert "nan s" in seconds(lambda p: math.nan, 0)
    assert "nan s" in seconds(lambda p: math.nan if p["x"] < 2 else 9.0, 0, {"x": 1.0}, {"x": 3.0})
    assert "-1.0 s" in seconds(lambda p: -1.0, 0)
    assert "inf s" in seconds(lambda p: math.inf, 0)
    assert "KeyError" in seconds(lambda p: p["y"], 0)
    with pytest.raises(ConfigurationError, match="trial 4"):
        seconds({3: 4.0}, 4)


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        (0.0, "above 0"),
        (-1, "above 0"),
        (math.nan, "above 0"),
        (math.inf, "above 0"),
        (True, "above 0"),
        ([], "empty"),
        ([1.0, 0.0], r"runtime\[1\]"),
        (["soon"], r"runtime\[0\]"),
        ({"soon": 1.0}, "trial index"),
        ({1: -1.0}, r"runtime\[1\]"),
        ("soon", "numpyro distribution"),
        (float, "numpyro distribution"),
        (dist.Normal(0.0, 1.0), "can be negative"),
        (dist.Gamma(jnp.ones(2), 1.0), "of vectors"),
    ],
)
def test_a_runtime_that_cannot_be_used_is_refused(runtime, words):
    with pytest.raises(ConfigurationError, match=words):
        check_runtime(runtime)


RUNTIMES = [
    None,
    3.5,
    (1.0, 2.0),
    {2: 1.5, 0: 4.0},
    dist.LogNormal(1.0, 0.5),
    dist.Gamma(2.0, 0.25),
    dist.Uniform(1.0, 5.0),
    dist.TruncatedNormal(5.0, 1.0, low=0.5),
    half,
]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda r: type(r).__name__)
def test_a_runtime_comes_back_from_json_as_it_was(runtime):
    kept = check_runtime(runtime)
    record = json.loads(json.dumps(encode_runtime(kept), allow_nan=False))
    again = check_runtime(decode_runtime(record, FunctionResolver([traced, half])))
    assert json.loads(json.dumps(encode_runtime(again))) == record
    arms = (Arm({"x": 3.0}),)
    for index in (0, 2):
        found = [sampled(runtime_model(r, 9), Trial(index, arms)) for r in (kept, again)]
        assert found[0] == found[1]


def test_a_function_that_is_not_given_again_or_changed_says_so():
    record = encode_runtime(half)
    assert record["function"].endswith("test_runners_simulation:half")
    lost = decode_runtime(record, FunctionResolver([traced]))
    assert isinstance(lost, UnboundFunction)
    assert encode_runtime(lost) == record
    with pytest.raises(TaskNotBound, match="half"):
        runtime_model(lost, 0)
    other = {**record, "digest": "0" * 64}
    with pytest.raises(TaskChanged, match="half"):
        runtime_model(decode_runtime(other, FunctionResolver([half])), 0)
    assert decode_runtime(other, FunctionResolver([half], accept_changed=True)) is half
    with pytest.raises(ConfigurationError, match="not a function"):
        FunctionResolver([3])
    with pytest.raises(ConfigurationError, match="digest"):
        decode_runtime({"function": "a:b"}, FunctionResolver())


def test_a_distribution_that_a_record_names_is_numpyros_own():
    for name in ("constraints", "os", "no_such", "biject_to"):
        with pytest.raises(ConfigurationError, match="cannot be built"):
            decode_runtime({"distribution": name, "arguments": {}}, FunctionResolver())


def test_jobs_are_told_apart_by_identity():
    job = Job(0, 0.0, 1.0)
    assert job != replace(job)
