"""Simulations drawn from a prior, written to a folder and read again."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ax_jax_runners import FeatureEvaluator, Parameter, ParameterSpace
from ax_jax_runners.errors import (
    ArtifactCorrupt,
    AxJaxError,
    ConfigurationError,
    LeaseHeld,
    SchemaTooNew,
)
from ax_jax_runners.files.lock import WriterLock
from ax_jax_runners.posterior.datasets import ArrayDataset, SimulatedDataset, gather, simulate
from ax_jax_runners.posterior.datasets.draws import PriorDraws
from ax_jax_runners.posterior.datasets.sealed import read_sealed, seal

SPACE = ParameterSpace(
    [
        Parameter("a", lower=0.0, upper=1.0),
        Parameter("b", dist.Normal(1.0, 2.0)),
        Parameter("c", choices=["x", "y", "z"]),
        Parameter("d", fixed=2.0),
    ],
    constraints=["a + b <= 1.5"],
)


def plain(values: dict[str, Any]) -> jax.Array:
    """Three numbers that tell the parameters; not finite below a = 0.1."""
    line = values["a"] + values["b"] * jnp.arange(3.0)
    return jnp.where(values["a"] < 0.1, jnp.nan, line)


def noisy(values: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    return {
        "line": values["a"] + jax.random.normal(key, (2, 2)),
        "wave": values["b"] + 1j * values["a"],
        "count": values["c"].astype(int),
        "deep": {"kind": jnp.where(values["a"] > 0.9, jnp.inf, values["a"])},
    }


PLAIN = FeatureEvaluator(plain, SPACE, chunk=8, capacity=256)
NOISY = FeatureEvaluator(noisy, SPACE, chunk=8, capacity=256, stochastic=True, dtype="float32")

Make = Callable[..., SimulatedDataset]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Simulate 1,000 rows into a folder of their own."""

    def make(evaluator: FeatureEvaluator, name: str = "data", **options: Any) -> SimulatedDataset:
        given = {"seed": 5, "shard_rows": 300, "batch_size": 128, **options}
        return simulate(evaluator, None, given.pop("n", 1000), directory=tmp_path / name, **given)

    return make


def everything(dataset: Any) -> tuple[np.ndarray, Any]:
    [batch] = dataset.iter_batches(10**6)
    return batch.parameters, batch.observations


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_rows(one: Any, other: Any) -> None:
    for left, right in zip(
        jax.tree.leaves(everything(one)), jax.tree.leaves(everything(other)), strict=True
    ):
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes()
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_rows_come_back_with_what_the_simulator_makes_of_them(make: Make, kind: str) -> None:
    dataset = make(PLAIN, kind=kind)
    parameters, observations = everything(dataset)
    assert parameters.shape == (len(dataset), 3)
    assert observations.shape == (len(dataset), 3)
    assert np.array_equal(observations, PLAIN.model_features(parameters))
    # Rows that failed are counted, in the manifest too, and nobody gets them.
    assert np.isfinite(observations).all()
    assert dataset.failed == 1000 - len(dataset) > 50
    assert dataset.manifest is not None
    assert dataset.manifest["failed"] == dataset.failed
    assert sum(shard["nonfinite"]["features"] for shard in dataset.manifest["shards"]) == (
        dataset.failed
    )
    assert len(list(dataset.directory.glob(f"shard-*.{kind}"))) == 4


def test_features_of_every_kind_come_back_by_name(make: Make) -> None:
    dataset = make(NOISY)
    parameters, observations = everything(dataset)
    kinds = {name: (leaf.dtype.name, leaf.shape[1:]) for name, leaf in observations.items()}
    assert kinds == {
        "line": ("float32", (2, 2)),
        "wave.real": ("float32", ()),
        "wave.imag": ("float32", ()),
        "count": ("int32", ()),
        "deep.kind": ("float32", ()),
    }
    assert observations["wave.imag"].tolist() == parameters[:, 0].astype(np.float32).tolist()
    assert observations["count"].tolist() == parameters[:, 2].tolist()
    assert parameters[:, 0].max() <= 0.9
    assert dataset.failed > 50


