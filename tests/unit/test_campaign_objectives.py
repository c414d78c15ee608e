from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ax_jax_runners.campaign.objectives import ax_optimization_config, read_goals
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.metrics.names import from_identifier, to_identifier

OUTPUTS = ("gain", "power", "beta", "line[0].r", "N", "q_x", "a b", "rms")


@given(st.text(min_size=1, max_size=30))
def test_every_output_name_survives_the_way_to_ax_and_back(name: str) -> None:
    identifier = to_identifier(name)
    assert from_identifier(identifier) == name
    assert identifier.isidentifier()


@given(st.text(min_size=1, max_size=10), st.text(min_size=1, max_size=10))
def test_two_outputs_never_share_an_identifier(one: str, other: str) -> None:
    assert (to_identifier(one) == to_identifier(other)) == (one == other)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("gain", [("gain", 1.0)]),
        ("-rms", [("rms", -1.0)]),
        ("gain - 0.1*power", [("gain", 1.0), ("power", -0.1)]),
        ("-beta", [("beta", -1.0)]),
        ("2*line[0].r + 1e-5*N", [("line[0].r", 2.0), ("N", 1e-5)]),
        ("-a b", [("a b", -1.0)]),
    ],
)
def test_ax_maximises_what_was_written(objective: str, expected: list) -> None:
    config = ax_optimization_config(read_goals(objective, (), OUTPUTS))
    found = [(from_identifier(name), weight) for name, weight in config.objective.metric_weights]
    assert dict(found) == pytest.approx(dict(expected))


def test_several_objectives_are_kept_apart() -> None:
    goals = read_goals("gain, -power", ["rms <= 1.5e-3", "power <= 4", "gain >= 1"], OUTPUTS)
    config = ax_optimization_config(goals)
    assert config.objective.is_multi_objective
    assert goals.scores({"gain": 2.0, "power": 3.0}) == (2.0, -3.0)
    assert [c.bound for c in config.outcome_constraints if "rms" in c.expression] == [1.5e-3]


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("power <= 3", 2.999, 3.001),
        ("power >= 3", 3.001, 2.999),
        ("-2*power <= -6", 3.001, 2.999),
        ("3 >= power", 2.999, 3.001),
        ("power <= 1e-7", 0.0, 2e-7),
    ],
)
def test_constraints_mean_the_same_here_and_in_ax(
    constraint: str, inside: float, outside: float
) -> None:
    goals = read_goals("gain", [constraint], OUTPUTS)
    assert goals.is_feasible({"gain": 0.0, "power": inside})
    assert not goals.is_feasible({"gain": 0.0, "power": outside})
    (in_ax,) = ax_optimization_config(goals).outcome_constraints
    sign = 1 if in_ax.op.name == "LEQ" else -1
    assert sign * (inside - in_ax.bound) <= 0 < sign * (outside - in_ax.bound)


@pytest.mark.parametrize(
    ("objective", "constraints", "sentence"),
    [
        ("", [], "name what to maximise"),
        ("-rsm", [], "correct the name"),
        ("gain*power", [], "not a linear expression"),
        ("gain/power", [], "not a linear expression"),
        ("gain + 1", [], "constant"),
        ("3", [], "not a linear expression"),
        ("gain, -gain", [], "two objectives"),
        ("gain,", [], "not a linear expression"),
        ("gain", ["gain <= 3"], "on the objective"),
        ("gain, -power", ["gain <= 3"], "turn it round"),
        ("gain, -power", ["power >= 3"], "turn it round"),
        ("gain, -power", ["gain + rms <= 3"], "on the objective"),
        ("gain", ["pwer <= 3"], "'pwer'"),
        ("gain", ["power"], "no relation"),
        ("gain", ["power < 3"], "exactly one"),
        ("gain", ["power*rms <= 3"], "not linear"),
    ],
)
def test_a_goal_that_cannot_be_used_is_refused_with_a_sentence(
    objective: str, constraints: list[str], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        read_goals(objective, constraints, OUTPUTS)
