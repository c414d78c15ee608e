"""Limits on single calls."""

from __future__ import annotations

import numpy as np

from ax_jax_runners.posterior import EncoderConfiguration, FlowPosterior, ObservationBlock
from posterior_peers.goals import Row
from posterior_peers.measuring import take_turns
from posterior_peers.own import LARGE, estimator, moons

OBSERVATIONS, WAVELENGTHS, DRAWS, ROWS = 100, 233, 1_000, 10_000


def checklist(quick: bool) -> list[Row]:
    """Measure encoding, draws and densities after they are compiled."""
    repeats = 3 if quick else 10
    random = np.random.default_rng(0)
    wavelengths = np.linspace(1.0, 5.0, WAVELENGTHS)
    spectra = [
        [
            ObservationBlock(
                "spectrum",
                "spectrum",
                random.normal(size=WAVELENGTHS),
                np.full(WAVELENGTHS, 0.1),
                wavelengths,
            )
        ]
        for _ in range(OBSERVATIONS)
    ]
    rows = []
    for kind in ("conv1d", "patch"):
        encoding = FlowPosterior(
            2, parameter_space="physical", encoder=EncoderConfiguration(spectrum=kind)
        )
        encoding.batch_encode_observation(spectra)
        seconds = take_turns(
            {
                "loop": lambda one=encoding: [one.encode_observation(row) for row in spectra],
                "batch": lambda one=encoding: one.batch_encode_observation(spectra),
            },
            repeats,
        )
        what = f"{OBSERVATIONS} spectra encoded ({kind}), one by one / at once"
        rows.append(Row(what, seconds["loop"], seconds["batch"], goal=20.0))
    data = moons()
    learned = estimator(LARGE, epochs=1)
    learned.fit(data)
    embeddings = learned.embeddings(data.x[:OBSERVATIONS])
    encoded = learned.encode_observation(data.x[0])
    seconds = take_turns(
        {
            "draws": lambda: learned.batch_sample_posterior(embeddings, DRAWS),
            "densities": lambda: learned.log_prob(encoded, data.theta[:ROWS]),
        },
        repeats,
    )
    draws = f"batch_sample_posterior, {OBSERVATIONS} x {DRAWS:,}"
    return [
        *rows,
        Row(draws, own=seconds["draws"], goal=0.3, is_limit=True),
        Row(f"log_prob, {ROWS:,} rows", own=seconds["densities"], goal=0.05, is_limit=True),
    ]
