"""Mixing and extent of walks, against closed forms and ArviZ."""

from __future__ import annotations

import math

import arviz
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.diagnostics import (
    acceptance_rate,
    autocorrelation_time,
    bulk_ess,
    cell_coverage,
    diagnose,
    distance_to_aim,
    ess_from_jumps,
    ess_with_error,
    explored_range,
    jackknife,
    log_det_covariance,
    split_rhat,
    squared_jump_distance,
)


def autoregressive(
    rng: np.random.Generator, rho: float, iterations: int, particles: int, parameters: int = 1
) -> np.ndarray:
    """Stationary chains with variance 1 whose correlation at lag t is rho**t."""
    states = np.empty((iterations, particles, parameters))
    states[0] = rng.standard_normal((particles, parameters))
    noise = math.sqrt(1 - rho**2) * rng.standard_normal(states.shape)
    for t in range(1, iterations):
        states[t] = rho * states[t - 1] + noise[t]
    return states


class TestAcceptanceRate:
    def test_mean_and_error_over_particles(self) -> None:
        moved = np.array([[True, False], [True, False], [True, True], [False, False]])
        rate, error = acceptance_rate(moved)
        assert rate == 0.5
        assert error == pytest.approx(np.std([0.75, 0.25], ddof=1) / math.sqrt(2))

    def test_the_error_of_one_particle_is_unknown(self) -> None:
        rate, error = acceptance_rate(np.array([[True], [False]]))
        assert rate == 0.5
        assert math.isnan(error)

    def test_a_flat_array_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"\(4,\).*iterations, particles"):
            acceptance_rate([True, False, True, True])


class TestSquaredJumpDistance:
    def test_a_straight_walk(self) -> None:
        walk = np.arange(5.0)[:, None, None] * np.array([[[3.0, 4.0]]])
        mean, error = squared_jump_distance(np.concatenate([walk, walk], axis=1))
        assert (mean, error) == (25.0, 0.0)

    def test_the_closed_form_of_an_autoregressive_walk(self) -> None:
        states = autoregressive(np.random.default_rng(1), 0.8, 500, 200, 3)
        mean, error = squared_jump_distance(states)
        assert 0 < error < 0.02
        assert abs(mean - 3 * 2 * (1 - 0.8)) < 4 * error

    def test_a_single_iteration_has_no_jump(self) -> None:
        assert np.isnan(squared_jump_distance(np.zeros((1, 3, 2)))).all()


class TestEffectiveDraws:
    @pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
    def test_the_autocorrelation_time_of_an_autoregressive_walk(self, rho: float) -> None:
        states = autoregressive(np.random.default_rng(2), rho, 4000, 64)
        assert autocorrelation_time(states) == pytest.approx([(1 + rho) / (1 - rho)], rel=0.07)

    def test_an_error_that_covers_what_it_says(self) -> None:
        rng, exact = np.random.default_rng(3), 32 * 500 / 9
        found = [ess_with_error(autoregressive(rng, 0.8, 500, 32)) for _ in range(40)]
        draws, errors = np.array(found)[:, :, 0].T
        assert draws.mean() == pytest.approx(exact, rel=0.05)
        # Two estimates of the same: the scatter over 40 walks, and what each walk says of itself.
        assert np.sqrt((errors**2).mean()) == pytest.approx(draws.std(ddof=1), rel=0.5)

    def test_bulk_and_agreement_are_those_of_arviz(self) -> None:
        states = autoregressive(np.random.default_rng(4), 0.7, 203, 5, 2)
        states[:, 2, 1] += 0.5
        chains = {"x": states.transpose(1, 0, 2)}
        assert np.array_equal(bulk_ess(states), arviz.ess(chains, method="bulk")["x"])
        assert np.array_equal(split_rhat(states), arviz.rhat(chains)["x"])
        assert split_rhat(states)[1] > 1.04 > split_rhat(states)[0]

    def test_a_parameter_that_never_moves_is_not_taken_for_perfect(self) -> None:
        states = autoregressive(np.random.default_rng(5), 0.5, 100, 8, 3)
        states[:, :, 1] = 0.3
        states[:, :, 2] = np.arange(8)
        assert list(bulk_ess(states)[1:]) == [0.0, 0.0]
        assert list(split_rhat(states)[1:]) == [np.inf, np.inf]
        assert list(autocorrelation_time(states)[1:]) == [np.inf, np.inf]
        draws, errors = ess_with_error(states)
        assert list(draws[1:]) == list(errors[1:]) == [0.0, 0.0]
        assert bulk_ess(states)[0] > 100

    def test_too_few_draws_or_particles_give_no_number(self) -> None:
        states = autoregressive(np.random.default_rng(6), 0.5, 50, 3)
        assert np.isnan(bulk_ess(states[:3])).all()
        assert np.isnan(split_rhat(states[:, :1])).all()
        assert np.isnan(ess_with_error(states)[1]).all()
        assert np.isfinite(ess_with_error(states)[0]).all()

    def test_jumps_tell_of_walks_too_short_to_be_correlated(self) -> None:
        # 50 iterations at an autocorrelation time of 2,000: the autocorrelation cannot tell that
        # a particle has less than one effective draw, its jumps can.
        rho = 0.999
        states = autoregressive(np.random.default_rng(7), rho, 50, 256, 2)
        draws, errors = ess_from_jumps(states)
        exact = 50 * 256 * (1 - rho) / (1 + rho)
        assert draws == pytest.approx([exact, exact], rel=0.25)
        assert np.all(errors < 0.1 * draws)
        assert np.all(ess_with_error(states)[0] > 10 * exact)

    def test_independent_draws_count_in_full_by_their_jumps(self) -> None:
        states = np.random.default_rng(8).random((200, 50, 1))
        draws, error = ess_from_jumps(states)
        assert draws[0] == pytest.approx(10_000, rel=0.05)
        assert abs(draws[0] - 10_000) < 4 * error[0]


