"""Networks from observations to embeddings."""

from __future__ import annotations

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.configuration import EncoderConfiguration
from ax_jax_runners.posterior.encoders import ObservationSchema, Preprocessing, build_encoder
from ax_jax_runners.posterior.records import ObservationBlock

ROWS = 6
SMALL = EncoderConfiguration(
    embedding_dim=12, spectrum_embedding_dim=7, photometry_embedding_dim=5, hidden_dim=16
)
PATCH = replace(SMALL, spectrum="patch")


def observations(length: int = 233) -> list[list[ObservationBlock]]:
    """A spectrum on one grid, a time series at changing times, bands and an auxiliary number."""
    rng = np.random.default_rng(length)
    wavelengths = np.geomspace(0.5, 10, length)
    return [
        [
            ObservationBlock(
                "spectrum",
                "spectrum",
                rng.normal(size=length),
                rng.uniform(0.1, 0.3, length),
                wavelengths,
                rng.random(length) > 0.3,
            ),
            ObservationBlock(
                "curve", "time_series", rng.normal(size=20), None, np.sort(rng.random(20))
            ),
            ObservationBlock("bands", "photometry", rng.normal(size=4), rng.random(4)),
            ObservationBlock("site", "auxiliary", rng.normal(size=1)),
        ]
        for _ in range(ROWS)
    ]


def prepare(data):
    schema = ObservationSchema.of(data)
    stacked = schema.stack(data)
    return schema, jax.tree.map(jnp.asarray, Preprocessing.fit(schema, stacked).apply(stacked))


def take(rows, index):
    return jax.tree.map(lambda leaf: leaf[index], rows)


@eqx.filter_jit
def encode(encoder, rows):
    return jax.vmap(encoder)(rows)


@eqx.filter_jit
def encode_one(encoder, row):
    return encoder(row)


@pytest.fixture(scope="module")
def everything():
    return prepare(observations())


@pytest.fixture(scope="module", params=["conv1d", "patch"])
def built(request, everything):
    schema, rows = everything
    configuration = replace(SMALL, spectrum=request.param)
    return build_encoder(jax.random.key(0), schema, configuration), rows


def test_an_embedding_is_single_precision_of_the_configured_length(built):
    encoder, rows = built
    embeddings = encode(encoder, rows)
    assert embeddings.shape == (ROWS, 12)
    assert embeddings.dtype == jnp.float32
    assert encoder.embedding_dim == 12
    assert np.ptp(embeddings, axis=0).min() > 1e-3


def test_a_batch_equals_its_rows_one_by_one(built):
    encoder, rows = built
    batch = encode(encoder, rows)
    for index in range(ROWS):
        single = encode_one(encoder, take(rows, index))
        np.testing.assert_allclose(single, batch[index], rtol=0, atol=1e-5)


def test_masked_entries_change_no_bit(built):
    encoder, rows = built
    reference = np.asarray(encode(encoder, rows))
    for junk in (7.0, -1e30, np.nan, np.inf):
        changed = {
            name: {
                channel: leaf if channel == "mask" else jnp.where(block["mask"], leaf, junk)
                for channel, leaf in block.items()
            }
            for name, block in rows.items()
        }
        assert encode(encoder, changed).tobytes() == reference.tobytes()


def test_what_is_measured_and_where_changes_the_embedding(built):
    encoder, rows = built
    reference = encode(encoder, rows)
    channels = {
        "spectrum": ["values", "uncertainties"],
        "curve": ["values", "coordinates"],
        "bands": ["values", "uncertainties"],
        "site": ["values"],
    }
    for name, changing in channels.items():
        first = jnp.argmax(rows[name]["mask"], axis=1)
        for channel in changing:
            leaf = rows[name][channel].at[jnp.arange(ROWS), first].add(1.0)
            changed = encode(encoder, rows | {name: rows[name] | {channel: leaf}})
            assert np.abs(changed - reference).max(axis=1).min() > 1e-5, (name, channel)
        unmeasured = rows[name]["mask"].at[jnp.arange(ROWS), first].set(False)
        changed = encode(encoder, rows | {name: rows[name] | {"mask": unmeasured}})
        assert np.abs(changed - reference).max(axis=1).min() > 1e-5, name


