from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.tasks import FeatureTask, Progress, UnboundTask, task_identity, task_reference

SPACE = ParameterSpace([Parameter("a", lower=0.0, upper=1.0)])


def task_of(function, space=SPACE, output=jnp.sum, **options):
    return FeatureTask(FeatureEvaluator(function, space, **options), outputs={"x": output})


def scaled(p, factor=2.0):
    return factor * p["a"]


def looped(p):
    return jax.lax.fori_loop(0, 3, lambda i, x: jnp.where(x > 0.5, x * 2.0, x + i), p["a"])


def with_data(p, data):
    return p["a"] * data


def test_the_reference_names_the_simulator():
    assert task_reference(task_of(scaled)) == f"{__name__}:scaled"
    assert task_reference(task_of(functools.partial(scaled, factor=3.0))) == f"{__name__}:scaled"
    assert task_identity(task_of(scaled)).portable
    assert not task_identity(task_of(lambda p: p["a"])).portable


def test_what_computes_the_same_has_one_digest():
    renamed = task_of(lambda q: 2.0 * q["a"])
    digest = task_identity(task_of(scaled)).digest
    assert digest == task_identity(task_of(scaled)).digest
    assert len(digest) == 64
    # The reference is part of it: another function of equal content is another task.
    assert digest != task_identity(renamed).digest
    again = task_identity(task_of(looped)).digest
    assert again == task_identity(task_of(looped)).digest


DATA = np.arange(100.0)


@pytest.mark.parametrize(
    "changed",
    [
        task_of(functools.partial(with_data, data=DATA + np.eye(1, 100, 50)[0] * 1e-12)),
        task_of(functools.partial(with_data, data=DATA), chunk=16),
        task_of(functools.partial(with_data, data=DATA), capacity=64),
        task_of(functools.partial(with_data, data=DATA), dtype="float32"),
        task_of(functools.partial(with_data, data=DATA), reproducible=False),
        task_of(functools.partial(with_data, data=DATA), output=jnp.max),
        task_of(
            functools.partial(with_data, data=DATA),
            space=ParameterSpace([Parameter("a", lower=0.0, upper=1.5)]),
        ),
        FeatureTask(
            FeatureEvaluator(functools.partial(with_data, data=DATA), SPACE),
            outputs={"other": jnp.sum},
        ),
    ],
)
def test_what_decides_the_numbers_decides_the_digest(changed):
    original = task_of(functools.partial(with_data, data=DATA))
    assert task_reference(original) == task_reference(changed)
    assert task_identity(original).digest != task_identity(changed).digest


def test_constants_within_loops_and_branches_count():
    def build(constant):
        def body(p):
            inner = lambda x: jax.lax.cond(x > 0, lambda y: y + constant, lambda y: -y, x)  # noqa: E731
            return jax.lax.scan(lambda c, _: (inner(c), None), p["a"], None, length=3)[0]

        return task_identity(task_of(body))

    assert build(1.0) == build(1.0)
    assert build(1.0).digest != build(1.0 + 1e-15).digest
    assert build(np.arange(3.0)[1]).digest == build(1.0).digest


def test_the_digest_is_the_same_in_another_process(tmp_path):
    source = (
        "import jax, jax.numpy as jnp\n"
        "from ax_jax_runners.evaluation import FeatureEvaluator\n"
        "from ax_jax_runners.parameters import Parameter, ParameterSpace\n"
        "from ax_jax_runners.tasks import FeatureTask, task_identity\n"
        "@jax.custom_jvp\n"
        "def soft(x):\n"
        "    return jnp.log1p(jnp.exp(x))\n"
        "soft.defjvp(lambda p, t: (soft(*p), jax.nn.sigmoid(p[0]) * t[0]))\n"
        "def simulate(p, key):\n"
        "    return {'z': soft(p['a']) + jax.random.normal(key, (3,)), 'r': jax.nn.relu(p['a'])}\n"
        "space = ParameterSpace([Parameter('a', lower=0.0, upper=1.0)])\n"
        "task = FeatureTask(FeatureEvaluator(simulate, space, stochastic=True),\n"
        "                   outputs={'x': lambda f: f['z'].sum()})\n"
        "print(task_identity(task))\n"
    )
    (tmp_path / "simulator.py").write_text(source)
    command = [sys.executable, "-c", "import simulator"]
    found = {
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(found) == 1
    assert "simulator:simulate" in found.pop()


def test_a_simulator_that_cannot_be_traced_still_has_an_identity():
    def broken(p):
        raise ValueError

    assert task_identity(task_of(broken)) == task_identity(task_of(broken))


@dataclass(frozen=True)
class Own:
    space: ParameterSpace
    rate: float
    outputs: tuple[str, ...] = ("x",)

    def begin(self, arms, keys):
        return keys

    def advance(self, state):
        return state

    def progress(self, state):
        return [Progress(1, True, {"x": (self.rate, None)}) for _ in state]


def test_a_task_of_ones_own_is_identified_by_class_and_contents():
    own = Own(SPACE, 0.5)
    identity = task_identity(own)
    assert identity.reference == f"{__name__}:Own"
    assert identity == task_identity(Own(SPACE, 0.5))
    assert identity.digest != task_identity(replace(own, rate=0.6)).digest


def test_an_unbound_task_keeps_what_was_stored():
    identity = task_identity(UnboundTask("module:name", "f" * 64))
    assert (identity.reference, identity.digest) == ("module:name", "f" * 64)
