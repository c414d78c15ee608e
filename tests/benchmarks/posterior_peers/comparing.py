"""Beside sbi, in turns: epochs, draws and densities. sbi is imported where it is needed."""

from __future__ import annotations

import functools
import logging
import warnings
from typing import Any

import numpy as np

from posterior_peers.goals import Row
from posterior_peers.measuring import take_turns
from posterior_peers.own import LARGE, Lanes, estimator, moons, prepared

DRAWS = 10_000
OBSERVATIONS, DRAWS_OF_EACH = 100, 1_000


def epochs(quick: bool) -> list[Row]:
    """Measure an epoch of each side."""
    from posterior_peers.sbi_side import GivenRows

    data = moons()
    peer, own = GivenRows(data), Lanes(prepared(data), LARGE, [1e-3])
    many = 5
    seconds = take_turns(
        {"sbi": peer.go_on, "own": lambda: [own.epoch() for _ in range(many)]},
        2 if quick else 7,
        {"own": many},
    )
    weights = f"{peer.parameters:,} / {own.parameters:,} weights"
    return [Row(f"an epoch, {weights}", seconds["sbi"], seconds["own"], goal=10.0)]


def asking(quick: bool) -> list[Row]:
    """Measure draws and densities of both sides' trained estimators."""
    import torch

    from posterior_peers.sbi_side import GivenRows

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    data = moons()
    peer = GivenRows(data)
    peer.learn(last_epoch=2 if quick else 20)
    posterior: Any = peer.build_posterior()
    learned = estimator(LARGE, epochs=5 if quick else 40)
    learned.fit(data)
    x = data.x[-OBSERVATIONS:]
    xs = torch.tensor(x, dtype=torch.float32)
    encoded = learned.encode_observation(x[0])
    theta = learned.draw(x[:1], DRAWS)[0]
    thetas = torch.tensor(theta, dtype=torch.float32)
    quiet = {"show_progress_bars": False}
    unchecked = {**quiet, "reject_outside_prior": False}
    one, many = (DRAWS,), (DRAWS_OF_EACH,)
    calls = {
        "one sbi": functools.partial(posterior.sample, one, x=xs[:1], **quiet),
        "one unchecked": functools.partial(posterior.sample, one, x=xs[:1], **unchecked),
        "one own": functools.partial(learned.draw, x[:1], DRAWS),
        "many sbi": functools.partial(posterior.sample_batched, many, x=xs, **quiet),
        "many unchecked": functools.partial(posterior.sample_batched, many, x=xs, **unchecked),
        "many own": functools.partial(learned.draw, x, DRAWS_OF_EACH),
        "density sbi": functools.partial(
            posterior.log_prob, thetas, x=xs[:1], norm_posterior=False
        ),
        "density own": functools.partial(learned.log_prob, encoded, theta, space="physical"),
    }
    seconds = take_turns(calls, 3 if quick else 10)
    inside = (np.abs(learned.draw(x, DRAWS_OF_EACH)) <= 1.0).all()
    assert inside
    batch = f"{OBSERVATIONS} observations x {DRAWS_OF_EACH:,} draws"
    single = f"{DRAWS:,} draws from one observation"
    return [
        Row(single, seconds["one sbi"], seconds["one own"], goal=5.0),
        Row(f"{single}, sbi's outside the prior too", seconds["one unchecked"], seconds["one own"]),
        Row(batch, seconds["many sbi"], seconds["many own"], goal=5.0),
        Row(f"{batch}, likewise", seconds["many unchecked"], seconds["many own"]),
        Row(f"{DRAWS:,} densities", seconds["density sbi"], seconds["density own"], goal=5.0),
    ]
