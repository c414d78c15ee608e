"""Pictures of trainings and posteriors, as plotly figures."""

from __future__ import annotations

from ax_jax_runners.posterior.plots.coverage import plot_coverage
from ax_jax_runners.posterior.plots.losses import plot_losses
from ax_jax_runners.posterior.plots.pairs import plot_posterior
from ax_jax_runners.posterior.plots.ranks import plot_ranks

__all__ = ["plot_coverage", "plot_losses", "plot_posterior", "plot_ranks"]
