"""Readers in memory, what is asked of other people's readers, and everything gathered."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ax_jax_runners import Parameter, ParameterSpace
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.datasets import ArrayDataset, DatasetReader, gather
from ax_jax_runners.posterior.datasets.splitting import is_validation
from ax_jax_runners.posterior.records import ObservationBlock, PosteriorBatch

SPACE = ParameterSpace([Parameter(name, lower=0.0, upper=1.0) for name in "ab"])


def array_rows(rows: int = 1003) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose every number tells which row it is of."""
    numbers = np.arange(rows, dtype=np.float64)
    return np.stack([numbers, numbers + 0.5], axis=1), np.stack([numbers] * 3, axis=1)


def block_rows(rows: int) -> list[list[ObservationBlock]]:
    return [
        [
            ObservationBlock("light", "spectrum", np.full(4, i), np.ones(4)),
            ObservationBlock("bands", "photometry", np.full(2, i), mask=[True, i % 2 == 0]),
        ]
        for i in range(rows)
    ]


def in_form(form: str, rows: int) -> Any:
    array = array_rows(rows)[1]
    return {
        "array": array,
        "mapping": {"x": array, "deep": {"y": array[:, :1], "z": array[:, 0]}},
        "blocks": block_rows(rows),
    }[form]


def first_numbers(observations: Any) -> list[float]:
    """The number of every row, read off its observation."""
    if isinstance(observations, dict):
        assert observations["deep"]["z"].tolist() == observations["x"][:, 2].tolist()
        return observations["x"][:, 0].tolist()
    if isinstance(observations, list):
        return [row[1].values[0] for row in observations]
    return observations[:, 0].tolist()


@pytest.mark.parametrize("form", ["array", "mapping", "blocks"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 7, 101, 500])
def test_a_pass_yields_every_row_once_whatever_the_form(
    form: str, shuffle: bool, batch_size: int
) -> None:
    rows = 101
    dataset = ArrayDataset(array_rows(rows)[0], in_form(form, rows))
    assert len(dataset) == rows
    batches = list(dataset.iter_batches(batch_size, shuffle=shuffle, seed=3))
    sizes = [len(batch.parameters) for batch in batches]
    assert sizes == [min(batch_size, rows - i) for i in range(0, rows, batch_size)]
    seen = [number for batch in batches for number in batch.parameters[:, 0]]
    assert sorted(seen) == list(range(rows))
    assert (seen == list(range(rows))) != shuffle
    assert seen == [number for b in batches for number in first_numbers(b.observations)]
    assert seen == [number for b in batches for number in b.metadata["rows"]]


