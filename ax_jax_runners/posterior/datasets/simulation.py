"""Simulations of parameters drawn from a prior, written to a folder shard by shard."""

from __future__ import annotations

import logging
from pathlib import Path

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.files.lock import WriterLock
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.datasets.draws import PriorDraws
from ax_jax_runners.posterior.datasets.reading import check_whole
from ax_jax_runners.posterior.datasets.rows import SimulatedRows
from ax_jax_runners.posterior.datasets.shards import KINDS
from ax_jax_runners.posterior.datasets.simulated import SimulatedDataset
from ax_jax_runners.posterior.datasets.splitting import check_fraction
from ax_jax_runners.posterior.datasets.writing import write_shards

_LOG = logging.getLogger("ax_jax_runners.posterior")
_LOCK = "writer.lock"
_LIMIT = 2**32


def simulate(
    evaluator: FeatureEvaluator,
    space: ParameterSpace | None,
    n: int,
    *,
    directory: Path | str,
    seed: int = 0,
    batch_size: int = 4096,
    shard_rows: int | None = None,
    kind: str = "parquet",
    validation_fraction: float = 0.1,
    progress: bool = False,
) -> SimulatedDataset:
    """Draw parameters from a prior, evaluate them, and keep both in a folder.

    Row k depends on the seed and k alone: its parameters are quantiles of counter-based uniform
    numbers, and a stochastic simulator gets the key ``fold_in(key(seed), k)``. Killed at any
    moment and called again with the same arguments it goes on behind the last whole shard, and
    the files come out the same to the byte. Rows with a feature that is not finite are kept in
    the files and counted, but no reader yields them.

    Args:
        evaluator: The simulator.
        space: The prior to draw from; None: the evaluator's. Its free parameters must be those of
            the evaluator's space; constraints are honoured by drawing a row again.
        n: Rows, failed ones included.
        directory: The folder, made if missing; one data set to a folder.
        seed: Of parameters and keys, below 2**32.
        batch_size: Rows that are evaluated at once.
        shard_rows: Rows of a file; None: as many as take 64 MB, at most 65,536.
        kind: "parquet" or "npz".
        validation_fraction: Share of the rows that the reader holds back.
        progress: Whether to draw a progress bar on standard error.

    Returns:
        The reader of all rows.

    Raises:
        ConfigurationError: An argument that cannot be used, or the folder holds other simulations.
        EvaluationError: The simulator cannot be evaluated.
        LeaseHeld: Another process is writing there.
        ArtifactCorrupt: The manifest of the folder is damaged.
        OSError: The folder cannot be written.
    """
    check_whole("n", n, 1)
    check_whole("batch_size", batch_size, 1)
    if check_whole("seed", seed, 0) >= _LIMIT or n > _LIMIT:
        raise ConfigurationError(f"seed is {seed} and n is {n}; both must be below 2**32.")
    if kind not in KINDS:
        raise ConfigurationError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}.")
    check_fraction(validation_fraction)
    prior = evaluator.space if space is None else space
    _check_same_parameters(prior, evaluator.space)
    rows = SimulatedRows(evaluator, PriorDraws(prior, int(seed)), int(batch_size))
    if shard_rows is None:
        shard_rows = rows.affordable
    configuration = {
        **rows.describe(),
        "n": int(n),
        "shard_rows": check_whole("shard_rows", shard_rows, 1),
        "kind": kind,
    }
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    lock = WriterLock.acquire(folder / _LOCK)
    try:
        manifest = write_shards(folder, lock, rows, configuration, show_progress=progress)
    finally:
        lock.release()
    if manifest.failed:
        _LOG.info("%s: %d of %d simulations are not finite.", folder, manifest.failed, n)
    return SimulatedDataset(folder, manifest, space=prior, validation_fraction=validation_fraction)


def _check_same_parameters(prior: ParameterSpace, known: ParameterSpace) -> None:
    """Refuse to draw what the simulator would take for something else."""
    kinds = [{p.name: (p.integer, p.choices) for p in space.free} for space in (prior, known)]
    if list(kinds[0].items()) != list(kinds[1].items()):
        raise ConfigurationError(
            f"The space has the free parameters {', '.join(prior.names)} and the evaluator's has "
            f"{', '.join(known.names)}; give the same ones, of the same kinds, in this order."
        )
