"""``ax-jax init``: write a campaign file to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from ax_jax_runners.cli.arguments import AsJson
from ax_jax_runners.cli.output import print_json, say
from ax_jax_runners.errors import ConfigurationError

TEMPLATE = """\
# A campaign: which task, what to maximise, how many trials. Run it with
#     ax-jax run {file}
# Run it again and it goes on where it was; `ax-jax status` tells how far it is.

name = "ring-slot"

# The database: sqlite:///file.db, or postgresql://user@host/database.
store = "sqlite:///campaigns.db"

# A built-in problem (`ax-jax problems` lists them), or "package.module:attribute": a task of your
# own, or a function that returns one.
task = "ring-slot"

# Linear expressions of the task's outputs, to be maximised; "a, -b" gives a Pareto front.
objective = "-log10_cost"

# Linear inequalities of other outputs, such as ["rms_error <= 0.1"].
outcome_constraints = []

# Total number of trials, and how many are generated and run together.
trials = 60
batch_size = 8

# "auto", "sobol" (quasi-random only), "fast" (Gaussian process), "quality" (fully Bayesian).
generation = "auto"
seed = 0

# Seconds after which a run starts nothing new.
# timeout = 3600

# Where trials run: "JaxRunner" (in this process), "WorkerJaxRunner" (worker processes, Dask or
# Slurm), "SingleRunningTrialJaxRunner" (one at a time), "SimulatedBackendJaxRunner" (virtual time).
# runner = "WorkerJaxRunner"

# Keyword arguments of the runner.
# [runner_options]
# workers = 2
# time_limit = 3600

# Long trials that fall behind are ended early: the rule is "percentile" or "threshold".
# [early_stopping]
# rule = "percentile"
# percentile = 50

# Keyword arguments of the task.
[task_options]
variant = "four"
# data = "my.s1p"

# Overrides of a parameter: lower, upper, fixed, log_scale.
# [parameters.f0]
# lower = 82.0
# upper = 92.0
"""


def init(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="The file to write.")
    ] = "campaign.toml",
    as_json: AsJson = False,
) -> None:
    """Write a commented campaign file that runs as it is."""
    try:
        with open(file, "x", encoding="utf-8") as stream:
            stream.write(TEMPLATE.replace("{file}", file))
    except FileExistsError as error:
        raise ConfigurationError(
            f"File {file!r} exists and is not overwritten; name another one, or remove it."
        ) from error
    except FileNotFoundError as error:
        raise ConfigurationError(f"File {file!r}: its folder does not exist; create it.") from error
    if as_json:
        print_json({"file": file})
    else:
        say(f"Wrote {file}; run it with: ax-jax run {file}")
