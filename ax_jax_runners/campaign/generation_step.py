"""The surroundings of one generation step: its random numbers and its threads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def generation_step(seed: int, trials: int) -> Iterator[None]:
    """Run a generation step with random numbers of its own on one thread.

    The same seed and the same trials so far give the same candidates. The matrices of a Gaussian
    process on some hundred trials are too small to share: on two busy cores torch's threads wait
    for each other several times longer than one of them computes. Both are put back afterwards.

    Args:
        seed: The campaign's seed.
        trials: Number of trials so far, so that every step draws other numbers.
    """
    mixed = int(np.random.SeedSequence((seed, trials)).generate_state(1)[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # A deterministic simulator has no noise; GPyTorch raises it to 1e-6 and says so.
            warnings.filterwarnings("ignore", message="Very small noise values detected")
            torch.manual_seed(mixed)
            yield
    finally:
        torch.set_num_threads(threads)
