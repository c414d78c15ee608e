"""A task of many slices on JAX whose state has all that is hard to keep, every slice noted."""

from __future__ import annotations

import functools
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners import Parameter, ParameterSpace
from ax_jax_runners.tasks import Progress, StepwiseTask
from ax_jax_runners.tasks.stepwise import StepwiseState

SPACE = ParameterSpace(
    [Parameter("gain", lower=0.5, upper=3.0), Parameter("rate", lower=0.1, upper=0.9)]
)


@dataclass(frozen=True)
class Drift:
    """A random walk; typed key, bfloat16, complex, integer and double precision in its state.

    Attributes:
        log: File of the slices.
        slices: How many an arm needs.
        seconds: What a slice takes at least.
    """

    log: str
    slices: int = 20
    seconds: float = 0.0
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("total", "spread")

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: jax.Array) -> StepwiseState:
        return _walk(self.slices).begin(arms, keys)

    def advance(self, state: StepwiseState) -> StepwiseState:
        slices = zip(
            np.asarray(state.arms["gain"]).tolist(),
            (np.asarray(state.arms["step"]) + 1).tolist(),
            np.asarray(state.report["done"]).tolist(),
            strict=True,
        )
        lines = "".join(
            json.dumps({"pid": os.getpid(), "gain": gain, "slice": number}) + "\n"
            for gain, number, done in slices
            if not done
        )
        handle = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, lines.encode())
        finally:
            os.close(handle)
        time.sleep(self.seconds)
        return _walk(self.slices).advance(state)

    def progress(self, state: StepwiseState) -> list[Progress]:
        return _walk(self.slices).progress(state)


def read_slices(log: Path) -> list[tuple[int, float, int]]:
    """Process, gain of the arm and number of every slice that was begun."""
    if not log.exists():
        return []
    # A killed writer may leave the last line unfinished.
    lines = log.read_text().split("\n")[:-1]
    notes = [json.loads(line) for line in lines]
    return [(note["pid"], note["gain"], note["slice"]) for note in notes]


def times_done(log: Path) -> dict[float, Counter[int]]:
    """How often each slice was begun, by the gain of the arm."""
    counts: dict[float, Counter[int]] = {}
    for _, gain, number in read_slices(log):
        counts.setdefault(gain, Counter())[number] += 1
    return counts


@functools.lru_cache
def _walk(slices: int) -> StepwiseTask:
    return StepwiseTask(
        SPACE,
        outputs=("total", "spread"),
        begin=_begin,
        advance=_advance,
        report=functools.partial(_report, slices),
        chunk=2,
    )


def _begin(parameters: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
    return {
        **parameters,
        "step": jnp.int32(0),
        "total": jnp.zeros((), jnp.float64),
        "half": jnp.zeros(5, jnp.bfloat16),
        "wave": jnp.ones(3, jnp.complex64),
        "key": key,
    }


def _advance(state: dict[str, Any]) -> dict[str, Any]:
    key, used = jax.random.split(state["key"])
    draw = jax.random.normal(used, (5,), jnp.float64)
    half = state["half"] * jnp.bfloat16(0.97) + draw.astype(jnp.bfloat16)
    return {
        **state,
        "step": state["step"] + 1,
        "total": state["total"] * (1 - 1e-3 * state["rate"]) + state["gain"] * draw.sum(),
        "half": half,
        "wave": state["wave"] * jnp.exp(1j * draw[:3]).astype(jnp.complex64),
        "key": key,
    }


def _report(slices: int, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "step": state["step"],
        "done": state["step"] >= slices,
        "outputs": {
            "total": (state["total"], 0.0),
            "spread": (jnp.std(state["half"].astype(jnp.float64)), 0.0),
        },
        "arrays": {
            "total": state["total"],
            "half": jax.lax.bitcast_convert_type(state["half"], jnp.uint16),
            "wave": state["wave"],
            "key": jax.random.key_data(state["key"]),
        },
    }
