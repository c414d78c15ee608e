"""Standardisation of observations, and noise on them."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.encoders import (
    ObservationSchema,
    Preprocessing,
    add_observation_noise,
)
from ax_jax_runners.posterior.records import ObservationBlock

ROWS = 200


def observations(junk: float = 0.0) -> list[list[ObservationBlock]]:
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(ROWS):
        mask = rng.random(9) > 0.2
        flux = 1e-9 * (5.0 + np.arange(9) + rng.normal(size=9))
        sigma = 1e-9 * rng.uniform(0.1, 0.3, size=9)
        times = 2_450_000.5 + np.sort(rng.random(6))
        magnitudes = rng.normal([10, -3, 4], [1, 20, 0.1])
        rows.append(
            [
                ObservationBlock("flux", "spectrum", np.where(mask, flux, junk), sigma, None, mask),
                ObservationBlock("curve", "time_series", rng.normal(size=6), None, times),
                ObservationBlock("bands", "photometry", magnitudes, np.array([0.5, 1.0, 0.02])),
                ObservationBlock("site", "auxiliary", [rng.normal(), 0.1]),
            ]
        )
    return rows


def prepared(junk: float = 0.0):
    data = observations(junk)
    schema = ObservationSchema.of(data)
    stacked = schema.stack(data)
    preprocessing = Preprocessing.fit(schema, stacked)
    return stacked, preprocessing, preprocessing.apply(stacked)


@pytest.fixture(scope="module")
def data():
    return prepared()


def test_each_entry_of_bands_and_vectors_is_standardised(data):
    _, _, rows = data
    np.testing.assert_allclose(rows["bands"]["values"].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(rows["bands"]["values"].std(0), 1, rtol=1e-5)
    vectors = np.random.default_rng(0).normal([1e6, -3.0], [1.0, 1e-5], size=(100, 2))
    schema = ObservationSchema.of(vectors)
    stacked = schema.stack(vectors)
    values = Preprocessing.fit(schema, stacked).apply(stacked)["vector"]["values"]
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.std(0), 1, rtol=1e-5)


def test_each_wavelength_of_spectra_on_one_grid_is_standardised(data):
    stacked, _, rows = data
    mask = stacked["flux"]["mask"]
    for entry, measured in enumerate(mask.T):
        values = rows["flux"]["values"][measured, entry]
        np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-5)


@pytest.mark.parametrize("modality", ["spectrum", "time_series"])
def test_blocks_on_changing_grids_have_one_scale(modality):
    rng = np.random.default_rng(1)
    values = np.arange(8.0) + rng.normal(size=(50, 8))
    rows = [[ObservationBlock("x", modality, row, None, np.sort(rng.random(8)))] for row in values]
    schema = ObservationSchema.of(rows)
    stacked = schema.stack(rows)
    standardised = Preprocessing.fit(schema, stacked).apply(stacked)["x"]["values"]
    np.testing.assert_allclose(standardised, (values - values.mean()) / values.std(), atol=1e-5)


def test_a_noiseless_entry_is_measured_by_its_uncertainty():
    rows = [[ObservationBlock("x", "spectrum", [1e-9 * k, 5.0], [3.0, 4.0])] for k in range(9)]
    schema = ObservationSchema.of(rows)
    stacked = schema.stack(rows)
    preprocessing = Preprocessing.fit(schema, stacked)
    assert preprocessing.blocks[0].scale == (3.0, 4.0)
    np.testing.assert_array_equal(preprocessing.apply(stacked)["x"]["uncertainties"], 1.0)


def test_uncertainties_are_in_units_of_the_standardised_values(data):
    stacked, preprocessing, rows = data
    scale = stacked["bands"]["values"].std(axis=0)
    np.testing.assert_allclose(rows["bands"]["uncertainties"][0], [0.5, 1.0, 0.02] / scale, 1e-5)
    flux, mask = stacked["flux"], stacked["flux"]["mask"]
    spread = np.ma.array(flux["values"], mask=~mask).std(axis=0)
    expected = np.median((flux["uncertainties"] / spread.data)[mask])
    assert preprocessing.typical["flux"] == pytest.approx(expected, rel=1e-12)
    assert set(preprocessing.typical) == {"bands", "flux"}


def test_constant_entries_keep_their_unit(data):
    _, preprocessing, rows = data
    site = next(block for block in preprocessing.blocks if block.name == "site")
    assert site.mean[1] == 0.1
    assert site.scale[1] == 1.0
    assert not rows["site"]["values"][:, 1].any()


def test_large_coordinates_lose_nothing(data):
    stacked, _, rows = data
    times = stacked["curve"]["coordinates"]
    expected = (times - times.mean()) / times.std()
    np.testing.assert_allclose(rows["curve"]["coordinates"], expected, atol=1e-5)


def test_masked_entries_have_no_part_in_anything(data):
    stacked, preprocessing, rows = data
    for junk in (np.nan, np.inf, -1e30):
        _, other, others = prepared(junk)
        assert other == preprocessing
        np.testing.assert_array_equal(others["flux"]["values"], rows["flux"]["values"])
    for channel in ("values", "uncertainties"):
        assert not rows["flux"][channel][~stacked["flux"]["mask"]].any()


def test_a_block_that_nobody_measured():
    data = [[ObservationBlock("x", m, [np.nan], [1.0], None, [False])] for m in ["spectrum"] * 3]
    schema = ObservationSchema.of(data)
    stacked = schema.stack(data)
    preprocessing = Preprocessing.fit(schema, stacked)
    assert (preprocessing.blocks[0].mean, preprocessing.blocks[0].scale) == ((0.0,), (1.0,))
    assert not preprocessing.apply(stacked)["x"]["values"].any()


def test_description_is_plain_json_and_exact(data):
    stacked, preprocessing, rows = data
    read = Preprocessing.from_description(json.loads(json.dumps(preprocessing.describe())))
    assert read == preprocessing
    assert hash(read) == hash(preprocessing)
    for name, block in read.apply(stacked).items():
        for channel, array in block.items():
            np.testing.assert_array_equal(array, rows[name][channel])


def test_what_single_precision_cannot_hold_is_refused():
    vectors = np.random.default_rng(0).normal(size=(20, 2))
    schema = ObservationSchema.of(vectors)
    preprocessing = Preprocessing.fit(schema, schema.stack(vectors))
    with pytest.raises(ConfigurationError, match=r"'vector'.*observation 1, entry 0"):
        preprocessing.apply(schema.stack(np.array([[0.0, 0.0], [1e300, 0.0]])))


@pytest.fixture(scope="module")
def noisy(data):
    """Many noisy copies of the first row."""
    _, preprocessing, rows = data
    row = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), rows)
    keys = jax.random.split(jax.random.key(0), 40_000)

    @jax.jit
    def repeat(multiplier, floor):
        def once(key):
            return add_observation_noise(
                row, key, multiplier=multiplier, floor=floor, typical=preprocessing.typical
            )

        return jax.vmap(once)(keys)

    return row, preprocessing.typical, repeat


def deviations(row, copies, name):
    return np.asarray(copies[name]["values"] - row[name]["values"], np.float64)


def test_noise_has_the_size_of_the_uncertainties(noisy):
    row, _, repeat = noisy
    copies = repeat(0.7, 0.0)
    mask = np.asarray(row["flux"]["mask"])
    for name, measured in (("flux", mask), ("bands", slice(None))):
        variance = deviations(row, copies, name)[:, measured].var(axis=0)
        expected = (0.7 * np.asarray(row[name]["uncertainties"])[measured]) ** 2
        np.testing.assert_allclose(variance, expected, rtol=0.03)
        np.testing.assert_array_equal(copies[name]["uncertainties"][0], row[name]["uncertainties"])
    np.testing.assert_allclose(deviations(row, copies, "curve").var(axis=0), 0.49, rtol=0.03)


def test_entries_and_blocks_draw_their_own_noise(noisy):
    row, _, repeat = noisy
    copies = repeat(1.0, 0.0)
    draws = np.hstack([deviations(row, copies, "bands"), deviations(row, copies, "curve")])
    correlations = np.corrcoef(draws.T) - np.eye(9)
    assert np.abs(correlations).max() < 0.03


def test_noise_is_never_below_its_floor(noisy):
    row, typical, repeat = noisy
    spread = deviations(row, repeat(0.5, 2.0), "bands").std(axis=0)
    expected = 0.5 * np.maximum(row["bands"]["uncertainties"], 2.0 * typical["bands"])
    assert (np.asarray(row["bands"]["uncertainties"]) < 2.0 * typical["bands"]).any()
    np.testing.assert_allclose(spread, expected, rtol=0.015)


def test_no_noise_changes_no_bit(noisy):
    row, typical, repeat = noisy
    copies = repeat(0.0, 1.0)
    for name, block in row.items():
        for channel, array in block.items():
            assert np.asarray(copies[name][channel][7]).tobytes() == np.asarray(array).tobytes()
    signed = {"vector": {"values": jnp.array([-0.0, 0.0, 1.5])}}
    same = add_observation_noise(
        signed, jax.random.key(1), multiplier=0.0, floor=0.0, typical=typical
    )
    assert np.signbit(same["vector"]["values"]).tolist() == [True, False, False]


def test_masked_entries_stay_zero(noisy):
    row, _, repeat = noisy
    masked = ~np.asarray(row["flux"]["mask"])
    assert masked.any()
    assert not np.asarray(repeat(3.0, 5.0)["flux"]["values"])[:, masked].any()


def test_noise_stays_in_single_precision_whatever_the_process_uses(data):
    _, preprocessing, rows = data
    with jax.enable_x64(True):
        row = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), rows)
        noise = jnp.asarray(0.5, jnp.float64)
        copy = add_observation_noise(
            row, jax.random.key(0), multiplier=noise, floor=noise, typical=preprocessing.typical
        )
    assert {array.dtype.name for block in copy.values() for array in block.values()} == {
        "float32",
        "bool",
    }
