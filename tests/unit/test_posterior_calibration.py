"""Calibration finds wrong posteriors and passes the exact one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.calibration import (
    CalibrationReport,
    calibrate,
    highest_density_coverage,
    informed_references,
    measure_leakage,
    random_references,
    rank_test,
    standard_coordinates,
    tarp,
)
from ax_jax_runners.posterior.records import ObservationBlock

DIMENSION = 3
PRIOR_SD = 0.1**0.5
EXACT_SD = 0.05**0.5


@dataclass(frozen=True)
class GaussianPosterior:
    """Of theta ~ N(0, 0.1 I) and x = theta + N(0, 0.1 I): N(x / 2, 0.05 I), or something else."""

    width: float = 1.0
    shift: float = 0.0
    correlation: float = 0.0
    informed: bool = True
    broken: int = 0

    @property
    def sd(self) -> float:
        return self.width * EXACT_SD if self.informed else PRIOR_SD

    @property
    def shape(self) -> np.ndarray:
        shape = np.full((DIMENSION, DIMENSION), self.correlation)
        np.fill_diagonal(shape, 1.0)
        return shape

    def centre(self, observations: Any) -> np.ndarray:
        x = np.asarray(observations)
        return x / 2 + self.shift * EXACT_SD if self.informed else np.zeros_like(x)

    def draw(
        self, observations: Any, n: int, *, seed: int = 0, space: str = "physical"
    ) -> np.ndarray:
        centre = self.centre(observations)
        noise = np.random.default_rng([99, seed]).standard_normal((len(centre), n, DIMENSION))
        drawn = centre[:, None] + self.sd * noise @ np.linalg.cholesky(self.shape).T
        drawn.reshape(-1, DIMENSION)[: self.broken] = np.nan
        return drawn

    def log_density(
        self, observations: Any, parameters: Any, *, space: str = "physical"
    ) -> np.ndarray:
        assert np.isfinite(parameters).all()
        scaled = (np.asarray(parameters) - self.centre(observations)) / self.sd
        inverse = np.linalg.inv(self.shape)
        # Up to a constant.
        return -0.5 * np.einsum("ni,ij,nj->n", scaled, inverse, scaled)


def simulations(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([2018, seed])
    theta = PRIOR_SD * rng.standard_normal((rows, DIMENSION))
    return theta, theta + PRIOR_SD * rng.standard_normal(theta.shape)


def report(posterior: GaussianPosterior, seed: int = 0, **options: Any) -> CalibrationReport:
    return calibrate(posterior, *simulations(seed), seed=seed, **options)


@pytest.fixture(scope="module")
def exact() -> list[CalibrationReport]:
    return [
        calibrate(GaussianPosterior(), *simulations(seed, 300), draws=50, seed=seed)
        for seed in range(150)
    ]


class TestExactPosterior:
    # Seed 1 is left to chance, as one in twenty must be; the next test looks at the whole law.
    @pytest.mark.parametrize("seed", [0, 2, 3, 4, 5])
    def test_passes(self, seed: int) -> None:
        found = report(GaussianPosterior(), seed)
        assert min(found.sbc_p_value, found.coverage_p_value, found.tarp_p_value) > 0.05
        assert found.passed()
        assert max(found.coverage_area, found.tarp_area) < 0.05

    @pytest.mark.slow
    def test_p_values_are_uniform_over_repeats(self, exact: list[CalibrationReport]) -> None:
        ks = np.array([r.ranks.ks_p_values for r in exact])
        chi_square = np.array([r.ranks.chi_square_p_values for r in exact])
        of_tarp = np.array([stats.kstest(r.tarp.levels, "uniform").pvalue for r in exact])
        for values in (*ks.T, *chi_square.T, of_tarp):
            assert stats.kstest(values, "uniform").pvalue > 1e-3
        # Tests at 5 %: binomial, 150 times.
        for values in (*ks.T, *chi_square.T, of_tarp):
            assert (values < 0.05).mean() < 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / 150)

    def test_seldom_fails(self, exact: list[CalibrationReport]) -> None:
        share = np.mean([not r.passed(0.1) for r in exact])
        assert share < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 150)

    def test_areas_scatter_as_their_errors_say(self, exact: list[CalibrationReport]) -> None:
        for name in ("coverage", "tarp"):
            areas = np.array([getattr(r, name).area for r in exact])
            errors = np.array([getattr(r, name).area_error for r in exact])
            assert abs(areas.mean()) < 4 * areas.std() / np.sqrt(150)
            assert areas.std() == pytest.approx(errors.mean(), rel=0.2)
            # Of a Brownian bridge: sqrt(2 / pi) * pi / 8.
            absolute = np.mean([getattr(r, name).absolute_area for r in exact])
            assert absolute == pytest.approx(0.3133 / np.sqrt(300), rel=0.2)


class TestWrongPosteriors:
    @pytest.mark.parametrize(("width", "sign"), [(0.7, -1), (1.4, 1)])
    @pytest.mark.parametrize("seed", range(3))
    def test_too_narrow_and_too_wide_fail_every_check(
        self, width: float, sign: int, seed: int
    ) -> None:
        found = report(GaussianPosterior(width=width), seed)
        assert found.sbc_p_value < 1e-3
        assert found.ranks.chi_square_p_values[:DIMENSION].min() < 1e-3
        assert found.coverage_p_value < 1e-3
        assert found.tarp_p_value < 1e-3
        assert sign * found.coverage.area > 10 * found.coverage.area_error
        assert sign * found.tarp.area > 3 * found.tarp.area_error
        assert found.coverage_area > 0.1
        assert not found.passed(1e-3)

    def test_beside_the_truth_fails(self) -> None:
        found = report(GaussianPosterior(shift=0.5))
        assert found.ranks.ks_p_values[:DIMENSION].max() < 1e-3
        assert not found.passed(1e-3)
        farther = report(GaussianPosterior(shift=1.0))
        assert max(farther.coverage_p_value, farther.tarp_p_value) < 1e-3
        assert farther.coverage.area < 0

    def test_wrong_correlations_are_seen_by_the_density_only(self) -> None:
        found = report(GaussianPosterior(correlation=0.8))
        assert found.ranks.ks_p_values[:DIMENSION].min() > 0.01
        assert found.ranks.worst == "log density"
        assert found.ranks.ks_p_values[-1] < 1e-3
        assert not found.passed(1e-3)

    @pytest.mark.parametrize("seed", range(3))
    def test_the_prior_is_found_by_informed_references_only(self, seed: int) -> None:
        posterior = GaussianPosterior(informed=False)
        found = report(posterior, seed)
        assert found.sbc_p_value > 0.05
        assert found.coverage_p_value > 0.05
        theta, x = simulations(seed)
        placed = standard_coordinates(theta, posterior.draw(x, 100, seed=seed), None)
        blind = tarp(*placed, random_references(placed[0], seed=seed), seed=seed)
        assert blind.p_value > 0.05
        assert found.tarp_p_value < 1e-3
        assert not found.passed(1e-3)


class TestReport:
    def test_names_leaks_and_plain_json(self) -> None:
        names = [f"p{i}" for i in range(DIMENSION)]
        prior = ParameterSpace([Parameter(n, dist.Normal(0.0, PRIOR_SD)) for n in names])
        found = report(GaussianPosterior(), prior=prior)
        assert found.ranks.names == (*names, "log density")
        assert found.leak_fraction == 0.0
        assert found.passed()
        described = json.loads(json.dumps(found.describe(), allow_nan=False))
        assert described["sbc_p_value"] == found.sbc_p_value
        assert described["coverage_area"] == found.coverage_area
        assert described["leak_fraction"] == 0.0
        assert described["ranks"]["draws"] == 100
        assert report(GaussianPosterior()).leak_fraction is None

    def test_the_same_seed_gives_the_same_report(self) -> None:
        assert report(GaussianPosterior()).describe() == report(GaussianPosterior()).describe()

    def test_draws_that_are_not_finite_are_counted(self) -> None:
        found = report(GaussianPosterior(broken=2500))
        assert found.nonfinite_draws == 2500
        assert np.isfinite(found.sbc_p_value)
        # All draws of 25 rows of 400 are lost: the levels of these are random.
        assert found.passed()
        json.dumps(found.describe(), allow_nan=False)

    def test_what_does_not_fit_is_refused(self) -> None:
        theta, x = simulations(0)
        with pytest.raises(ConfigurationError, match="399 observations"):
            calibrate(GaussianPosterior(), theta, x[:-1])
        with pytest.raises(ConfigurationError, match="at least 20"):
            calibrate(GaussianPosterior(), theta[:10], x[:10])
        theta[7, 1] = np.nan
        with pytest.raises(ConfigurationError, match="row 7"):
            calibrate(GaussianPosterior(), theta, x)


class TestRanks:
    def test_ranks_by_hand(self) -> None:
        draws = np.arange(9.0)[None, :, None]
        for truth, rank in ((-1.0, 0), (3.5, 4), (100.0, 9)):
            level = rank_test([[truth]], draws).levels[0, 0]
            assert rank / 10 < level < (rank + 1) / 10

    def test_ties_are_broken_evenly(self) -> None:
        rng = np.random.default_rng(0)
        p_values = [
            rank_test(rng.integers(0, 2, (500, 1)), rng.integers(0, 2, (500, 20, 1)), seed=i)
            for i in range(40)
        ]
        assert stats.kstest([p.ks_p_values[0] for p in p_values], "uniform").pvalue > 0.05
        lost = rank_test(np.zeros((2000, 1)), np.full((2000, 20, 1), np.nan))
        assert lost.chi_square_p_values[0] > 0.05

    def test_the_joint_p_value_is_bonferroni(self) -> None:
        rng = np.random.default_rng(1)
        found = rank_test(rng.random((200, 2)), rng.random((200, 30, 2)), names=["a", "b"])
        smallest = min(found.ks_p_values.min(), found.chi_square_p_values.min())
        assert found.p_value == pytest.approx(min(1.0, 4 * smallest))


class TestCoverage:
    def test_by_hand(self) -> None:
        found = highest_density_coverage(np.zeros(10), np.ones((10, 999)))
        # Every draw is denser than the truth: no region but the whole holds it.
        assert found.levels.min() > 0.999
        assert found.area == pytest.approx(-0.5, abs=1e-3)
        assert found.absolute_area == pytest.approx(0.5, abs=1e-3)
        assert found.share(0.95) == 0.0

    def test_the_absolute_area_is_an_integral(self) -> None:
        rng = np.random.default_rng(3)
        for power in (1.0, 0.5, 3.0):
            found = highest_density_coverage(rng.random(80) ** power, rng.random((80, 200)))
            grid = (np.arange(200_000) + 0.5) / 200_000
            distance = found.share(grid) - grid
            assert found.area == pytest.approx(distance.mean(), abs=1e-5)
            assert found.absolute_area == pytest.approx(np.abs(distance).mean(), abs=1e-5)

    def test_the_error_of_the_absolute_area_is_its_scatter(self) -> None:
        rng = np.random.default_rng(4)
        found = [
            highest_density_coverage(rng.random(200) ** 2, rng.random((200, 100)), seed=i)
            for i in range(200)
        ]
        scatter = np.std([f.absolute_area for f in found])
        assert np.mean([f.absolute_area_error for f in found]) == pytest.approx(scatter, rel=0.2)


class TestReferences:
    def test_informed_references_follow_the_observations_but_not_their_own_truth(self) -> None:
        theta, x = simulations(0)
        points = informed_references(theta, x, seed=1)
        follows = [np.corrcoef(points[:, i], x[:, i])[0, 1] for i in range(DIMENSION)]
        assert min(follows) > 0.5
        # Given the observation, what is left of point and truth is unrelated.
        left = [np.corrcoef((points - x / 2)[:, i], (theta - x / 2)[:, i])[0, 1] for i in range(3)]
        assert np.abs(left).max() < 0.15

    def test_noise_tells_nothing(self) -> None:
        theta, _ = simulations(0)
        noise = np.random.default_rng(5).standard_normal((len(theta), 60))
        points = informed_references(theta, noise)
        related = [np.corrcoef(points[:, i], theta[:, i])[0, 1] for i in range(DIMENSION)]
        assert np.abs(related).max() < 0.2

    def test_structured_observations(self) -> None:
        theta, x = simulations(0)
        named = informed_references(theta, {"a": x[:, :2], "b": x[:, 2]}, seed=1)
        mask = np.array([True, True, True, False])
        blocks = [
            [ObservationBlock("a", "photometry", [*row, np.nan], mask=mask)] for row in x.tolist()
        ]
        for points in (named, informed_references(theta, blocks, seed=1)):
            assert np.corrcoef(points[:, 2], x[:, 2])[0, 1] > 0.5


class TestLeakage:
    def test_bounds_constraints_and_numbers(self) -> None:
        space = ParameterSpace(
            [
                Parameter("a", lower=0.0, upper=1.0),
                Parameter("b", dist.Normal(0.0, 1.0), upper=2.0),
            ],
            constraints="a + b <= 2.5",
        )
        draws = np.tile([0.5, 0.0], (2, 4, 1))
        draws[0, :3] = [[1.01, 0.0], [0.9, 1.9], [0.5, 2.1]]
        draws[1, 0] = [np.nan, 0.0]
        draws[1, 1] = [0.5, -6.0]
        found = measure_leakage(draws, space)
        assert found.shares.tolist() == [0.75, 0.25]
        assert found.fraction == 0.5
        assert found.nonfinite == 1
        with pytest.raises(ConfigurationError, match="a, b"):
            measure_leakage(draws[:, :, :1], space)
