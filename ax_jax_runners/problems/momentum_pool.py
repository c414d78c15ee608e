"""A momentum pool tuned on one part of a history, checked on the next, and told of the last.

``momentum-pool`` evaluates one pool a trial. ``momentum-pool-training`` trains pools by gradients
from a starting point a trial, on the same market and with the same outputs, so that both stand in
one database. Ax is given the train and the validation window; the test window is reported only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.problems.base import Problem
from ax_jax_runners.strategies.backtest import DEFAULT_MEASURES, PoolBacktest
from ax_jax_runners.strategies.market_files import read_market
from ax_jax_runners.strategies.markets import Market, stock_market, synthetic_market
from ax_jax_runners.strategies.training import GradientTraining
from ax_jax_runners.strategies.windows import Windows
from ax_jax_runners.tasks import FeatureTask, StepwiseTask

SYNTHETIC, STOCKS = "synthetic", "stocks"
OBJECTIVE, CONSTRAINT = "train_sharpe", "validation_sharpe >= 0"


@dataclass(frozen=True)
class BacktestOutputs:
    """The outputs of a `PoolBacktest` as one function of the parameters; equal by its contents."""

    backtest: PoolBacktest

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """``{"train_sharpe": ..., ...}``; traceable."""
        features = self.backtest(values)
        return {name: output(features) for name, output in self.backtest.outputs.items()}


def build(**options: Any) -> FeatureTask:
    """The task of one pool.

    Raises:
        ConfigurationError: An option that cannot be used.
        DataFileError: A file of prices that cannot be used.
    """
    backtest = pool_backtest(**options)
    return FeatureTask(FeatureEvaluator(backtest, backtest.space), outputs=backtest.outputs)


def build_training(
    *,
    sets: int = 4,
    steps: int = 100,
    steps_per_slice: int = 10,
    patience: int | None = 4,
    jitter: float = 1.0,
    together: int = 4,
    **options: Any,
) -> StepwiseTask:
    """The task of training some pools by gradients.

    Raises:
        ConfigurationError: An option that cannot be used.
        DataFileError: A file of prices that cannot be used.
    """
    backtest = pool_backtest(**options)
    training = GradientTraining(
        BacktestOutputs(backtest),
        backtest.space,
        tuple(backtest.outputs),
        sets=sets,
        steps=steps,
        steps_per_slice=steps_per_slice,
        patience=patience,
        jitter=jitter,
    )
    return StepwiseTask(
        training.space,
        outputs=training.outputs,
        begin=training.begin,
        advance=training.advance,
        report=training.report,
        chunk=together,
    )


def pool_backtest(
    market: str = SYNTHETIC,
    *,
    assets: int | Sequence[str] | None = None,
    days: int = 1099,
    seed: int = 0,
    per_asset: bool = False,
    chunk_period: int = 1440,
    weight_interpolation_period: int | None = None,
    maximum_change: float = 0.03,
    minimum_weight: float | None = None,
    train: float = 0.6,
    validation: float = 0.2,
    measures: Sequence[str] = DEFAULT_MEASURES,
    minutes_per_row: int = 1440,
    days_per_year: float = 365.0,
) -> PoolBacktest:
    """The backtest behind both problems; what the options mean stands in ``PROBLEMS``.

    Raises:
        ConfigurationError: An option that cannot be used.
        DataFileError: A file of prices that cannot be used.
    """
    prices = _market(market, assets, days, seed, minutes_per_row, days_per_year)
    for name, value in (("train", train), ("validation", validation)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigurationError(f"{name} is {value!r}; give a part of the history.")
    if not isinstance(per_asset, bool):
        raise ConfigurationError(f"per_asset is {per_asset!r}; give true or false.")
    return PoolBacktest(
        prices,
        Windows.split(len(prices.prices), train=train, validation=validation),
        chunk_period=chunk_period,
        weight_interpolation_period=(
            chunk_period if weight_interpolation_period is None else weight_interpolation_period
        ),
        maximum_change=maximum_change,
        minimum_weight=minimum_weight,
        per_asset=per_asset,
        # A measure that the objective and the constraint stand on is always there.
        measures=tuple(dict.fromkeys(("sharpe", *measures))),
    )


def _market(
    name: str, assets: Any, days: int, seed: int, minutes_per_row: int, days_per_year: float
) -> Market:
    named = None if assets is None or isinstance(assets, int) else tuple(assets)
    if name == SYNTHETIC:
        if named is not None:
            raise ConfigurationError(
                f"assets is {assets!r}; give the number of assets of a synthetic market."
            )
        return synthetic_market(assets=3 if assets is None else assets, days=days, seed=seed)
    if isinstance(assets, int):
        raise ConfigurationError(f"assets is {assets}; name those of {name!r} in a list.")
    if name == STOCKS:
        return stock_market(named)
    return read_market(
        Path(name), assets=named, minutes_per_row=minutes_per_row, days_per_year=days_per_year
    )


_OPTIONS = {
    "market": "'synthetic' (default), 'stocks' of the S&P 500 as skfolio packages them, or a .csv "
    "or .parquet file",
    "assets": "how many a synthetic market has, default 3; or a list of names",
    "days": "length of a synthetic market; default 1,099",
    "seed": "of a synthetic market; default 0",
    "per_asset": "whether every asset has a memory and a strength of its own; default false",
    "chunk_period": "minutes between two decisions; default 1,440",
    "weight_interpolation_period": "minutes in which weights move; default the chunk period",
    "maximum_change": "largest change of a weight in one row; default 0.03",
    "minimum_weight": "smallest weight; default a tenth of an equal share",
    "train": "part of the history that is optimised; default 0.6",
    "validation": "part that follows and is checked, the rest is the test window; default 0.2",
    "measures": "what is reported of every window; default sharpe, return, "
    "return_over_uniform_hodl and drawdown",
    "minutes_per_row": "of a file; default 1,440",
    "days_per_year": "days of prices in a year of a file, fewer than 365 if it closes; default 365",
}
_POOL = Problem(
    name="momentum-pool",
    summary="Memory and strength of a momentum pool: best train Sharpe with a sound validation",
    build=build,
    objective=OBJECTIVE,
    outcome_constraints=(CONSTRAINT,),
    options=_OPTIONS,
)
_TRAINING = Problem(
    name="momentum-pool-training",
    summary="The same pool trained by gradients: starting point and learning rate",
    build=build_training,
    objective=OBJECTIVE,
    outcome_constraints=(CONSTRAINT,),
    options={
        "sets": "parameter sets trained side by side in one trial; default 4",
        "steps": "gradient steps of a trial; default 100",
        "steps_per_slice": "steps between two reports; default 10",
        "patience": "reports without a better validation Sharpe before a trial ends; default 4",
        "jitter": "standard deviation of the sets' beginnings in raw coordinates; default 1",
        "together": "trials trained in one compiled call; default 4",
        **_OPTIONS,
    },
)
PROBLEMS = {problem.name: problem for problem in (_POOL, _TRAINING)}