def test_the_order_is_drawn_by_the_seed_and_the_split_is_not() -> None:
    dataset = ArrayDataset(*array_rows())

    def rows(**options: Any) -> list[int]:
        batches = dataset.iter_batches(**options)
        return [int(number) for batch in batches for number in batch.metadata["rows"]]

    assert rows(shuffle=True, seed=1) == rows(shuffle=True, seed=1)
    assert rows(shuffle=True, seed=1) != rows(shuffle=True, seed=2)
    held = rows(split="validation")
    assert sorted(rows(split="validation", shuffle=True, seed=9)) == held
    assert len(held) == 100
    assert sorted(rows(split="train") + held) == list(range(1003))


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 4095, 4096, 4097, 10_000])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5])
def test_the_share_held_back_is_exact_and_rows_are_told_apart_in_pieces_too(
    rows: int, fraction: float
) -> None:
    held = is_validation(0, rows, rows, fraction=fraction, seed=4)
    expected = int(np.floor(fraction * rows + 0.5))
    if fraction:
        expected = min(max(expected, 1), rows - 1)
    assert held.sum() == expected
    cuts = sorted({0, rows, rows // 3, rows // 2, min(rows, 4096)})
    pieces = [
        is_validation(a, b, rows, fraction=fraction, seed=4) for a, b in itertools.pairwise(cuts)
    ]
    assert np.concatenate(pieces).tolist() == held.tolist()


def test_held_back_rows_are_spread_evenly_and_differ_by_seed() -> None:
    masks = [is_validation(0, 20_000, 20_000, fraction=0.1, seed=seed) for seed in range(2)]
    assert (masks[0] != masks[1]).any()
    # Binomial standard deviation of 100 rows is 3; blocks make it smaller still.
    per_thousand = masks[0].reshape(20, 1000).sum(axis=1)
    assert abs(per_thousand - 100).max() < 45
    # About a tenth of the rows that one seed holds back are held back by the other.
    assert 140 < (masks[0] & masks[1]).sum() < 260


def test_the_fingerprint_tells_contents_apart_and_is_the_same_in_a_fresh_process() -> None:
    parameters, observations = array_rows(20)
    told = ArrayDataset(parameters, observations).fingerprint
    code = (
        "import numpy as np\n"
        "from ax_jax_runners.posterior.datasets import ArrayDataset\n"
        "n = np.arange(20.0)\n"
        "print(ArrayDataset(np.stack([n, n + 0.5], 1), np.stack([n] * 3, 1)).fingerprint)\n"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == told
    changed = observations.copy()
    changed[7, 1] = np.nextafter(changed[7, 1], np.inf)
    others = [
        ArrayDataset(parameters, changed),
        ArrayDataset(parameters, {"x": observations}),
        ArrayDataset(parameters[::-1], observations),
        ArrayDataset(parameters, observations, names=["a", "b"]),
        ArrayDataset(parameters, observations.astype(np.float32)),
        ArrayDataset(parameters[:19], observations[:19]),
        ArrayDataset(parameters, block_rows(20)),
    ]
    assert len({told, *(other.fingerprint for other in others)}) == 8


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"parameters": np.zeros((0, 2)), "observations": np.zeros((0, 1))}, "has no rows"),
        ({"parameters": np.zeros((3, 2))}, "3 rows of parameters and 4 of observations"),
        ({"parameters": np.zeros(4)}, "have the shape"),
        ({"parameters": np.array([[0, 1], [0, 1], [0, np.inf], [0, 1]])}, "Parameter 1 of row 2"),
        ({"parameters": [["a", "b"]] * 4}, "not numbers"),
        ({"observations": ["a"] * 4}, "give an array of numbers"),
        ({"space": ParameterSpace([Parameter("a", lower=0, upper=1)])}, "1 free parameters"),
        ({"space": "prior"}, "is a str"),
        ({"names": ["a"]}, "each one its own"),
        ({"names": ["a", "a"]}, "each one its own"),
        ({"names": ["b", "a"], "space": SPACE}, "order of the space"),
        ({"validation_fraction": 1.0}, "below 1"),
    ],
)
def test_rows_that_do_not_fit_are_refused(options: dict[str, Any], sentence: str) -> None:
    given = {"parameters": np.zeros((4, 2)), "observations": np.zeros((4, 1)), **options}
    with pytest.raises(ConfigurationError, match=sentence):
        ArrayDataset(given.pop("parameters"), given.pop("observations"), **given)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 2.5}, {"seed": -1}, {"split": "test"}]
)
def test_arguments_of_a_pass_are_checked_at_the_call(options: dict[str, Any]) -> None:
    dataset = ArrayDataset(*array_rows(5))
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        dataset.iter_batches(**options)


# ---------------------------------------------------------------------- other people's readers


class Bare:
    """The least that a reader can be."""

    def __init__(self, *batches: tuple[Any, Any]) -> None:
        self.batches = batches
        self.asked: list[dict[str, Any]] = []

    def iter_batches(self) -> Iterator[PosteriorBatch]:
        self.asked.append({})
        for parameters, observations in self.batches:
            yield PosteriorBatch(parameters, observations)


class Choosy(Bare):
    def iter_batches(self, seed: int, batch_size: int = 3) -> Iterator[PosteriorBatch]:  # type: ignore[override]
        self.asked.append({"seed": seed, "batch_size": batch_size})
        return super().iter_batches()


class Open(Bare):
    """Takes whatever is given, and minds nothing of it."""

    def iter_batches(self, **options: Any) -> Iterator[PosteriorBatch]:
        self.asked.append(options)
        return super().iter_batches()


class Splitting(Bare):
    """Its last batch is held back."""

    def iter_batches(self, *, split: str) -> Iterator[PosteriorBatch]:  # type: ignore[override]
        chosen = self.batches[-1:] if split == "validation" else self.batches[:-1]
        return Bare(*chosen).iter_batches()


def in_batches(rows: int = 40, size: int = 7, form: str = "array") -> list[tuple[Any, Any]]:
    dataset = ArrayDataset(array_rows(rows)[0], in_form(form, rows))
    return [(b.parameters, b.observations) for b in dataset.iter_batches(size)]