class TestExtent:
    def test_the_range_never_falls_and_is_that_of_all_particles(self) -> None:
        states = np.array([[[0.5, 1.0], [0.4, 1.0]], [[0.7, 1.0], [0.5, 3.0]], [[0.5, 2.0]] * 2])
        assert explored_range(states) == pytest.approx(np.array([[0.1, 0], [0.3, 2], [0.3, 2]]))

    def test_log_det_of_a_known_covariance(self) -> None:
        rng = np.random.default_rng(9)
        factor = np.array([[1.0, 0.0, 0.0], [0.5, 0.2, 0.0], [0.1, 0.3, 0.05]])
        states = rng.standard_normal((100, 64, 3)) @ factor.T
        value, error = log_det_covariance(states)
        assert 0.01 < error < 0.1
        assert abs(value - 2 * math.log(1.0 * 0.2 * 0.05)) < 4 * error

    def test_states_in_a_plane_have_a_finite_log_det(self) -> None:
        states = np.random.default_rng(10).random((50, 8, 3))
        states[..., 2] = states[..., 0]
        value, error = log_det_covariance(states)
        assert value < math.log(1e-15)
        assert math.isfinite(error)

    def test_the_jackknife_of_a_mean_is_its_standard_error(self) -> None:
        states = np.random.default_rng(11).random((10, 16, 2))
        value, error = jackknife(lambda s: s.mean(axis=(0, 1)), states)
        means = states.mean(axis=0)
        assert value == pytest.approx(means.mean(axis=0))
        assert error == pytest.approx(means.std(axis=0, ddof=1) / 4)

    def test_the_distance_to_an_aim_counts_aimed_parameters_only(self) -> None:
        states = np.array([[[0.0, 0.0, 9.0], [3.0, 4.0, 0.0]]])
        assert distance_to_aim(states, [3.0, 4.0, np.nan]).tolist() == [[5.0, 0.0]]
        with pytest.raises(ConfigurationError, match="no finite value"):
            distance_to_aim(states, [np.nan] * 3)
        with pytest.raises(ConfigurationError, match=r"\(2,\).*\(3,\)"):
            distance_to_aim(states, [1.0, 2.0])

    @pytest.mark.parametrize("states", [np.zeros((3, 2)), np.zeros((0, 1, 1)), [[[np.nan]]]])
    def test_what_is_no_chain_is_refused(self, states: object) -> None:
        with pytest.raises(ConfigurationError, match=r"iterations, particles|NaN"):
            explored_range(states)  # type: ignore[arg-type]


