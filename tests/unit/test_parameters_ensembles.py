"""Ensembles of raw parameters: shapes, noise, stacking, axes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters import (
    Log2,
    Logit,
    MemoryDecay,
    initialise,
    stack,
    stack_batches,
    unstack,
    vmap_axes,
)

KEY = jax.random.key(3, impl="threefry2x32")
MAPS = {"memory_days": MemoryDecay(1440), "k_per_day": Log2()}


def sizes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.shape, tree)


@pytest.mark.parametrize(
    "value",
    [
        2.0,
        [2.0],
        (2.0, 2.0, 2.0),
        np.full(3, 2.0),
        jnp.full((1, 3), 2.0),
        np.full((4, 3), 2.0),
        [[2.0]] * 4,
        np.float32(2.0),
    ],
    ids=["scalar", "one", "tuple", "vector", "row", "matrix", "column", "numpy scalar"],
)
def test_scalars_vectors_and_matrices_become_members_by_elements(value: Any) -> None:
    made = initialise({"k_per_day": value}, members=4, shape=3, bijectors={"k_per_day": Log2()})
    np.testing.assert_array_equal(made["k_per_day"], np.ones((4, 3)))


def test_rows_of_a_matrix_are_the_members_and_vectors_their_elements() -> None:
    matrix = np.arange(1.0, 7.0).reshape(2, 3)
    made = initialise({"a": matrix, "b": [1, 2, 3]}, members=2, shape=(3,))
    np.testing.assert_array_equal(made["a"], matrix)
    np.testing.assert_array_equal(made["b"], [[1, 2, 3], [1, 2, 3]])
    scalars = initialise({"a": 1.5, "b": [1.0, 2.0]}, members=2)
    assert sizes(scalars) == {"a": (2,), "b": (2,)}


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros((3, 4)), np.zeros((2, 2, 3)), np.zeros(6)])
def test_a_shape_that_does_not_fit_is_named(value: Any) -> None:
    with pytest.raises(ParameterError, match=r"'a' has the shape .* shape \(3,\) .* \(4, 3\)"):
        initialise({"a": value}, members=4, shape=(3,))


def test_the_first_member_is_exact_and_the_others_have_noise_of_their_scale() -> None:
    values = {"memory_days": [10.0, 20.0], "k_per_day": 4.0, "shared": 0.5}
    scale = {"memory_days": 0.1, "k_per_day": 2.0, "shared": 0.0}
    with jax.enable_x64(True):
        made = initialise(values, members=4001, shape=(2,), bijectors=MAPS, scale=scale, key=KEY)
    raw = MemoryDecay(1440).to_raw(np.array([10.0, 20.0]))
    np.testing.assert_array_equal(made["memory_days"][0], raw)
    np.testing.assert_array_equal(made["k_per_day"][0], [2.0, 2.0])
    assert np.all(np.asarray(made["shared"]) == 0.5)
    for name, centre in (("memory_days", raw), ("k_per_day", 2.0)):
        noise = np.asarray(made[name][1:]) - centre
        assert np.std(noise) == pytest.approx(scale[name], rel=0.05)
        assert abs(np.mean(noise)) < 0.06 * scale[name]
        # No two members and no two elements have the same.
        assert len(np.unique(noise)) == noise.size


def test_noise_is_of_its_key_its_parameter_and_its_member() -> None:
    def made(members: int = 5, key: Any = KEY, **values: float) -> Any:
        return initialise(values, members=members, shape=2, scale=1.0, key=key)

    few, many = made(a=1.0, b=1.0), made(9, a=1.0, c=2.0)
    np.testing.assert_array_equal(few["a"], many["a"][:5])
    assert not np.any(few["a"][1:] == few["b"][1:])
    other = made(key=jax.random.key(4, impl="threefry2x32"), a=1.0)
    assert not np.any(other["a"][1:] == few["a"][1:])
    with jax.enable_x64(True):
        wide = made(a=1.0)
    assert wide["a"].dtype == jnp.float64
    assert few["a"].dtype == jnp.float32
    np.testing.assert_allclose(few["a"], wide["a"], rtol=1e-6)


def test_nested_parameters_have_members_too() -> None:
    values = {
        "memory_days": 10.0,
        "subsidiary": [{"memory_days": 5.0}, {"memory_days": 6.0, "k_per_day": [1.0, 2.0]}],
        "none": [],
        "fees": {"k_per_day": 8.0},
    }
    shape = {"memory_days": (3,), "subsidiary": [(1,), (2,)], "none": (), "fees": ()}
    made = initialise(values, members=4, shape=shape, bijectors=MAPS, scale=0.5, key=KEY)
    assert sizes(made) == {
        "memory_days": (4, 3),
        "subsidiary": [{"memory_days": (4, 1)}, {"memory_days": (4, 2), "k_per_day": (4, 2)}],
        "none": [],
        "fees": {"k_per_day": (4,)},
    }
    decay = MemoryDecay(1440)
    found = decay.to_value(np.asarray(made["subsidiary"][1]["memory_days"][0], np.float64))
    np.testing.assert_allclose(found, 6.0, rtol=1e-6)
    assert float(made["fees"]["k_per_day"][0]) == 3.0
    # Subsidiaries differ by their noise, not only by their values.
    first = made["subsidiary"][0]["memory_days"][1:, 0] - decay.to_raw(5.0)
    second = made["subsidiary"][1]["memory_days"][1:, 0] - decay.to_raw(6.0)
    assert not np.any(np.isclose(first, second))
    assert values["subsidiary"][0] == {"memory_days": 5.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": {"a": 0.0}, "bijectors": {"a": Log2()}}, "'a': Log2.* outside its domain"),
        ({"values": {"a": 1.0}, "bijectors": {"a": Logit()}}, "'a': Logit.* outside its domain"),
        ({"values": {"a": 1.0}, "bijectors": {"b": Log2()}}, "bijectors names 'b'"),
        ({"values": {"a": 1.0}, "scale": {"b": 1.0}, "key": KEY}, "scale has no 'a'"),
        ({"values": {"a": 1.0}, "scale": {"a": 1, "b": 1}, "key": KEY}, "scale names 'b'"),
        ({"values": {"a": 1.0}, "scale": -1.0, "key": KEY}, "at least 0"),
        ({"values": {"a": 1.0}, "scale": 1.0}, "no key"),
        ({"values": {"a": 1.0}, "members": 0}, "members is 0"),
        ({"values": {"a": 1.0}, "members": 2.0}, "members is 2.0"),
        ({"values": {"a": np.nan}}, "give finite values"),
        ({"values": {"a": "much"}}, "give a number"),
        ({"values": {"a": 1.0}, "shape": {"b": ()}}, "shape has no 'a'"),
        ({"values": {"a": 1.0}, "shape": "wide"}, "shape of 'a'"),
        ({"values": {"a": [{"b": 1.0}]}, "shape": {"a": [(), ()]}}, "2 entries for the 1"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        initialise(**{"members": 2, **arguments})


def test_members_are_stacked_and_unstacked() -> None:
    members = [
        {"a": np.full(2, float(i)), "sub": [{"b": float(i)}, {"b": -1.0}], "none": []}
        for i in range(5)
    ]
    batch = stack(members)
    assert batch["a"].shape == (5, 2)
    assert batch["sub"][0]["b"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    again = unstack(batch)
    assert len(again) == 5
    for one, other in zip(members, again, strict=True):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        jax.tree.map(np.testing.assert_array_equal, one, other)
    assert isinstance(stack([jnp.ones(2), jnp.ones(2)]), jax.Array)
    # NumPy's float64 stays, whatever JAX's flag.
    assert stack([np.float64(1.0)]).dtype == np.float64


def test_the_last_batch_holds_what_is_left() -> None:
    members = [{"a": i, "sub": [{"b": -i}]} for i in range(7)]
    batches = stack_batches(members, size=3)
    assert [len(batch["a"]) for batch in batches] == [3, 3, 1]
    assert [m["sub"][0]["b"] for batch in batches for m in unstack(batch)] == list(range(0, -7, -1))
    assert stack_batches([], size=3) == []
    with pytest.raises(ParameterError, match="size is 0"):
        stack_batches(members, size=0)


def test_members_that_differ_are_refused() -> None:
    with pytest.raises(ParameterError, match="no members"):
        stack([])
    with pytest.raises(ParameterError, match="Member 1 has the structure"):
        stack([{"a": 1.0}, {"b": 1.0}])
    with pytest.raises(ParameterError, match=r"\['a'\] have the shapes \(2,\), \(3,\)"):
        stack([{"a": np.zeros(2)}, {"a": np.zeros(3)}])
    for wrong in ({}, {"a": np.zeros(2), "b": np.zeros(3)}, {"a": 1.0}):
        with pytest.raises(ParameterError, match="leading axes are"):
            unstack(wrong)


def test_axes_say_what_is_mapped_and_what_is_shared() -> None:
    params = {
        "k": jnp.arange(4.0),
        "prices": jnp.ones(7),
        "sub": [{"k": jnp.arange(4.0)}, {"k": jnp.arange(4.0), "prices": jnp.ones(7)}],
        "none": [],
    }
    axes = vmap_axes(params, mapped=lambda path, leaf: not path.endswith("prices"))
    assert axes == {
        "k": 0,
        "prices": None,
        "sub": [{"k": 0}, {"k": 0, "prices": None}],
        "none": [],
    }

    def total(p: Any) -> Any:
        return p["k"] * p["prices"].sum() + p["sub"][0]["k"] + p["sub"][1]["prices"].sum()

    found = jax.vmap(total, in_axes=(axes,))(params)
    np.testing.assert_allclose(found, 8 * np.arange(4.0) + 7)
    seen = []
    vmap_axes(params, mapped=lambda path, leaf: bool(seen.append(path)))
    assert sorted(seen) == ["k", "prices", "sub/0/k", "sub/1/k", "sub/1/prices"]
    by_size = vmap_axes(params, mapped=lambda path, leaf: leaf.shape[0] == 4)
    assert by_size == axes
