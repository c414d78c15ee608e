"""Independent draws from a log-concave density, by rejection from a t distribution at its mode."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.problems.sbi.sampling import collect

DEGREES = 6.0  # of freedom; tails heavier than those of any log-concave density
NEWTON_STEPS = 100
SEARCHED = 20_000  # proposals from which the search for the largest ratio starts
STARTS = 4
MARGIN = 0.02  # added to the largest ratio's logarithm


class EnvelopeTooLow(ArithmeticError):
    """A ratio above the one assumed to be the largest."""


def sample_log_concave(
    log_density: Callable[[np.ndarray], np.ndarray],
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw from a density with a single mode.

    Proposals follow a multivariate t distribution with the mode's location and curvature. The
    largest ratio of the two densities is searched by ascent from the best of many proposals; if a
    later proposal exceeds it all the same, it is raised and all draws start again. So the draws are
    independent, and exact as far as the largest ratio was found.

    Args:
        log_density: (B, d) to (B,), not normalised.
        derivatives: (d,) to its gradient (d,) and negative Hessian (d, d), positive definite.
        start: Where the search for the mode starts, (d,).
        n: Number of draws.
        rng: Source of the draws.

    Returns:
        (n, d).
    """
    mode, curvature = _mode(log_density, derivatives, start)
    factor = np.linalg.inv(np.linalg.cholesky(curvature)).T  # factor factor' = curvature^-1
    d = start.size

    def proposals(count: int) -> tuple[np.ndarray, np.ndarray]:
        z = rng.standard_normal((count, d))
        z *= np.sqrt(0.5 * DEGREES / rng.gamma(0.5 * DEGREES, size=(count, 1)))
        return z, log_ratio(z)

    def log_ratio(z: np.ndarray) -> np.ndarray:
        tails = 0.5 * (DEGREES + d) * np.log1p((z**2).sum(axis=-1) / DEGREES)
        return log_density(mode + z @ factor.T) + tails

    from scipy.optimize import minimize

    z, ratio = proposals(SEARCHED)
    best = z[np.argsort(ratio)[-STARTS:]]
    found = [-minimize(lambda z: -log_ratio(z[None])[0], each, method="BFGS").fun for each in best]
    largest = [max(*found, float(ratio.max())) + MARGIN]

    def accepted(count: int) -> np.ndarray:
        z, ratio = proposals(count)
        if ratio.max(initial=-math.inf) > largest[0]:
            largest[0] = float(ratio.max()) + MARGIN
            raise EnvelopeTooLow
        kept = np.log1p(-rng.random(count)) < ratio - largest[0]
        return mode + z[kept] @ factor.T

    while True:
        try:
            return collect(accepted, n)
        except EnvelopeTooLow:
            continue


def _mode(
    log_density: Callable[[np.ndarray], np.ndarray],
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method with halved steps."""
    at = start
    for _ in range(NEWTON_STEPS):
        gradient, curvature = derivatives(at)
        step = np.linalg.solve(curvature, gradient)
        if gradient @ step < 1e-16:
            return at, curvature
        value = log_density(at[None])[0]
        # Close to the mode round-off hides the ascent of a full step.
        while log_density((at + step)[None])[0] < value - 1e-9:
            step = 0.5 * step
        at = at + step
    raise ConfigurationError(
        f"The mode of a posterior was not reached in {NEWTON_STEPS} steps of Newton's method; "
        "check the observation."
    )