@pytest.mark.parametrize("kind", [Bare, Choosy, Open])
@pytest.mark.parametrize("form", ["array", "mapping", "blocks"])
def test_a_reader_that_holds_nothing_back_is_split_by_the_numbers_of_its_rows(
    kind: type[Bare], form: str
) -> None:
    reader = kind(*in_batches(form=form))
    assert isinstance(reader, DatasetReader)
    data = gather(reader, seed=5)
    assert data.parameters[:, 0].tolist() == list(range(40))
    assert first_numbers(data.observations) == list(range(40))
    assert data.is_validation.sum() == 4
    assert data.names == ("parameter_0", "parameter_1")
    assert (data.space, data.manifest, data.preprocessing_metadata) == (None, None, None)
    # What is known of the rows does not depend on how they are cut, nor on who yields them.
    again = gather(Bare(*in_batches(size=40, form=form)), seed=5)
    assert again.fingerprint == data.fingerprint
    assert again.is_validation.tolist() == data.is_validation.tolist()
    assert gather(reader, seed=6).is_validation.tolist() != data.is_validation.tolist()
    assert gather(reader, seed=5, validation_fraction=0.5).is_validation.sum() == 20


def test_a_reader_is_given_what_its_signature_names() -> None:
    choosy, everything = Choosy(*in_batches()), Open(*in_batches())
    gather(choosy, seed=5)
    gather(everything, seed=5)
    assert choosy.asked[0]["seed"] == 5
    assert set(choosy.asked[0]) == {"seed", "batch_size"}
    asked = [options for options in everything.asked if options]
    assert [options.pop("split") for options in asked] == ["train", "validation"]
    assert all(set(options) == {"batch_size", "shuffle", "seed"} for options in asked)


def test_a_reader_that_holds_rows_back_is_believed() -> None:
    data = gather(Splitting(*in_batches(40, 7)), seed=0)
    assert data.is_validation.tolist() == [False] * 35 + [True] * 5
    assert data.parameters[:, 0].tolist() == list(range(40))


def test_what_a_data_set_tells_is_passed_on() -> None:
    dataset = ArrayDataset(*array_rows(50), space=SPACE, validation_fraction=0.2)
    data = gather(dataset, seed=0)
    assert data.fingerprint == dataset.fingerprint
    assert (data.space, data.names) == (SPACE, ("a", "b"))
    assert data.is_validation.sum() == 10
    held = {row for b in dataset.iter_batches(split="validation") for row in b.metadata["rows"]}
    assert set(data.parameters[data.is_validation, 0].astype(int)) == held

    reader = Bare(*in_batches())
    reader.manifest = {"fingerprint": "f1", "simulator": "s"}  # type: ignore[attr-defined]
    reader.preprocessing_metadata = {"scale": 2.0}  # type: ignore[attr-defined]
    told = gather(reader, seed=0)
    assert told.fingerprint == "f1"
    assert told.manifest == {"fingerprint": "f1", "simulator": "s"}
    assert told.preprocessing_metadata == {"scale": 2.0}


ONE = np.zeros((2, 2)), np.zeros((2, 3))


@pytest.mark.parametrize(
    ("reader", "sentence"),
    [
        (np.zeros((3, 2)), "without iter_batches"),
        (Bare(), "yields no rows"),
        (Splitting(ONE), "no rows for split='train'"),
        (Bare(ONE, (np.zeros((2, 1)), ONE[1])), "Batch 1 of Bare has 1 parameters"),
        (Bare(ONE, (ONE[0], np.zeros((2, 4)))), "Batch 1 of Bare has the observations"),
        (Bare(ONE, (ONE[0], {"x": ONE[1]})), "Batch 1 of Bare has the observations x"),
        (Splitting(ONE, (ONE[0], np.zeros((2, 4)))), "Batch 0 of Splitting has the observations"),
        (Bare(ONE, (np.full((2, 2), np.nan), ONE[1])), "Parameter 0 of row 2 is nan"),
    ],
)
def test_readers_that_cannot_be_learned_from_are_refused(reader: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        gather(reader, seed=0)


def test_blocks_that_change_between_rows_are_refused() -> None:
    rows = block_rows(4)
    rows[2] = rows[2][:1]
    with pytest.raises(ConfigurationError, match="Row 2 of a batch has the blocks"):
        gather(Bare((np.zeros((4, 2)), rows)), seed=0)


def test_what_is_no_batch_is_refused() -> None:
    class Tuples:
        def iter_batches(self) -> Iterator[Any]:
            yield ONE

    with pytest.raises(ConfigurationError, match="yields a tuple"):
        gather(Tuples(), seed=0)
