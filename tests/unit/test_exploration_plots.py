"""What the pictures of a walk hold: data, axes in physical units, legends."""

from __future__ import annotations

import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.plots import plot_pairs, plot_range, plot_violations

NAMES = ["g_Na", "g_M", "E_leak"]


def states(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.random(n), 10 ** rng.uniform(-4, -1, n), rng.uniform(-80, -60, n)], axis=1)


class TestPairs:
    def test_few_states_are_points_and_many_are_counted(self) -> None:
        few = plot_pairs(states(500), NAMES, seed_points=states(3))
        kinds = [(trace.type, trace.name) for trace in few.data]
        assert kinds.count(("scatter", "states")) == kinds.count(("scatter", "seed points")) == 3
        assert [trace.name for trace in few.data if trace.showlegend] == ["states", "seed points"]
        many = plot_pairs(states(20_000).reshape(2000, 10, 3), NAMES)
        cells = [trace for trace in many.data if trace.type == "heatmap"]
        assert [int(np.nansum(trace.z)) for trace in cells] == [20_000] * 3

    def test_axes_are_in_physical_units_and_logarithmic_where_asked(self) -> None:
        figure = plot_pairs(
            states(500), NAMES, log_scale={"g_M"}, units={"g_M": "S/cm2", "E_leak": "mV"}
        )
        bottom = [figure.layout[f"xaxis{i}"] for i in (7, 8, 9)]
        assert [axis.title.text for axis in bottom] == ["g_Na", "g_M (S/cm2)", "E_leak (mV)"]
        assert [axis.type for axis in bottom] == ["linear", "log", "linear"]
        assert figure.layout.yaxis4.title.text == "g_M (S/cm2)"
        assert figure.layout.yaxis4.type == "log"
        assert -4.2 < figure.layout.yaxis4.range[0] < -3.9

    def test_the_histograms_count_every_state(self) -> None:
        figure = plot_pairs(states(5000), NAMES, log_scale=["g_M"])
        steps = [t for t in figure.data if t.type == "scatter" and t.fill == "tozeroy"]
        assert [int(np.asarray(t.y)[1:-1:2].sum()) for t in steps] == [5000] * 3

    def test_six_parameters_unless_named(self) -> None:
        names = [f"p{i}" for i in range(9)]
        rows = np.random.default_rng(1).random((50, 9))
        assert len(plot_pairs(rows, names).data) == 6 + 15
        chosen = plot_pairs(rows, names, parameters=["p8", "p0"])
        assert np.array_equal(np.asarray(chosen.data[1].x), rows[:, 8])
        assert np.array_equal(np.asarray(chosen.data[1].y), rows[:, 0])

    def test_a_parameter_that_never_varies_is_drawn(self) -> None:
        rows = np.ones((10, 2))
        assert len(plot_pairs(rows, ["a", "b"], log_scale=["a"]).data) == 3

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="'x'"):
            plot_pairs(states(5), NAMES, parameters=["x"])
        with pytest.raises(ConfigurationError, match=r"'E_leak'.*logarithmic"):
            plot_pairs(states(5), NAMES, log_scale=["E_leak"])
        with pytest.raises(ConfigurationError, match="seed_points has the shape"):
            plot_pairs(states(5), NAMES, seed_points=np.zeros((2, 2)))


class TestRange:
    def test_one_line_a_parameter_in_the_order_of_their_ends(self) -> None:
        walk = np.zeros((3000, 2, 3))
        walk[:, 1] = np.linspace(0, 1, 3000)[:, None] * [0.2, 0.9, 0.5]
        figure = plot_range(walk, NAMES)
        assert [line.name for line in figure.data] == ["g_M", "E_leak", "g_Na"]
        assert [line.y[-1] for line in figure.data] == pytest.approx([0.9, 0.5, 0.2])
        assert figure.data[0].x[0] == 1
        assert figure.data[0].x[-1] == 3000
        assert len(figure.data[0].x) <= 1000

    def test_many_lines_differ_in_colour_or_dash(self) -> None:
        walk = np.random.default_rng(2).random((10, 2, 20))
        figure = plot_range(walk, [f"p{i}" for i in range(20)])
        assert len({(line.line.color, line.line.dash) for line in figure.data}) == 20

    def test_names_are_not_read_as_markup(self) -> None:
        figure = plot_range(np.random.default_rng(3).random((10, 2, 1)), ["<b>g</b>"])
        assert figure.data[0].name == "&lt;b&gt;g&lt;/b&gt;"

    def test_names_must_fit(self) -> None:
        with pytest.raises(ConfigurationError, match="2 names for 3"):
            plot_range(np.zeros((4, 2, 3)), ["a", "b"])


class TestViolations:
    def test_no_bar_is_both_inside_and_outside(self) -> None:
        values = np.random.default_rng(4).normal(0.5, 1.0, (100, 30))
        values[0, 0] = 0.0
        figure = plot_violations(values)
        inside, outside = figure.data
        assert np.sum(inside.y) == (values <= 0).sum()
        assert np.max(inside.x) + inside.width / 2 <= 1e-12
        assert np.min(outside.x) - outside.width / 2 >= -1e-12
        assert inside.name == f"inside: {(values <= 0).sum():,} ({(values <= 0).mean():.2%})"

    def test_what_is_not_shown_is_said(self) -> None:
        values = np.concatenate([np.linspace(-1, 1, 998), [1e9, np.inf, np.nan]])
        said = plot_violations(values).layout.title.subtitle.text
        assert said.startswith("1,001 evaluations, ")
        assert "above" in said
        assert said.endswith("2 not finite")

    def test_one_value_and_none(self) -> None:
        assert np.sum(plot_violations([0.0]).data[0].y) == 1
        assert np.sum(plot_violations([3.0]).data[1].y) == 1
        with pytest.raises(ConfigurationError, match="None of 2"):
            plot_violations([np.nan, np.inf])
