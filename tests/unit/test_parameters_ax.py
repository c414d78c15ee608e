"""Spaces go to Ax, through its SQL storage and its generators, and come back."""

from __future__ import annotations

from pathlib import Path

import numpyro.distributions as dist
import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.parameter import ChoiceParameter, FixedParameter, ParameterType, RangeParameter
from ax.core.parameter_constraint import ParameterConstraint
from ax.core.search_space import SearchSpace
from ax.storage.registry_bundle import RegistryBundle
from ax.storage.sqa_store import db
from ax.storage.sqa_store.db import (
    create_all_tables,
    get_engine,
    init_engine_and_session_factory,
)
from ax.storage.sqa_store.load import load_experiment
from ax.storage.sqa_store.save import save_experiment

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters import Parameter, ParameterSpace

ODD_NAMES = ["a", "a.b", "line[0].r", "line[1].r", "beta", "S", "0_R", "x-1", "w[1,2]", "lambda"]


def odd_space() -> ParameterSpace:
    return ParameterSpace(
        [
            *(Parameter(name, lower=0.0, upper=1.0) for name in ODD_NAMES),
            Parameter("c[0]", lower=1e-3, upper=1.0, log_scale=True),
            Parameter("n.n", lower=1, upper=9, integer=True),
            Parameter("kind[x]", choices=("thru", "open", "short")),
            Parameter("taps", choices=(2, 4, 8)),
            Parameter("flag", choices=(False, True)),
            Parameter("fixed[0]", fixed=2.5),
            Parameter("fixed.text", fixed="mk2"),
        ],
        constraints=[
            "a + 2*a.b <= 2.5",
            "line[0].r - line[1].r <= 0.25",
            "beta + S + 0_R >= 0.5 - x-1",
            "w[1,2] + lambda + n.n <= 10.5",
        ],
    )


def test_round_trip_through_ax() -> None:
    space = odd_space()
    search_space = space.to_ax()
    assert list(search_space.parameters) == [p.name for p in space.parameters]
    assert ParameterSpace.from_ax(search_space) == space
    assert ParameterSpace.from_ax(search_space.clone()) == space


# Ax's decoder does not pass on that strings are not sorted, and says so.
@pytest.mark.filterwarnings("ignore:`sort_values` is not specified")
def test_round_trip_through_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ax keeps its database for the whole process; the tests after this one have their own.
    monkeypatch.setattr(db, "SESSION_FACTORY", None)
    bundle = RegistryBundle(metric_clss={}, runner_clss={})
    init_engine_and_session_factory(url=f"sqlite:///{tmp_path / 'ax.db'}", force_init=True)
    create_all_tables(get_engine())
    space = odd_space()
    experiment = Experiment(name="odd", search_space=space.to_ax())
    values = space.unpack((space.lower + space.upper) // 2)
    experiment.new_trial().add_arm(Arm(parameters=values))
    save_experiment(experiment, config=bundle.encoder.config)
    loaded = load_experiment("odd", config=bundle.decoder.config)
    assert loaded.search_space == experiment.search_space
    assert ParameterSpace.from_ax(loaded.search_space) == space
    assert loaded.trials[0].arms[0].parameters == values


# Ax's adapters set a pandas option that pandas 3 announces the end of.
@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option is deprecated")
def test_generators_honour_constraints_on_odd_names() -> None:
    from ax.adapter.registry import Generators

    space = ParameterSpace(
        [Parameter(name, lower=0.0, upper=1.0) for name in ("line[0].r", "beta", "x-1")],
        constraints=["line[0].r + beta <= 0.4", "x-1 >= beta"],
    )
    experiment = Experiment(name="odd", search_space=space.to_ax())
    arms = Generators.SOBOL(experiment=experiment, seed=0).gen(8).arms
    assert len(arms) == 8
    for arm in arms:
        assert arm.parameters["line[0].r"] + arm.parameters["beta"] <= 0.4 + 1e-8
        assert arm.parameters["x-1"] >= arm.parameters["beta"] - 1e-8


def test_log_like_priors_become_log_scaled_boxes() -> None:
    space = ParameterSpace(
        [Parameter("q", dist.LogNormal(0.0, 1.0)), Parameter("z", dist.Normal(0.0, 1.0))]
    )
    q, z = space.to_ax().parameters.values()
    assert isinstance(q, RangeParameter)
    assert isinstance(z, RangeParameter)
    assert (q.log_scale, z.log_scale) == (True, False)
    assert (q.lower, q.upper) == pytest.approx((0.0976517330703, 10.2404736563), rel=1e-10)
    back = ParameterSpace.from_ax(space.to_ax())
    assert [p.prior for p in back.parameters] == [None, None]


def test_constrained_parameters_are_on_a_linear_scale_in_ax() -> None:
    space = ParameterSpace(
        [Parameter("a", lower=1, upper=9, log_scale=True), Parameter("b", lower=1, upper=9)],
        constraints=["a <= b"],
    )
    a = space.to_ax().parameters["a"]
    assert isinstance(a, RangeParameter)
    assert not a.log_scale
    assert space.log_scale.tolist() == [True, False]


def test_kinds_and_order_of_choices() -> None:
    parameters = odd_space().to_ax().parameters
    taps, kind, fixed = parameters["taps"], parameters["kind[x]"], parameters["fixed[0]"]
    assert isinstance(taps, ChoiceParameter)
    assert isinstance(kind, ChoiceParameter)
    assert taps.is_ordered
    assert taps.parameter_type == ParameterType.INT
    assert not kind.is_ordered
    assert kind.values == ["thru", "open", "short"]
    assert isinstance(fixed, FixedParameter)
    assert parameters["n.n"].parameter_type == ParameterType.INT


def test_what_ax_has_and_a_space_has_not() -> None:
    x = RangeParameter("x", ParameterType.FLOAT, 0.1, 0.9)
    equality = SearchSpace([x, x.clone()][:1], [ParameterConstraint(equality="2*x == 1")])
    with pytest.raises(ParameterError, match="equality"):
        ParameterSpace.from_ax(equality)
    logit = SearchSpace([RangeParameter("y", ParameterType.FLOAT, 0.1, 0.9, logit_scale=True)])
    with pytest.raises(ParameterError, match=r"'y'.*logit"):
        ParameterSpace.from_ax(logit)


def test_ax_reads_ordinary_constraints_as_before() -> None:
    odd_space().to_ax()
    assert ParameterConstraint(inequality="2*x + y.z <= 3").constraint_dict == {
        "x": 2.0,
        "y.z": 1.0,
    }
    with pytest.raises(ValueError, match="conflict"):
        ParameterConstraint(inequality="beta <= 3")


def test_a_range_too_narrow_for_ax_is_named() -> None:
    space = ParameterSpace([Parameter("c", lower=1e-12, upper=1e-10)])
    with pytest.raises(ParameterError, match=r"'c'.*smaller unit"):
        space.to_ax()