def test_parameters_follow_the_prior_within_its_constraints(make: Make) -> None:
    draws = PriorDraws(SPACE, 1)
    theta, rejected = draws.rows(0, 20_000)
    assert (theta[:, 0] + theta[:, 1] <= 1.5).all()
    # P(a + b <= 1.5), a uniform and b normal (1, 2): the mean of Phi((0.5 - a) / 2) over a is 1/2.
    assert abs(20_000 / (20_000 + rejected) - 0.5) < 0.01
    # Accepted rows have the law of the prior where the constraint holds, and c does not see it.
    reference = np.random.default_rng(0)
    a, b = reference.uniform(size=200_000), reference.normal(1.0, 2.0, 200_000)
    kept = a + b <= 1.5
    for column, values in enumerate((a[kept], b[kept])):
        for probability in (0.1, 0.5, 0.9):
            share = (theta[:, column] <= np.quantile(values, probability)).mean()
            assert abs(share - probability) < 0.012
    assert np.abs(np.bincount(theta[:, 2].astype(int)) / 20_000 - 1 / 3).max() < 0.012
    dataset = make(PLAIN)
    assert dataset.manifest is not None
    assert dataset.manifest["rejected"] == draws_rejected(5, 1000)


def draws_rejected(seed: int, n: int) -> int:
    return PriorDraws(SPACE, seed).rows(0, n)[1]


@pytest.mark.parametrize("evaluator", [PLAIN, NOISY], ids=["plain", "noisy"])
def test_rows_do_not_depend_on_batches_shards_or_the_kind_of_file(
    make: Make, evaluator: FeatureEvaluator
) -> None:
    first = make(evaluator, "first")
    assert_same_rows(first, make(evaluator, "batches", batch_size=7, n=1000))
    assert_same_rows(first, make(evaluator, "shards", shard_rows=1000, batch_size=999))
    assert_same_rows(first, make(evaluator, "files", kind="npz", shard_rows=77))
    assert_same_rows(first, ArrayDataset(*everything(first), space=SPACE))
    short = make(evaluator, "short", n=400)
    assert everything(short)[0].tolist() == everything(first)[0][: len(short)].tolist()
    assert short.fingerprint != first.fingerprint
    other = make(evaluator, "seed", seed=6)
    assert not np.isin(everything(other)[0][:, 0], everything(first)[0][:, 0]).any()


def test_every_row_has_a_key_of_its_own(make: Make) -> None:
    dataset = make(NOISY)
    parameters, observations = everything(dataset)
    noise = observations["line"] - parameters[:, :1, None].astype(np.float32)
    assert len(np.unique(noise)) > 0.99 * noise.size
    key = jax.random.fold_in(jax.random.key(5, impl="threefry2x32"), 0)
    theta = PriorDraws(SPACE, 5).rows(0, 1)[0]
    alone = NOISY.evaluate(theta, key[None]).features
    assert (parameters[0] == theta[0]).all(), "the first row of this seed is finite"
    assert observations["line"][0].tolist() == alone["line"][0].tolist()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [64, 256, 5000])
def test_a_pass_yields_every_row_once_in_whole_batches_and_a_ragged_last_one(
    make: Make, shuffle: bool, batch_size: int
) -> None:
    dataset = make(PLAIN, n=1000)
    rows = len(dataset)
    batches = list(dataset.iter_batches(batch_size, shuffle=shuffle, seed=2))
    sizes = [len(batch.parameters) for batch in batches]
    assert sizes == [min(batch_size, rows - i) for i in range(0, rows, batch_size)]
    seen = np.concatenate([batch.metadata["rows"] for batch in batches])
    assert sorted(seen) == list(range(rows))
    assert (seen.tolist() == list(range(rows))) != shuffle
    straight = everything(dataset)
    for index, part in enumerate(("parameters", "observations")):
        found = np.concatenate([getattr(batch, part) for batch in batches])
        assert found.tolist() == straight[index][seen].tolist()


def test_both_parts_make_the_whole_and_do_not_depend_on_shards_or_order(make: Make) -> None:
    few, many = make(PLAIN, "few", shard_rows=900), make(PLAIN, "many", shard_rows=61)
    parts = {}
    for split in ("train", "validation"):
        found = [
            sorted(
                n for b in dataset.iter_batches(50, split=split, **o) for n in b.metadata["rows"]
            )
            for dataset in (few, many)
            for o in ({}, {"shuffle": True, "seed": 8})
        ]
        assert all(numbers == found[0] for numbers in found)
        parts[split] = found[0]
    assert len(parts["validation"]) == round(0.1 * len(few))
    assert sorted(parts["train"] + parts["validation"]) == list(range(len(few)))
    data = gather(many, seed=0)
    assert data.is_validation.sum() == len(parts["validation"])
    assert data.fingerprint == few.fingerprint
    half = SimulatedDataset.open(few.directory, validation_fraction=0.5)
    assert sum(len(b.parameters) for b in half.iter_batches(split="validation")) == round(
        0.5 * len(few)
    )


