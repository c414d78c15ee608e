from __future__ import annotations

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ax_jax_runners.errors import SchemaTooNew
from ax_jax_runners.runners import ArmOutcome, decode_outcomes, encode_outcomes
from ax_jax_runners.runners.sentences import LIMIT, bounded, describe_error
from ax_jax_runners.tasks import Progress

ANYTHING = st.one_of(
    st.floats(),
    st.integers(),
    st.none(),
    st.booleans(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.sampled_from([np.float32(1.5), np.float64("nan"), np.array(2), np.array([1.0]), {1}, [2]]),
    st.sampled_from([jnp.float32(1.5), jnp.bfloat16(0.5), np.array({}), object(), 10**400]),
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.dictionaries(
        st.text(max_size=3), st.one_of(ANYTHING, st.tuples(ANYTHING, ANYTHING)), max_size=3
    ),
    st.booleans(),
)
@pytest.mark.fault(4)
def test_nothing_but_plain_finite_numbers_is_ever_recorded(outputs, done):
    outcome = ArmOutcome.from_progress(Progress(1, done, outputs), tuple(outputs))
    record = json.loads(json.dumps(encode_outcomes({"0_0": outcome}), allow_nan=False))
    assert decode_outcomes(record) == {"0_0": outcome}
    assert (outcome.failure is None) == (outcome.status != "failed")
    for mean, sem in outcome.outputs.values():
        assert type(mean) is float
        assert sem is None or type(sem) is float
    if outcome.status == "completed":
        assert set(outcome.outputs) == set(outputs)


@given(FINITE, FINITE.map(abs))
def test_finite_numbers_are_recorded_exactly(mean, sem):
    outcome = ArmOutcome.from_progress(Progress(1, True, {"x": (mean, sem)}), ("x",))
    text = json.dumps(encode_outcomes({"a": outcome}))
    assert decode_outcomes(json.loads(text))["a"].outputs["x"] == (mean, sem)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((math.nan, 0.0), "'x' is nan"),
        ((-math.inf, 0.0), "'x' is -inf"),
        ((1j, None), "complex"),
        (("high", None), "str"),
        ((None, None), "NoneType"),
        ((np.ones(1), None), "ndarray"),
        ((10**400, None), "int"),
        ((1.0, -1.0), "standard error -1.0"),
        ((1.0, math.inf), "standard error inf"),
        ((1.0, "small"), "standard error is a str"),
        (1.0, "pair of mean and standard error"),
    ],
)
@pytest.mark.fault(4)
def test_what_is_no_result_is_named(value, words):
    outcome = ArmOutcome.from_progress(Progress(3, True, {"x": value}), ("x",))
    assert outcome.status == "failed"
    assert outcome.outputs == {}
    assert outcome.step == 3
    assert words in (outcome.failure or "")
    assert "'x'" in (outcome.failure or "")


def test_an_error_that_is_not_known_stays_unknown_and_zero_stays_zero():
    outputs = {"a": (1.0, None), "b": (1.0, math.nan), "c": (1.0, 0.0), "d": (np.float32(2), 1)}
    outcome = ArmOutcome.from_progress(Progress(1, True, outputs), ("a",))
    assert outcome.outputs == {"a": (1.0, None), "b": (1.0, None), "c": (1.0, 0.0), "d": (2.0, 1.0)}


def test_a_finished_arm_must_report_every_output():
    outcome = ArmOutcome.from_progress(Progress(1, True, {"x": (1.0, 0.0)}), ("x", "y"))
    assert outcome.failure is not None
    assert "no value of y" in outcome.failure


def test_an_unfinished_arm_records_what_it_knows():
    progress = Progress(4, False, {"x": (1.0, 0.5), "y": (math.nan, None)})
    outcome = ArmOutcome.from_progress(progress, ("x", "y"))
    assert outcome == ArmOutcome("running", {"x": (1.0, 0.5)}, 4)
    assert not outcome.is_final


@pytest.mark.parametrize(
    "report", [None, {"x": 1.0}, Progress(1, True, None), Progress("one", True, {})]
)
def test_a_report_that_cannot_be_read_fails_the_arm(report):
    assert ArmOutcome.from_progress(report, ()).status == "failed"


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"ax_jax": None},
        {"ax_jax": []},
        {"ax_jax": {"version": 1}},
        {"ax_jax": {"version": 1, "arms": ["0_0"]}},
        {"ax_jax": {"version": 1, "arms": {"0_0": {"status": "completed"}}}},
        {"ax_jax": {"version": 1, "arms": {"0_0": {"outputs": {"x": 3}}}}},
        {"name": "somebody else's"},
    ],
)
def test_damaged_or_foreign_records_are_no_records(metadata):
    assert decode_outcomes(metadata) == {}


def test_records_of_a_newer_version_are_refused():
    with pytest.raises(SchemaTooNew, match="upgrade"):
        decode_outcomes({"ax_jax": {"version": 2, "arms": {}}})


@given(st.text(alphabet=st.characters(), max_size=60), st.integers(1, 80))
def test_sentences_are_bounded_and_storable(text, limit):
    result = bounded(text, limit)
    assert len(result.encode("utf-8")) <= limit
    assert "\0" not in result
    if len(text.encode("utf-8", "replace")) <= limit and text.isascii() and "\0" not in text:
        assert result == text


def test_errors_say_what_and_where_within_the_limit():
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    try:
        raise ValueError("x" * 1_000_000 + "\0\ud800")
    except ValueError as error:
        sentence = describe_error(error)
    assert len(sentence.encode()) <= LIMIT
    assert sentence.startswith("ValueError: xxx")
    assert "test_runners_outcome.py, line" in sentence
    assert describe_error(Silent()) == "Silent: (its message cannot be shown)"
    assert describe_error(SystemExit()) == "SystemExit"
