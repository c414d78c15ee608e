"""What the pictures of trainings and posteriors hold."""

from __future__ import annotations

import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.calibration import highest_density_coverage, rank_test
from ax_jax_runners.posterior.plots import (
    plot_coverage,
    plot_losses,
    plot_posterior,
    plot_ranks,
)
from ax_jax_runners.posterior.records import TrainingArtifacts

HISTORY = {
    "epoch": [1, 2, 3, 4],
    "train_loss": [3.0, 2.0, 1.0, 0.5],
    "validation_loss": [3.5, 2.5, None, 2.75],
}


def cloud(seed: int, rows: int = 3000, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, d))


class TestLosses:
    def test_both_losses_and_the_kept_epoch(self) -> None:
        artifacts = TrainingArtifacts(HISTORY, {})
        figure = plot_losses(artifacts.history)
        lines = {trace.name: trace for trace in figure.data}
        assert list(lines["training"].y) == HISTORY["train_loss"]
        assert list(lines["validation"].x) == HISTORY["epoch"]
        assert np.isnan(lines["validation"].y[2])
        assert (lines["kept"].x[0], lines["kept"].y[0]) == (2, 2.5)
        assert figure.layout.shapes[0].x0 == 2
        assert "epoch 2, validation loss 2.5" in figure.layout.title.subtitle.text

    def test_another_epoch_was_kept(self) -> None:
        figure = plot_losses(HISTORY, kept_epoch=4)
        assert figure.data[-1].x[0] == 4
        with pytest.raises(ConfigurationError, match="Epoch 9"):
            plot_losses(HISTORY, kept_epoch=9)

    def test_a_training_that_never_was_finite(self) -> None:
        figure = plot_losses({**HISTORY, "validation_loss": [float("nan")] * 4})
        assert [trace.name for trace in figure.data] == ["training", "validation"]
        assert "no validation loss is finite" in figure.layout.title.subtitle.text

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="lacks validation_loss"):
            plot_losses({"epoch": [1], "train_loss": [1.0]})
        with pytest.raises(ConfigurationError, match="lengths"):
            plot_losses({**HISTORY, "epoch": [1]})


class TestRanks:
    def test_every_row_is_in_a_bar_and_the_band_is_that_of_a_binomial(self) -> None:
        ranks = rank_test(cloud(0, 400), np.random.default_rng(1).standard_normal((400, 50, 3)))
        figure = plot_ranks(ranks)
        bars = [trace for trace in figure.data if trace.type == "bar"]
        assert [int(np.sum(trace.y)) for trace in bars] == [400] * 3
        assert [len(trace.y) for trace in bars] == [20] * 3
        bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
        # 400 rows in 20 bars: 20 each, with a standard deviation of 4.36.
        assert {(band.y0, band.y1) for band in bands} == {(10, 32)}
        titles = [note.text for note in figure.layout.annotations]
        assert [title.split(":")[0] for title in titles] == ["theta_0", "theta_1", "theta_2"]

    def test_more_statistics_than_fit_in_a_line(self) -> None:
        narrow = 0.5 * np.random.default_rng(1).standard_normal((100, 50, 6))
        figure = plot_ranks(rank_test(cloud(0, 100, 6), narrow))
        assert len([trace for trace in figure.data if trace.type == "bar"]) == 6
        assert "p < 1e-4" in figure.layout.title.subtitle.text


class TestCoverage:
    def test_curves_band_and_diagonal(self) -> None:
        rng = np.random.default_rng(0)
        exact = highest_density_coverage(rng.random(300), rng.random((300, 99)))
        narrow = highest_density_coverage(rng.random(300) ** 3, rng.random((300, 99)))
        figure = plot_coverage({"exact": exact, "too narrow": narrow})
        band, diagonal, *curves = figure.data
        assert list(diagonal.x) == list(diagonal.y) == [0, 1]
        half = len(band.x) // 2
        low, high = np.asarray(band.y[:half]), np.asarray(band.y[half:])[::-1]
        middle = int(np.argmin(np.abs(np.asarray(band.x[:half]) - 0.5)))
        # 2.576 standard deviations of 300 tosses of a coin.
        assert high[middle] - 0.5 == pytest.approx(0.0744, abs=0.004)
        assert 0.5 - low[middle] == pytest.approx(0.0744, abs=0.004)
        inside = [(np.asarray(c.y) >= low) & (np.asarray(c.y) <= high) for c in curves]
        assert inside[0].mean() > 0.95
        assert inside[1].mean() < 0.2
        assert curves[1].name.startswith("too narrow: area -0.2")

    def test_nothing_to_draw_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="at least one curve"):
            plot_coverage({})


class TestPosterior:
    def test_draws_reference_and_truth(self) -> None:
        names = ["a", "<b>", "c"]
        figure = plot_posterior(cloud(0), names, reference=cloud(1, 500), truth=[0.0, 9.0, 1.0])
        shown = [trace.name for trace in figure.data if trace.showlegend]
        assert sorted(shown) == ["draws", "reference", "truth"]
        marks = [t for t in figure.data if t.mode == "markers" and t.name == "draws"]
        assert len(marks) == 3
        assert min(len(t.x) for t in marks) == 1000
        truths = [(t.x[0], t.y[0]) for t in figure.data if t.name == "truth"]
        assert truths == [(0.0, 9.0), (0.0, 1.0), (9.0, 1.0)]
        # A truth beyond all draws is on the picture.
        assert figure.layout.xaxis8.range[1] > 9.0
        assert figure.layout.xaxis8.title.text == "&lt;b&gt;"
        assert figure.layout.yaxis4.title.text == "&lt;b&gt;"

    def test_marginals_are_densities_of_all_draws(self) -> None:
        figure = plot_posterior(cloud(0), ["a", "b", "c"])
        outlines = [trace for trace in figure.data if trace.mode == "lines"]
        assert len(outlines) == 3
        for trace in outlines:
            edges, heights = np.asarray(trace.x)[::2], np.asarray(trace.y)[1:-1:2]
            assert (heights * np.diff(edges)).sum() == pytest.approx(1.0, abs=0.005)

    def test_one_parameter_and_many(self) -> None:
        assert len(plot_posterior(cloud(0, d=1), ["a"], truth=[0.5]).data) == 1
        many = plot_posterior(cloud(0, d=9), [f"p{i}" for i in range(9)])
        assert len(many.data) == 6 + 15
        assert "6 of 9 parameters" in many.layout.title.subtitle.text

    def test_draws_that_are_not_finite_are_counted(self) -> None:
        draws = cloud(0)
        draws[:7, 1] = np.nan
        assert "7 draws not finite" in (
            plot_posterior(draws, ["a", "b", "c"]).layout.title.subtitle.text
        )
        with pytest.raises(ConfigurationError, match="None of 5 rows"):
            plot_posterior(np.full((5, 1), np.inf), ["a"])
        with pytest.raises(ConfigurationError, match="truth has the shape"):
            plot_posterior(cloud(0), ["a", "b", "c"], truth=[1.0])
