"""Trading strategies: the momentum pool, its measures of performance, markets and training."""

from __future__ import annotations

from ax_jax_runners.strategies.momentum import PoolPath, momentum_pool

__all__ = ["PoolPath", "momentum_pool"]