class TestCoverage:
    def test_cells_of_one_plane(self) -> None:
        states = np.array([[[0.1, 0.1], [0.9, 0.9]], [[0.1, 0.1], [1.0, 0.6]]])
        found = cell_coverage(states, planes=5, cells=2, seed=0)
        assert found.pairs.tolist() == [[0, 1]]
        assert found.occupied.tolist() == [[[True, False], [False, True]]]
        share, error = found.share
        # Without either particle one of the four cells is lost: nothing differs between them.
        assert (share, error) == (0.5, 0.0)

    def test_planes_are_drawn_by_the_seed(self) -> None:
        states = np.random.default_rng(12).random((5, 4, 20))
        pairs = [cell_coverage(states, planes=7, cells=4, seed=s).pairs for s in (1, 1, 2)]
        assert np.array_equal(pairs[0], pairs[1])
        assert not np.array_equal(pairs[0], pairs[2])
        assert len({tuple(pair) for pair in pairs[0].tolist()}) == 7

    def test_the_expected_share_of_uniform_draws_and_its_error(self) -> None:
        rng, exact = np.random.default_rng(13), 1 - (1 - 1 / 256) ** 320
        found = [
            cell_coverage(rng.random((10, 32, 3)), planes=3, cells=16, seed=0).share
            for _ in range(200)
        ]
        shares, errors = np.array(found).T
        assert abs(shares.mean() - exact) < 4 * shares.std(ddof=1) / math.sqrt(200)
        # Cells of single groups are a rough measure; a jackknife of a count is conservative.
        assert 0.7 < np.sqrt((errors**2).mean()) / shares.std(ddof=1) < 2.0

    def test_new_cells_are_those_that_an_earlier_walk_had_not(self) -> None:
        rng = np.random.default_rng(14)
        earlier = cell_coverage(rng.random((5, 4, 2)) / 2, planes=1, cells=8, seed=0)
        later = cell_coverage(rng.random((50, 4, 2)), planes=1, cells=8, seed=0)
        count, error = later.new_cells(earlier)
        assert count == (later.occupied & ~earlier.occupied).sum() > 0
        assert math.isfinite(error)
        assert later.new_cells(later) == (0, 0.0)
        with pytest.raises(ConfigurationError, match="different planes or cells"):
            later.new_cells(cell_coverage(rng.random((5, 4, 2)), planes=1, cells=4, seed=0))

    def test_one_parameter_and_states_outside_the_box(self) -> None:
        line = np.linspace(0, 1, 100).reshape(-1, 1, 1)
        found = cell_coverage(line, planes=3, cells=4, seed=0)
        assert found.occupied.sum() == 4
        with pytest.raises(ConfigurationError, match="to_unit"):
            cell_coverage(line * 3, planes=1, cells=4, seed=0)


class TestSummary:
    def test_one_row_a_parameter(self) -> None:
        states = np.random.default_rng(15).random((100, 8, 2))
        moved = np.ones((100, 8), dtype=bool)
        found = diagnose(states, moved, names=("a", "b"), evaluations=800, nonfinite=3, stalled=1)
        frame = found.to_frame()
        assert list(frame.index) == ["a", "b"]
        assert frame.loc["b", "bulk_ess"] == bulk_ess(states)[1]
        assert frame["split_rhat"].between(0.98, 1.05).all()
        assert found.acceptance == (1.0, 0.0)
        assert (found.nonfinite, found.stalled, found.particles) == (3, 1, 8)
        assert found.ess_per_1000_evaluations == bulk_ess(states).min() / 0.8
        assert found.explored_range == pytest.approx(np.ptp(states, axis=(0, 1)))

    def test_what_does_not_fit_together_is_refused(self) -> None:
        states, moved = np.zeros((5, 2, 3)), np.zeros((5, 2), dtype=bool)
        with pytest.raises(ConfigurationError, match="2 names"):
            diagnose(states, moved, names=("a", "b"), evaluations=10)
        with pytest.raises(ConfigurationError, match=r"moved of shape \(5, 3\)"):
            diagnose(states, np.zeros((5, 3)), names=("a", "b", "c"), evaluations=10)
