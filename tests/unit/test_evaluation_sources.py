"""Sources of functions and classes, which are part of what identifies a computation."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ax_jax_runners import Campaign, FeatureEvaluator, ParameterSpace
from ax_jax_runners.evaluation.fingerprint import source_of


@pytest.fixture
def eager_threads():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_read_sources_at_the_same_time(eager_threads):
    wanted = [Campaign, FeatureEvaluator, ParameterSpace] * 20
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(source_of, wanted))
    assert found[:3] == [source_of(item) for item in wanted[:3]]
    assert len(set(found)) == 3
    assert all(text.startswith(("class", "@dataclass")) for text in found)


def test_what_has_no_source_has_an_empty_one():
    assert source_of(len) == ""
    namespace: dict[str, object] = {}
    exec("def made(): ...", namespace)  # noqa: S102  as a notebook of another process makes them
    assert source_of(namespace["made"]) == ""
