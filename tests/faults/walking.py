"""Walks for processes of their own, which a test kills or whose memory it measures."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import jax
import jax.numpy as jnp

from ax_jax_runners import FeatureEvaluator, Parameter, ParameterSpace
from ax_jax_runners.exploration import Constraint, RandomWalk
from ax_jax_runners.problems.regions import Ball

SPACE = ParameterSpace([Parameter(name, lower=0.0, upper=1.0) for name in "abc"])
SEED = {"a": 0.4, "b": 0.5, "c": 0.5}
PARTICLES = 20


def distance(values: dict[str, Any]) -> dict[str, Any]:
    gaps = jnp.stack([values[name] - 0.5 for name in "abc"])
    return {"radius": jnp.sqrt(jnp.sum(gaps**2)), "gaps": gaps}


def noisy_distance(values: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    return {"radius": distance(values)["radius"] * jax.random.uniform(key, minval=0.9, maxval=1.1)}


def make_walk(name: str) -> RandomWalk:
    """A walk with a checkpoint every 7 iterations."""
    noisy = FeatureEvaluator(noisy_distance, SPACE, chunk=16, dtype="float32", stochastic=True)
    plain = FeatureEvaluator(distance, SPACE, chunk=16)
    evaluator, options = {
        "learned": (noisy, {"kernel": "hit_and_run", "adapt": True, "warm_up": 100}),
        "tuned": (plain, {"kernel": "self_loop", "warm_up": 100, "thin": 3}),
        "redraw": (plain, {"kernel": "redraw", "max_step_size": 0.7, "thin": 2}),
        "aimed": (plain, {"aim_params": {"a": 0.9, "b": 0.9}, "max_step_size": 0.01}),
    }[name]
    return RandomWalk(
        evaluator,
        (Constraint("radius", upper=0.4),),
        n_iterations=500,
        checkpoint_every=7,
        concat_every_n_save=4,
        **options,
    )


def walk_to_the_end(name: str, directory: str) -> None:
    given = make_walk(name)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    given.run(SEED, particles=PARTICLES, directory=directory)


def walk_long(particles: int, iterations: int, directory: str) -> None:
    """A long walk in 40 dimensions; tell the most memory that the process has had."""
    ball = Ball(40)
    given = RandomWalk(
        ball.evaluator("float32", chunk=256),
        ball.constraints,
        n_iterations=iterations,
        thin=500,
        checkpoint_every=10_000,
    )
    result = given.run(ball.mean[None], particles=particles, directory=directory)
    peak = resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "peak_kilobytes": peak.ru_maxrss,
        "seconds": peak.ru_utime + peak.ru_stime,
        "iterations": sum(result.particles_frame()["iterations"].tolist()),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "long":
        walk_long(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        walk_to_the_end(sys.argv[1], sys.argv[2])
