"""ParamRF models as evaluators, each in a process of its own: ParamRF changes its host."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pmrf") is None, reason="needs the paramrf extra"
)

PRELUDE = """
import numpy as np, jax, jax.numpy as jnp
import pmrf as prf
from pmrf.objectives import Feature
from pmrf.parameters.constraints import Interval
from pmrf.stats import distributions as D
from ax_jax_runners.errors import EvaluationError, ParameterError
from ax_jax_runners.evaluation import from_paramrf
frequency = prf.Frequency(1.0, 1000.0, 11, "MHz")
ALIASES = ["s11", "s21_db"]
R, C, L = prf.models.Resistor, prf.models.Capacitor, prf.models.Inductor
"""


def run(script: str, prelude: str = PRELUDE) -> None:
    code = prelude + textwrap.dedent(script) + "\nprint('done')"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280
    )
    assert found.stdout.strip().endswith("done"), found.stderr[-3000:]


@pytest.mark.slow
def test_names_priors_and_values() -> None:
    run("""
        model = (
            R(prf.Bounded(1.0, 100.0, value=20.0))
            ** C(prf.Random(D.Normal(2.0, 0.1), scale=1e-12, name="cap"))
            ** L(prf.Random(D.Uniform(1.0, 3.0), scale=1e-9, name="ind"))
            ** R(prf.Random(D.LogNormal(0.0, 0.5), name="loss"))
            ** R(prf.Random(D.Normal(2.0, 0.1), constraint=Interval(1.9, 2.5), name="cut"))
            ** R(prf.Fixed(5.0))
        )
        evaluator = from_paramrf(model, frequency=frequency, features=ALIASES)
        space = evaluator.space
        assert set(space.names) == set(prf.params(model, free_only=True)), space.names
        by_name = {p.name: p for p in space.free}
        assert type(by_name["cap"].prior).__name__ == "Normal"
        assert type(by_name["ind"].prior).__name__ == "Uniform"
        assert by_name["loss"].log_scale
        assert (by_name["cut"].lower, by_name["cut"].upper) == (1.9, 2.5)
        u = np.random.default_rng(0).random((20, space.dimension))
        theta = evaluator.icdf(u)
        # ParamRF's own log prior of the same values; its bounded parameter adds nothing.
        for row in theta[:3]:
            values = space.unpack(row)
            expected = float(prf.log_prior(prf.update(model, values))) - np.log(99.0)
            np.testing.assert_allclose(evaluator.log_prior(row), expected, rtol=1e-9)

        def simulate(row):
            trial = prf.unwrap(prf.update(model, dict(zip(space.names, row)), on_invalid="nan"))
            return {name: Feature(name)(trial, frequency) for name in ALIASES}

        expected = jax.jit(jax.vmap(simulate))(theta)
        for options in ({}, {"reproducible": False}):
            again = from_paramrf(model, frequency=frequency, features=ALIASES, **options)
            found = again.model_features(theta)
            for name in expected:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)
        direct = prf.unwrap(prf.update(model, space.unpack(theta[0])))
        np.testing.assert_allclose(found["s11"][0], Feature("s11")(direct, frequency), rtol=1e-12)
    """)


def test_arrays_ties_and_refusals() -> None:
    run("""
        class Pair(prf.Model):
            r: prf.Param = prf.param()
            c: prf.Param = prf.param(scale=1e-12)

            def s(self, frequency):
                z = self.r[0] + 2 * self.r[1] + 0 * frequency.f
                return ((z - 50) / (z + 50))[:, None, None] + 0j

        pair = Pair(prf.Bounded(np.array([1.0, 2.0]), np.array([5.0, 9.0])), prf.Fixed(2.0))
        evaluator = from_paramrf(pair, frequency=frequency, features="s11")
        assert evaluator.space.names == ("r[0]", "r[1]"), evaluator.space.names
        assert evaluator.space.lower.tolist() == [1.0, 2.0]
        assert evaluator.space.upper.tolist() == [5.0, 9.0]
        found = evaluator.model_features([2.0, 3.0])
        np.testing.assert_allclose(found, (8.0 - 50) / (8.0 + 50), rtol=1e-12)

        a, b = R(prf.Bounded(1.0, 9.0, name="a")), R(prf.Bounded(1.0, 9.0, name="b"))
        tied = prf.tie(a ** b, "b", "a", fn=lambda x: 2 * x)
        evaluator = from_paramrf(tied, frequency=frequency, features="s11")
        assert evaluator.space.names == ("a",)
        single = R(prf.Bounded(1.0, 27.0, name="a"))
        same = from_paramrf(single, frequency=frequency, features="s11")
        tied, alone = evaluator.model_features([3.0]), same.model_features([9.0])
        np.testing.assert_allclose(tied, alone, rtol=1e-12)

        def refused(model, error, sentence, features="s11"):
            try:
                from_paramrf(model, frequency=frequency, features=features)
            except error as caught:
                assert sentence in str(caught), caught
            else:
                raise AssertionError(sentence)

        refused(R(prf.Unconstrained(3.0, name="free")), ParameterError, "'free'")
        refused(R(prf.Fixed(3.0)), ValueError, "no free parameter")
        refused(a, EvaluationError, "features is []", [])
        refused(a, EvaluationError, "features is 3", 3)
        shift = prf.stats.bijectors.ScalarAffine(jnp.array(3.0))
        odd = prf.Random(D.Transformed(D.Normal(0.0, 1.0), shift), value=3.0, name="odd")
        refused(R(odd), ParameterError, "'odd': the prior Transformed")
    """)


def test_nan_does_not_become_an_excellent_match() -> None:
    run("""
        class Broken(prf.Model):
            r: prf.Param = prf.param()

            def s(self, frequency):
                s = jnp.where(self.r > 5.0, jnp.nan, 0.5) + 0j * frequency.f
                return s[:, None, None]

        model = Broken(prf.Bounded(1.0, 9.0))
        evaluator = from_paramrf(model, frequency=frequency, features={"match": "s11_db"})
        found = evaluator.evaluate([[2.0], [6.0], [20.0], [np.nan]])
        assert found.valid.tolist() == [True, False, False, False], found.valid
        assert np.isnan(found.features["match"][1:]).all()
        np.testing.assert_allclose(found.features["match"][0], 20 * np.log10(0.5))
        trial = prf.unwrap(prf.update(model, {"r": 6.0}))
        assert float(Feature("s11_db")(trial, frequency)[0]) == -100.0  # what ParamRF alone says
    """)


def test_importing_it_first_leaves_the_process_as_it_was() -> None:
    run(
        """
        import os, jax
        from ax_jax_runners.evaluation import paramrf
        import sys
        assert "pmrf" not in sys.modules
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "2"
        before = [os.environ.get(name) for name in names]
        paramrf._paramrf()
        assert "pmrf" in sys.modules
        assert [os.environ.get(name) for name in names] == before
        assert not jax.config.jax_enable_x64
        """,
        prelude="",
    )
