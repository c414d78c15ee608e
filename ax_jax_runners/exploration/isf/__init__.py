"""Random walks for evaluation functions that are not JAX, with a published class's interface.

`RW` follows the law and the random stream of the class of that name in the In Silico Framework
(its module ``biophysics_fitting.exploration_from_seedpoint``), so that a walk of the same seed is
the same walk. An evaluator in JAX is explored some hundred times faster by `RandomWalk`.
"""

from __future__ import annotations

from ax_jax_runners.exploration.isf.rw import RW
from ax_jax_runners.exploration.isf.settings import RWOutcome

__all__ = ["RW", "RWOutcome"]
