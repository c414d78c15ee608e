from __future__ import annotations

import pytest
from ax.storage.metric_registry import CORE_METRIC_REGISTRY
from ax.storage.runner_registry import CORE_RUNNER_REGISTRY

from ax_jax_runners import problems
from ax_jax_runners.campaign import registry
from ax_jax_runners.errors import ConfigurationError, TaskNotBound
from ax_jax_runners.metrics import CurveMetric, OutputMetric
from ax_jax_runners.runners import JaxRunner, TaskResolver
from ax_jax_runners.runners.binding import encode_task
from ax_jax_runners.tasks import UnboundTask


def test_a_built_in_problem_is_built_again_from_its_name_and_options():
    task = problems.build("ring-slot", parameters={"f0": {"upper": 90.0}})
    record = encode_task(task)
    assert record["reference"] == "problem:ring-slot"
    again = TaskResolver().resolve(record)
    assert again == task
    assert problems.origin(again) == problems.origin(task)


def test_another_option_is_another_task():
    task = problems.build("ring-slot", parameters={"f0": {"upper": 90.0}})
    record = encode_task(task)
    found = TaskResolver([problems.build("ring-slot"), task]).resolve(record)
    assert found is task
    changed = TaskResolver([problems.build("ring-slot")]).resolve(record)
    assert isinstance(changed, UnboundTask)
    assert changed.changed


def test_a_problem_that_cannot_be_built_says_why():
    record = encode_task(problems.build("ring-slot"))
    record["problem"]["options"] = {"nonsense": 3}
    task = TaskResolver().resolve(record)
    assert isinstance(task, UnboundTask)
    with pytest.raises(TaskNotBound, match="nonsense"):
        JaxRunner(task).run_multiple([])


def test_what_is_no_task_is_refused_by_the_bundle():
    with pytest.raises(ConfigurationError, match="registry_bundle was given function"):
        registry.registry_bundle(tasks=[lambda: None])  # pyright: ignore[reportArgumentType]


def test_the_bundle_holds_our_classes_and_the_core_ones_under_their_numbers():
    bundle = registry.registry_bundle()
    ours = {OutputMetric: 7101, CurveMetric: 7102}
    assert bundle.metric_registry == {**CORE_METRIC_REGISTRY, **ours}
    assert bundle.runner_registry[JaxRunner] == 7201
    assert CORE_RUNNER_REGISTRY.items() <= bundle.runner_registry.items()
    assert bundle.sqa_config.metric_registry == bundle.metric_registry
    assert bundle.decoder_registry["OutputMetric"] is OutputMetric


@pytest.mark.parametrize("number", [7101, 7199])
def test_a_number_or_a_name_that_comes_twice_is_refused(number):
    twin = type("OutputMetric" if number == 7199 else "Other", (OutputMetric,), {})
    with pytest.raises(ValueError, match="OutputMetric"):
        registry._numbered((*registry.METRICS, (twin, number)))