def test_a_folder_opened_in_a_fresh_process_is_the_same_data_set(make: Make) -> None:
    dataset = make(PLAIN)
    assert SimulatedDataset.open(dataset.directory).space == SPACE
    code = (
        "import json, sys\n"
        "from ax_jax_runners.posterior.datasets import ArrayDataset, SimulatedDataset\n"
        "opened = SimulatedDataset.open(sys.argv[1])\n"
        "[batch] = opened.iter_batches(10**6)\n"
        "rows = ArrayDataset(batch.parameters, batch.observations, space=opened.space)\n"
        "print(json.dumps([opened.fingerprint, rows.fingerprint, opened.names, len(opened)]))\n"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", code, str(dataset.directory)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(fresh.stdout.splitlines()[-1])
    assert told == [dataset.fingerprint] * 2 + [["a", "b", "c"], len(dataset)]


def test_a_second_call_changes_nothing_and_reads_what_is_there(make: Make) -> None:
    dataset = make(PLAIN)
    before = contents(dataset.directory)
    modified = (dataset.directory / "manifest.json").stat().st_mtime_ns
    assert_same_rows(make(PLAIN, batch_size=11), dataset)
    assert contents(dataset.directory) == before
    assert (dataset.directory / "manifest.json").stat().st_mtime_ns == modified
    assert sorted(before) == ["manifest.json", *(f"shard-00000{i}.parquet" for i in range(4))]


def other_simulator(values: dict[str, Any]) -> jax.Array:
    return plain(values) * 2


@pytest.mark.parametrize(
    ("evaluator", "options", "key"),
    [
        (PLAIN, {"seed": 6}, "seed is 5 there and 6 here"),
        (PLAIN, {"n": 1001}, "n is 1000 there and 1001 here"),
        (PLAIN, {"shard_rows": 301}, "shard_rows is 300 there"),
        (PLAIN, {"kind": "npz"}, 'kind is "parquet" there'),
        (FeatureEvaluator(other_simulator, SPACE, chunk=8), {}, "simulator is"),
        (FeatureEvaluator(plain, SPACE, chunk=9), {}, "chunk is 8 there and 9 here"),
        (FeatureEvaluator(plain, SPACE, chunk=8, dtype="float32"), {}, "dtype is"),
        (
            FeatureEvaluator(plain, SPACE.replace({"a": {"upper": 0.5}}), chunk=8),
            {},
            "space.parameters is",
        ),
        (
            FeatureEvaluator(plain, SPACE, chunk=8, reproducible=False),
            {},
            "reproducible is true there and false here; batch_size is absent there and 128 here",
        ),
    ],
)
def test_other_simulations_in_the_same_folder_are_refused_by_the_key_that_differs(
    make: Make, evaluator: FeatureEvaluator, options: dict[str, Any], key: str
) -> None:
    dataset = make(PLAIN)
    before = contents(dataset.directory)
    with pytest.raises(ConfigurationError, match=key) as refused:
        make(evaluator, **options)
    assert "Use another folder" in str(refused.value)
    assert contents(dataset.directory) == before


ONE = ParameterSpace([Parameter("a", lower=0.0, upper=1.0)])
EMPTY = ParameterSpace(
    [Parameter(name, lower=0.0, upper=1.0) for name in "abcdefgh"],
    constraints=["a + b + c + d + e + f + g + h <= 0.01"],
)


@pytest.mark.parametrize(
    ("space", "options", "sentence"),
    [
        (None, {"n": 0}, "n is 0"),
        (None, {"batch_size": 0}, "batch_size is 0"),
        (None, {"shard_rows": 0}, "shard_rows is 0"),
        (None, {"seed": -1}, "seed is -1"),
        (None, {"seed": 2**32}, "must be below"),
        (None, {"kind": "csv"}, "choose one of parquet, npz"),
        (None, {"validation_fraction": 2}, "validation_fraction"),
        (ONE, {}, "the free parameters a and the evaluator's has a, b, c"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_before_anything_is_written(
    tmp_path: Path, space: ParameterSpace | None, options: dict[str, Any], sentence: str
) -> None:
    given = {"n": 10, "directory": tmp_path / "data", **options}
    with pytest.raises(ConfigurationError, match=sentence):
        simulate(PLAIN, space, given.pop("n"), **given)
    assert not (tmp_path / "data").exists()


def test_constraints_without_room_end_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ax_jax_runners.posterior.datasets.draws._MOST_ATTEMPTS", 20)
    with pytest.raises(ConfigurationError, match="still violate the constraints a"):
        PriorDraws(EMPTY, 0).rows(0, 1)


def test_a_narrower_prior_is_drawn_from_and_told(make: Make, tmp_path: Path) -> None:
    narrow = SPACE.replace({"a": {"lower": 0.5, "upper": 0.6}})
    dataset = simulate(PLAIN, narrow, 200, directory=tmp_path / "narrow", shard_rows=300)
    parameters, observations = everything(dataset)
    assert dataset.failed == 0
    assert 0.5 <= parameters[:, 0].min() <= parameters[:, 0].max() <= 0.6
    assert observations[:, 0].tolist() == parameters[:, 0].tolist()
    assert SimulatedDataset.open(dataset.directory).space == narrow
    with pytest.raises(ConfigurationError, match=r"other simulations: space\.parameters"):
        SimulatedDataset.open(dataset.directory, space=SPACE)


def never_finite(values: dict[str, Any]) -> jax.Array:
    return jnp.log(-1.0 - values["a"])


def test_a_simulator_that_always_fails_leaves_a_data_set_without_rows(tmp_path: Path) -> None:
    evaluator = FeatureEvaluator(never_finite, ONE, chunk=8, capacity=64)
    dataset = simulate(evaluator, ONE, 50, directory=tmp_path)
    assert (len(dataset), dataset.failed) == (0, 50)
    assert list(dataset.iter_batches()) == []
    assert list(dataset.iter_batches(split="validation", shuffle=True)) == []
    with pytest.raises(ConfigurationError, match="yields no rows"):
        gather(dataset, seed=0)


def test_one_writer_at_a_time(make: Make, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lock = WriterLock.acquire(tmp_path / "data" / "writer.lock")
    with pytest.raises(LeaseHeld):
        make(PLAIN)
    lock.release()
    make(PLAIN)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


@pytest.mark.parametrize("damage", [truncate, change, link, Path.unlink])
@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_a_damaged_shard_is_refused_by_readers_and_written_anew_by_the_next_call(
    make: Make, damage: Callable[[Path], object], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make(PLAIN, kind=kind)
    before = contents(dataset.directory)
    damage(dataset.directory / f"shard-000002.{kind}")
    with pytest.raises(ArtifactCorrupt, match="simulate again"):
        list(dataset.iter_batches())
    with caplog.at_level(logging.WARNING, "ax_jax_runners.posterior"):
        make(PLAIN, kind=kind)
    assert "shard-000002" in caplog.text
    (dataset.directory / "shard-000002.moved").unlink(missing_ok=True)
    assert contents(dataset.directory) == before


def test_a_manifest_that_is_damaged_newer_or_of_something_else_is_refused(make: Make) -> None:
    folder = make(PLAIN).directory
    path = folder / "manifest.json"
    whole = read_sealed(path, advice="")
    cases: list[tuple[bytes, type[AxJaxError], str]] = [
        (path.read_bytes().replace(b'"seed":5', b'"seed":6'), ArtifactCorrupt, "the digest"),
        (b"[]", ArtifactCorrupt, "is not a manifest"),
        (seal({**whole, "format": "walk"}), ArtifactCorrupt, "something else than simulations"),
        (seal({**whole, "version": 2}), SchemaTooNew, "newer version"),
        (seal({**whole, "shards": [{"name": "../../x.npz"}]}), ArtifactCorrupt, "no name of"),
        (seal({**whole, "columns": 3}), ArtifactCorrupt, "does not say"),
    ]
    for content, error, sentence in cases:
        path.write_bytes(content)
        with pytest.raises(error, match=sentence):
            SimulatedDataset.open(folder)
        with pytest.raises(error, match=sentence):
            make(PLAIN)
    path.unlink()
    with pytest.raises(ArtifactCorrupt, match="is missing"):
        SimulatedDataset.open(folder)


def test_simulations_that_are_not_complete_are_not_opened(make: Make) -> None:
    folder = make(PLAIN).directory
    whole = read_sealed(folder / "manifest.json", advice="")
    part = {**whole, "shards": whole["shards"][:2], "fingerprint": None}
    (folder / "manifest.json").write_bytes(seal(part))
    with pytest.raises(ConfigurationError, match="600 of 1000 simulations; call simulate again"):
        SimulatedDataset.open(folder)


def test_progress_is_drawn_on_request_only(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make(PLAIN, "quiet")
    assert capsys.readouterr() == ("", "")
    make(PLAIN, "loud", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "1000/1000" in err
