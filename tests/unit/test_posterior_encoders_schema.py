"""What observations have in common, and what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.encoders import ObservationSchema
from ax_jax_runners.posterior.records import ObservationBlock

RNG = np.random.default_rng(5)
WAVELENGTHS = np.linspace(0.5, 5.0, 7)


def spectrum(**changes) -> ObservationBlock:
    block = ObservationBlock(
        "spectrum", "spectrum", RNG.normal(size=7), np.full(7, 0.1), WAVELENGTHS
    )
    return replace(block, **changes)


def bands(**changes) -> ObservationBlock:
    return replace(ObservationBlock("bands", "photometry", RNG.normal(size=3)), **changes)


def curve(**changes) -> ObservationBlock:
    times = np.sort(RNG.random(4))
    return replace(
        ObservationBlock("curve", "time_series", RNG.normal(size=4), coordinates=times), **changes
    )


def observation(**changes) -> list[ObservationBlock]:
    return [spectrum(**changes), bands(), curve()]


@pytest.fixture(scope="module")
def schema() -> ObservationSchema:
    return ObservationSchema.of([observation() for _ in range(5)])


def test_plain_vectors_are_one_block():
    vectors = RNG.normal(size=(6, 4))
    schema = ObservationSchema.of(vectors)
    assert [(b.name, b.modality, b.length, b.maskable) for b in schema.blocks] == [
        ("vector", "vector", 4, False)
    ]
    stacked = schema.stack(vectors[2:3])
    assert list(stacked) == ["vector"]
    np.testing.assert_array_equal(stacked["vector"]["values"], vectors[2:3])


def test_every_entry_of_a_mapping_is_an_auxiliary_block():
    mapping = {
        "b": {"rate": np.arange(3), "image": np.arange(24.0).reshape(3, 2, 4)},
        "a": [1, 2, 3],
    }
    schema = ObservationSchema.of(mapping)
    assert [(b.name, b.modality, b.length) for b in schema.blocks] == [
        ("a", "auxiliary", 1),
        ("b.image", "auxiliary", 8),
        ("b.rate", "auxiliary", 1),
    ]
    image = schema.stack(mapping)["b.image"]["values"]
    np.testing.assert_array_equal(image[1], np.arange(8.0, 16.0))


def test_single_precision_is_kept_and_everything_else_becomes_double():
    for given, kept in (("float32", "float32"), ("float64", "float64"), ("int16", "float64")):
        vectors = np.ones((2, 3), given)
        assert ObservationSchema.of(vectors).stack(vectors)["vector"]["values"].dtype == kept


def test_channels_of_blocks(schema):
    stacked = schema.stack([observation() for _ in range(2)])
    assert {name: sorted(block) for name, block in stacked.items()} == {
        "bands": ["mask", "values"],
        "curve": ["coordinates", "mask", "values"],
        "spectrum": ["mask", "uncertainties", "values"],
    }
    assert all(array.shape[0] == 2 for block in stacked.values() for array in block.values())
    assert all(block["mask"].dtype == bool and block["mask"].all() for block in stacked.values())


def test_a_common_grid_is_kept_in_the_schema(schema):
    by_name = {block.name: block for block in schema.blocks}
    np.testing.assert_array_equal(by_name["spectrum"].grid, WAVELENGTHS)
    assert by_name["curve"].grid is None
    assert by_name["bands"].grid is None


def test_an_entry_that_nobody_measured_has_no_place_on_the_grid():
    places = np.where(np.arange(7) == 3, np.nan, WAVELENGTHS)
    observations = [[spectrum(mask=np.isfinite(places), coordinates=places)] for _ in range(2)]
    schema = ObservationSchema.of(observations)
    assert schema.blocks[0].grid == tuple(None if np.isnan(x) else x for x in places)
    assert ObservationSchema.from_description(json.loads(json.dumps(schema.describe()))) == schema


def test_the_order_of_blocks_does_not_matter(schema):
    row = observation()
    forwards, backwards = schema.stack([row]), schema.stack([row[::-1]])
    for name, block in forwards.items():
        for channel, array in block.items():
            np.testing.assert_array_equal(array, backwards[name][channel])
    assert ObservationSchema.of([observation()[::-1] for _ in range(3)]).blocks[0].name == "bands"


def test_description_is_plain_json_and_round_trips(schema):
    read = ObservationSchema.from_description(json.loads(json.dumps(schema.describe())))
    assert read == schema
    assert hash(read) == hash(schema)
    assert ObservationSchema.of(RNG.normal(size=(3, 7))) != schema


def test_whatever_stands_under_a_false_mask_is_stacked_as_zero(schema):
    mask = np.arange(7) != 2
    junk = np.where(mask, 1.0, np.nan)
    block = spectrum(
        mask=mask, values=junk, uncertainties=-junk + 2, coordinates=junk * WAVELENGTHS
    )
    stacked = schema.stack([[block, bands(), curve()]])["spectrum"]
    assert stacked["values"][0, 2] == 0
    assert stacked["uncertainties"][0, 2] == 0
    np.testing.assert_array_equal(stacked["mask"][0], mask)


def test_a_missing_mask_means_measured_everywhere():
    masked = [[bands(mask=RNG.random(3) < 0.5)] for _ in range(4)]
    schema = ObservationSchema.of(masked)
    assert schema.blocks[0].channels == ("mask",)
    assert schema.stack([[bands()]])["bands"]["mask"].all()
    assert ObservationSchema.of([[bands()], [bands(mask=np.zeros(3))]]).blocks[0].maskable


def test_coordinates_within_the_rounding_of_a_file_are_on_the_grid(schema):
    rounded = np.round(WAVELENGTHS, 3).astype(np.float32)
    schema.stack([observation(coordinates=rounded)])
    with pytest.raises(ConfigurationError, match=r"'spectrum'.*entry 0.*on different grids"):
        schema.stack([observation(coordinates=WAVELENGTHS + 0.1)])
    mask = np.arange(7) > 3
    moved = np.where(mask, WAVELENGTHS, 99.0)
    schema.stack([observation(coordinates=moved, mask=mask)])


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [
        ([spectrum(), bands()], "'curve' of the training data is missing"),
        ([*observation(), bands(name="more")], "'more' is not one of the training data"),
        ([spectrum(), bands(), bands(), curve()], "each name once"),
        ([spectrum(), bands(modality="auxiliary"), curve()], "'bands' has the modality auxiliary"),
        ([spectrum(), bands(values=np.ones(4)), curve()], "'bands' has the length 4, and 3"),
        (observation(uncertainties=None), "'spectrum' comes without uncertainties"),
        (observation(coordinates=None), "'spectrum' comes without coordinates"),
        ([spectrum(), bands(uncertainties=np.ones(3)), curve()], "leave out the uncertainties"),
        (observation(values=np.full(7, np.nan)), "'spectrum' has values that are not finite: 7"),
        (observation(uncertainties=np.full(7, -1.0)), "negative uncertainties"),
        (observation(mask=np.full(7, 2)), "other numbers than 0 and 1"),
        ([spectrum(), 3.0, curve()], "holds a float among its blocks"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(schema, blocks, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        schema.stack([blocks])


@pytest.mark.parametrize(
    ("observations", "sentence"),
    [
        ([[bands()], [bands(), curve()]], "Observation 1 has the blocks"),
        ([[bands()], [bands(values=np.ones(5))]], "length between observation 1 .5. and"),
        ([[bands()], [bands(uncertainties=np.ones(3))]], "uncertainties between observation 1"),
        ([[bands()], [bands(modality="auxiliary")]], "differs in its modality"),
        ([bands(), bands()], "stands where an observation is due"),
        (np.ones(4), r"shape \(4,\); give \(batch, m\)"),
        (np.ones((2, 3, 4)), "a mapping for arrays of more axes"),
        ([], "give .batch, m"),
        ([[1.0], [1.0, 2.0]], "rows of different shapes"),
        (np.array([[1.0, np.inf]]), "'vector' has values that are not finite: 1 of them.*entry 1"),
        (np.ones((2, 2), complex), "give real numbers"),
        ({"a": np.ones(2), "b": np.ones(3)}, "the same first axis"),
        ({"a": np.float64(1.0)}, "at least one number in each row"),
        ({}, "the same first axis"),
    ],
)
def test_observations_that_do_not_fit_each_other_are_refused(observations, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        ObservationSchema.of(observations)


def test_arrays_know_no_masks():
    schema = ObservationSchema.of({"bands": np.ones((2, 3))})
    schema.stack([[bands(modality="auxiliary")]])
    with pytest.raises(ConfigurationError, match="knows no masks"):
        schema.stack([[bands(modality="auxiliary", mask=np.zeros(3, bool))]])
