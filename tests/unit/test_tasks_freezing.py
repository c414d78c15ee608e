"""States as arrays and back, cut and joined, with every bit, type and key."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ArtifactCorrupt, EvaluationError, ResultNotStorable
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays
from ax_jax_runners.tasks.freezing import freeze, join, static_shape, take, thaw


def state(arms: int, *, seed: int = 0) -> dict[str, Any]:
    """Leaves of all kinds, none of which JAX's default precision can be trusted with."""
    draws = np.random.default_rng(seed).normal(size=(arms, 3))
    with jax.enable_x64(True):
        wide = jnp.asarray(draws * 1e-17 + 1)
    return {
        "keys": jax.random.split(jax.random.key(seed), arms),
        "others": jax.random.split(jax.random.key(seed, impl="rbg"), arms),
        "half": jnp.asarray(draws, jnp.bfloat16),
        "wide": wide,
        "host": draws,
        "nested": (np.arange(arms), [jnp.ones((arms, 0), jnp.complex64), np.ones(arms, bool)]),
        "text": np.array(["é"] * arms),
        "nan": np.full(arms, np.nan),
    }


def bits(tree: Any) -> list[tuple[str, tuple[int, ...], bytes, bool]]:
    """Everything that makes a leaf what it is."""
    found = []
    for leaf in jax.tree.leaves(tree):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        data = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        found.append((str(leaf.dtype), leaf.shape, data.tobytes(), isinstance(leaf, jax.Array)))
    return found


@pytest.mark.fault(7, 15)
def test_a_state_comes_back_from_a_file_bit_by_bit() -> None:
    live = state(3)
    arrays = decode_arrays(encode_arrays(freeze(live)))
    # The template only says what there is; none of its values is taken.
    thawed = thaw(arrays, state(3, seed=9))
    assert jax.tree.structure(thawed) == jax.tree.structure(live)
    assert bits(thawed) == bits(live)
    draw = jax.vmap(lambda key: jax.random.normal(key, (2,)))
    np.testing.assert_array_equal(draw(thawed["keys"]), draw(live["keys"]))


def test_cut_and_joined_again_it_is_the_same() -> None:
    live = state(4)
    parts = [take(live, [row], arms=4) for row in range(4)]
    assert bits(join(parts)) == bits(live)
    assert bits(take(live, [2, 0], arms=4)) == bits(join([parts[2], parts[0]]))
    frozen = [thaw(freeze(part), state(1, seed=5)) for part in parts]
    assert bits(join(frozen)) == bits(live)
    assert join(parts[:1]) is parts[0]


def test_a_part_on_the_host_joins_one_on_the_device() -> None:
    live, host = {"x": jnp.ones(2, jnp.bfloat16)}, {"x": np.zeros(1, jnp.bfloat16)}
    for parts in ([live, host], [host, live]):
        joined = join(parts)
        assert isinstance(joined["x"], jax.Array)
        assert joined["x"].dtype == jnp.bfloat16
        assert joined["x"].shape == (3,)


@pytest.mark.parametrize("arms", [1, 5])
def test_batches_of_any_size_share_a_shape(arms: int) -> None:
    assert static_shape(state(arms)) == static_shape(state(2))
    assert static_shape(state(arms)) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.ones((2, 4)), "key": jax.random.split(jax.random.key(0), 2)},
        {"x": np.ones((2, 3), np.float32), "key": jax.random.split(jax.random.key(0), 2)},
        {"x": np.ones((2, 3)), "key": jax.random.split(jax.random.key(0, impl="rbg"), 2)},
        {"x": np.ones((2, 3))},
        {"x": [np.ones((2, 3))], "key": jax.random.split(jax.random.key(0), 2)},
    ],
)
def test_what_cannot_be_joined_has_another_shape(other: Any) -> None:
    live = {"x": np.ones((5, 3)), "key": jax.random.split(jax.random.key(0), 5)}
    assert static_shape(other) != static_shape(live)


def test_a_leaf_without_an_arm_axis_is_named() -> None:
    live = {"x": np.ones(2), "count": np.float64(3.0)}
    with pytest.raises(ResultNotStorable, match=r"\['count'\].*without an arm axis"):
        freeze(live)
    with pytest.raises(EvaluationError, match=r"\['count'\].*arm axis first"):
        take(live, [0], arms=2)
    assert static_shape(live) is None
    with pytest.raises(EvaluationError, match=r"shape \(3,\) for 2 arms"):
        take({"x": np.ones(3)}, [0], arms=2)


@pytest.mark.fault(15)
@pytest.mark.parametrize("template", [{"x": np.ones(1)}, {"x": np.ones(1), "z": np.ones(1)}])
def test_a_state_of_other_leaves_is_no_state(template: Any) -> None:
    arrays = freeze({"x": np.ones(1), "y": np.ones(1)})
    with pytest.raises(ArtifactCorrupt, match="begins again"):
        thaw(arrays, template)
