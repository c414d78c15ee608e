"""Random numbers of the model phase: the same for the same seed and the same trials so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def generation_seed(seed: int, trials: int) -> Iterator[None]:
    """Seed torch for one generation step, and give its state back afterwards.

    Args:
        seed: The campaign's seed.
        trials: Number of trials so far, so that every step draws other numbers.
    """
    mixed = int(np.random.SeedSequence((seed, trials)).generate_state(1)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed)
        yield
