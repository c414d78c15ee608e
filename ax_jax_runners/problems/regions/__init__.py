"""Regions of the unit box whose volume and moments are known in closed form.

They are what samplers of a region and estimators of its volume can be measured against.
"""

from ax_jax_runners.problems.regions.anisotropic import Banana, Needle
from ax_jax_runners.problems.regions.balls import Ball, Shell, TwoBalls
from ax_jax_runners.problems.regions.base import AnalyticRegion
from ax_jax_runners.problems.regions.polytopes import Box, Simplex

__all__ = ["AnalyticRegion", "Ball", "Banana", "Box", "Needle", "Shell", "Simplex", "TwoBalls"]
