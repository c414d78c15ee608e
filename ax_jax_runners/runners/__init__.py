"""Ax runners that hold a task: when and where trials run."""

from __future__ import annotations

from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.runners.binding import TaskResolver
from ax_jax_runners.runners.in_process import JaxRunner
from ax_jax_runners.runners.outcome import ArmOutcome, decode_outcomes, encode_outcomes
from ax_jax_runners.runners.synthetic import SyntheticJaxRunner

__all__ = [
    "ArmOutcome",
    "JaxRunner",
    "SyntheticJaxRunner",
    "TaskResolver",
    "TaskRunner",
    "decode_outcomes",
    "encode_outcomes",
]
