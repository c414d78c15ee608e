"""A simulated cluster: virtual time, runtimes, and results that are shown when they are due."""

from __future__ import annotations

from ax_jax_runners.runners.simulation.cluster import Cluster, Job
from ax_jax_runners.runners.simulation.draws import sample_runtime_unif
from ax_jax_runners.runners.simulation.functions import (
    FUNCTIONS,
    FunctionResolver,
    UnboundFunction,
)
from ax_jax_runners.runners.simulation.models import RuntimeModel, runtime_model, sampled
from ax_jax_runners.runners.simulation.plan import Plan, check_cluster
from ax_jax_runners.runners.simulation.results import HiddenResults, compute
from ax_jax_runners.runners.simulation.runtimes import (
    Runtime,
    check_runtime,
    decode_runtime,
    encode_runtime,
)
from ax_jax_runners.runners.simulation.simulation import Simulation
from ax_jax_runners.runners.simulation.timeline import timeline

__all__ = [
    "FUNCTIONS",
    "Cluster",
    "FunctionResolver",
    "HiddenResults",
    "Job",
    "Plan",
    "Runtime",
    "RuntimeModel",
    "Simulation",
    "UnboundFunction",
    "check_cluster",
    "check_runtime",
    "compute",
    "decode_runtime",
    "encode_runtime",
    "runtime_model",
    "sample_runtime_unif",
    "sampled",
    "timeline",
]
