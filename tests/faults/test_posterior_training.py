"""Trainings of posteriors that are killed at any moment, and damaged checkpoints."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from ax_jax_runners.errors import LeaseHeld
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.training.state import TrainingState
from tests.faults import training
from tests.unit.posterior_toys import toy_dataset

_ROOT = Path(__file__).resolve().parents[2]


def start(cache: Path, backend: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.training", backend, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            # Every life compiles the same programs.
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        },
    )


def assert_same_training(found: FlowPosterior, expected: FlowPosterior) -> None:
    weights = [
        [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(each.density.weights)]
        for each in (found, expected)
    ]
    assert weights[0] == weights[1]
    assert found.training_artifacts is not None
    assert expected.training_artifacts is not None
    assert found.training_artifacts.describe() == expected.training_artifacts.describe()


def finished(backend: str, folder: Path | None = None) -> tuple[FlowPosterior, list[int]]:
    seen: list[int] = []

    def tell(state: TrainingState) -> None:
        seen.append(int(state.epoch[0]))

    estimator = training.make_estimator(backend, None if folder is None else str(folder))
    estimator.fit(toy_dataset(), on_epoch=tell)
    return estimator, seen


@pytest.mark.fault(1, 16, 21)
@pytest.mark.parametrize(
    ("backend", "kills"),
    [
        ("equinox", 2),
        pytest.param("orbax", 1, marks=pytest.mark.slow),
        *(pytest.param(name, 12, marks=pytest.mark.slow) for name in training.EPOCHS),
    ],
)
@pytest.mark.timeout(1800)
def test_checkpoint_a_training_that_is_killed_again_and_again_comes_to_the_same_bits(
    backend: str, kills: int, tmp_path: Path
) -> None:
    expected, _ = finished(backend)
    folder, cache = tmp_path / "training", tmp_path / "programs"
    moments = random.Random(kills)
    begun, last = [], 0
    most = max(1, 2 * training.EPOCHS[backend] // (3 * kills))
    for _ in range(kills):
        life = start(cache, backend, folder)
        assert life.stdout is not None
        told: list[int] = []
        # Of many lives some end before their first epoch.
        for _ in range(moments.randint(int(kills < 5), most)):
            line = life.stdout.readline()
            if not line:
                break
            told.append(int(line))
        # In the middle of an epoch, of saving one, or of what is between them.
        time.sleep(moments.uniform(0.0, 0.03 if backend == "equinox" else 0.3))
        life.kill()
        told += [int(line) for line in life.communicate()[0].split()]
        if told:
            # Told epochs are saved ones: nothing of them is lost.
            assert told[0] > last
            assert told == list(range(told[0], told[0] + len(told)))
            begun.append(told[0])
            last = told[-1]
    found, seen = finished(backend, folder)
    assert not seen or seen[0] > last
    assert last > 0
    assert kills == 1 or any(first > 1 for first in begun)
    assert_same_training(found, expected)


@pytest.mark.fault(15, 21)
def test_checkpoint_that_is_damaged_costs_the_epochs_after_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ax_jax_runners.posterior.training.fitting._SECONDS_BETWEEN_SAVES", 0.0)
    expected, _ = finished("equinox", tmp_path)
    newest = sorted(tmp_path.rglob("*.json"))[-1]
    text = newest.read_bytes()
    newest.write_bytes(text[:-20])
    with caplog.at_level(logging.WARNING):
        found, seen = finished("equinox", tmp_path)
    assert "A frozen state is passed over" in caplog.text
    assert seen == [training.EPOCHS["equinox"]]
    assert_same_training(found, expected)


@pytest.mark.slow
@pytest.mark.fault(13)
def test_two_processes_do_not_train_into_one_folder(tmp_path: Path) -> None:
    life = start(tmp_path / "programs", "equinox", tmp_path / "training")
    assert life.stdout is not None
    try:
        assert life.stdout.readline() == "1\n"
        life.send_signal(signal.SIGSTOP)
        with pytest.raises(LeaseHeld):
            finished("equinox", tmp_path / "training")
    finally:
        life.kill()
        life.communicate()
