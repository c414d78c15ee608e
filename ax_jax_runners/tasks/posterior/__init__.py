"""Training of amortised posteriors as trials."""

from __future__ import annotations

from ax_jax_runners.tasks.posterior.task import PosteriorTask

__all__ = ["PosteriorTask"]
