"""How batches are cut, padded and dealt to devices."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.evaluation.programs import BUCKETS, ChunkedProgram, bucket_pieces


@pytest.mark.parametrize("count", [*range(1, 200), 500, 511, 512, 513, 1000, 4096, 5001])
def test_only_the_last_bucket_is_padded_and_never_past_double(count: int) -> None:
    pieces = bucket_pieces(count)
    assert sum(rows for rows, _ in pieces) == count
    assert all(bucket in BUCKETS for _, bucket in pieces)
    assert all(rows == bucket for rows, bucket in pieces[:-1])
    rows, bucket = pieces[-1]
    assert rows <= bucket <= 2 * rows


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [(1, 1)]),
        (3, [(1, 1)] * 3),
        (5, [(5, 8)]),
        (9, [(8, 8), (1, 1)]),
        (63, [(63, 64)]),
        (520, [(512, 512), (8, 8)]),
    ],
)
def test_pieces(count: int, expected: list) -> None:
    assert bucket_pieces(count) == expected


def test_large_results_take_more_calls_of_a_smaller_program() -> None:
    structure = jax.ShapeDtypeStruct((2**18,), np.float32)

    def wide(row: jax.Array, _: object) -> jax.Array:
        return jnp.full(2**18, row[0], dtype=jnp.float32)

    program = ChunkedProgram(wide, structure, chunk=4, capacity=4096)
    assert program.rows == 8
    rows = np.arange(21, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(program(rows, None)[:, 7], rows[:, 0])


def test_padding_is_a_copy_of_the_first_row() -> None:
    seen: list[np.ndarray] = []

    def row(theta: jax.Array, _: object) -> jax.Array:
        jax.debug.callback(lambda t: seen.append(np.array(t)), theta)
        return theta[0]

    program = ChunkedProgram(row, jax.ShapeDtypeStruct((), np.float32), chunk=4, capacity=8)
    program(np.array([[3.0], [4.0], [5.0], [6.0], [7.0], [8.0]], np.float32), None)
    jax.effects_barrier()
    assert sorted(float(value[0]) for value in seen) == [3, 3, 3, 4, 5, 6, 7, 8]


def test_two_devices_share_a_batch_and_give_the_same_bits() -> None:
    script = """
        import jax, numpy as np, jax.numpy as jnp
        from ax_jax_runners import FeatureEvaluator, Parameter, ParameterSpace
        assert len(jax.devices()) == 2
        used = set()
        def simulator(values):
            x = jnp.sin(jnp.arange(33.0) * values["a"]) / values["b"]
            return {"x": x, "z": jnp.exp(1j * x), "positive": x.sum() > 0}
        space = ParameterSpace([Parameter("a", lower=0, upper=9), Parameter("b", lower=1, upper=2)])
        theta = space.icdf(np.random.default_rng(0).random((300, 2)))
        for capacity in (64, 4096):
            two = FeatureEvaluator(simulator, space, capacity=capacity)
            together = two.model_features(theta)
            assert {d.id for d in two._programs[""]._lanes} == {0, 1}
            one = FeatureEvaluator(simulator, space, capacity=capacity)
            with jax.default_device(jax.devices()[1]):
                alone = one.model_features(theta)
            assert {d.id for d in one._programs[""]._lanes} == {1}
            for name in together:
                assert together[name].tobytes() == alone[name].tobytes(), name
                last = two.model_features(theta[299])[name]
                assert last.tobytes() == together[name][299].tobytes(), name
        buckets = FeatureEvaluator(simulator, space, reproducible=False).model_features(theta)
        np.testing.assert_allclose(buckets["x"], together["x"], rtol=1e-12)
        print("same")
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert found.stdout.strip().endswith("same"), found.stderr[-2000:]