@eqx.filter_jit
def gradients(encoder, rows):
    """Of the mean square embedding: by weights, and by values."""

    def loss(encoder, values):
        filled = {name: {**block, "values": values[name]} for name, block in rows.items()}
        return jnp.mean(jax.vmap(encoder)(filled) ** 2)

    return jax.grad(loss, argnums=(0, 1))(
        encoder, {name: block["values"] for name, block in rows.items()}
    )


@pytest.mark.slow
def test_gradients_are_finite_also_where_nothing_was_measured(built):
    encoder, rows = built
    spoiled = {
        name: {
            channel: jnp.full_like(leaf, 0 if channel == "mask" else jnp.nan).at[1:].set(leaf[1:])
            for channel, leaf in block.items()
        }
        for name, block in rows.items()
    }
    by_weights, by_values = gradients(encoder, spoiled)
    leaves = jax.tree.leaves(by_weights)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert all(np.asarray(leaf).any() for leaf in leaves)
    for name, leaf in by_values.items():
        assert np.isfinite(leaf).all()
        assert not np.asarray(leaf)[~np.asarray(spoiled[name]["mask"])].any()
    assert np.isfinite(encode(encoder, spoiled)).all()


def test_stacked_encoders_equal_single_ones(built, everything):
    schema, rows = everything
    encoder, _ = built
    spectrum = "patch" if type(encoder.pieces[0]).__name__ == "PatchEncoder" else "conv1d"
    others = [encoder] + [
        build_encoder(jax.random.key(seed), schema, replace(SMALL, spectrum=spectrum))
        for seed in (1, 2)
    ]
    leaves = jax.tree.leaves(others[1])
    assert all(isinstance(leaf, jax.Array) and leaf.dtype == jnp.float32 for leaf in leaves)
    stacked = jax.tree.map(lambda *arms: jnp.stack(arms), *others)
    together = jax.jit(jax.vmap(lambda arm: jax.vmap(arm)(rows)))(stacked)
    for arm, embeddings in zip(others, together, strict=True):
        np.testing.assert_allclose(embeddings, encode(arm, rows), rtol=0, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-2


def test_an_encoder_works_inside_a_scan(built):
    encoder, rows = built

    @eqx.filter_jit
    def one_by_one(encoder, rows):
        return jax.lax.scan(lambda carry, row: (carry, encoder(row)), None, rows)[1]

    np.testing.assert_allclose(one_by_one(encoder, rows), encode(encoder, rows), rtol=0, atol=1e-5)


def test_the_same_key_gives_the_same_weights(everything):
    schema, _ = everything
    first, again, other = (build_encoder(jax.random.key(k), schema, SMALL) for k in (4, 4, 5))
    weights = [[np.asarray(leaf) for leaf in jax.tree.leaves(e)] for e in (first, again, other)]
    for one, two in zip(weights[0], weights[1], strict=True):
        np.testing.assert_array_equal(one, two)
    assert all((a != b).any() for a, b in zip(weights[0], weights[2], strict=True) if a.ndim == 2)


@pytest.mark.parametrize(
    ("length", "configuration"), [(1, SMALL), (1, PATCH), (9, SMALL), (33, PATCH)]
)
def test_sequences_of_any_length(length, configuration):
    data = [[block for block in row if block.name == "spectrum"] for row in observations(length)]
    data = [[replace(blocks[0], mask=None)] for blocks in data]
    schema, rows = prepare(data)
    encoder = build_encoder(jax.random.key(0), schema, replace(configuration, patch_size=4))
    reference = encode(encoder, rows)
    last = rows["spectrum"]["values"].at[:, -1].add(1.0)
    moved = encode(encoder, {"spectrum": rows["spectrum"] | {"values": last}})
    assert np.abs(moved - reference).max(axis=1).min() > 1e-5


@pytest.mark.parametrize("spectrum", ["conv1d", "patch"])
def test_it_matters_where_a_line_stands(spectrum):
    values = np.zeros((4, 233))
    values[np.arange(4), [20, 21, 100, 200]] = 3.0
    data = [[ObservationBlock("s", "spectrum", row)] for row in values]
    schema = ObservationSchema.of(data)
    rows = {"s": {"values": jnp.asarray(values, jnp.float32), "mask": jnp.ones((4, 233), bool)}}
    encoder = build_encoder(jax.random.key(0), schema, replace(SMALL, spectrum=spectrum))
    embeddings = np.asarray(encode(encoder, rows))
    gaps = np.linalg.norm(embeddings[:, None] - embeddings, axis=-1)
    assert gaps[~np.eye(4, dtype=bool)].min() > 1e-3


def test_plain_vectors_without_hidden_layers_are_their_own_embedding():
    vectors = np.random.default_rng(0).normal(3.0, 2.0, size=(30, 5))
    schema, rows = prepare(vectors)
    encoder = build_encoder(jax.random.key(0), schema, replace(SMALL, vector_depth=0))
    assert encoder.embedding_dim == 5
    assert not jax.tree.leaves(encoder)
    np.testing.assert_array_equal(jax.vmap(encoder)(rows), rows["vector"]["values"])


@pytest.mark.parametrize("depth", [1, 3])
def test_plain_vectors_through_hidden_layers(depth):
    schema, rows = prepare(np.random.default_rng(0).normal(size=(30, 5)))
    encoder = build_encoder(jax.random.key(0), schema, replace(SMALL, vector_depth=depth))
    shapes = [leaf.shape for leaf in jax.tree.leaves(encoder) if leaf.ndim == 2]
    assert shapes == [(5, 16), *[(16, 16)] * (depth - 1), (16, 12)]
    assert encode(encoder, rows).shape == (30, 12)


def test_fresh_embeddings_have_the_scale_of_their_input():
    schema, rows = prepare(np.random.default_rng(0).normal(size=(200, 20)))
    wide = EncoderConfiguration(vector_depth=3)
    spreads = np.asarray(encode(build_encoder(jax.random.key(0), schema, wide), rows)).std(axis=0)
    assert 0.5 < np.sqrt(np.mean(spreads**2)) < 2.0


def test_mappings_of_arrays():
    rng = np.random.default_rng(0)
    schema, rows = prepare({"rate": rng.normal(size=8), "image": rng.normal(size=(8, 3, 2))})
    encoder = build_encoder(jax.random.key(0), schema, SMALL)
    assert encode(encoder, rows).shape == (8, 12)


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (SMALL, {"spectrum": "patch"}),
        (SMALL, {"spectrum_embedding_dim": 9}),
        (SMALL, {"photometry_embedding_dim": 9}),
        (SMALL, {"hidden_dim": 24}),
        (SMALL, {"embedding_dim": 20}),
        (PATCH, {"patch_size": 16}),
    ],
)
def test_every_option_shapes_the_network(everything, base, changes):
    schema, _ = everything
    sizes = [
        [leaf.shape for leaf in jax.tree.leaves(build_encoder(jax.random.key(0), schema, options))]
        for options in (base, replace(base, **changes))
    ]
    assert sizes[0] != sizes[1]


def test_a_spectrum_of_another_length_than_configured_is_refused(everything):
    schema, _ = everything
    build_encoder(jax.random.key(0), schema, replace(SMALL, n_wavelengths=233))
    with pytest.raises(ConfigurationError, match="n_wavelengths is 200.*'spectrum' has 233"):
        build_encoder(jax.random.key(0), schema, replace(SMALL, n_wavelengths=200))
    vectors = ObservationSchema.of(np.zeros((2, 5)))
    build_encoder(jax.random.key(0), vectors, replace(SMALL, n_wavelengths=200))


def test_embeddings_are_single_precision_whatever_the_process_uses(everything):
    schema, rows = everything
    for configuration in (SMALL, PATCH):
        encoder = build_encoder(jax.random.key(0), schema, configuration)
        with jax.enable_x64(True):
            shape = jax.eval_shape(encoder, take(rows, 0))
        assert (shape.shape, shape.dtype) == ((12,), jnp.float32)
