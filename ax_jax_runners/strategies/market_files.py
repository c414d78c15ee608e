"""Prices from files of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import DataFileError
from ax_jax_runners.strategies.markets import Market

if TYPE_CHECKING:
    import pandas as pd


def read_market(
    path: str | Path,
    *,
    assets: Sequence[str] | None = None,
    time: str | None = None,
    minutes_per_row: int = 1440,
    days_per_year: float = 365.0,
) -> Market:
    """Read prices from a CSV or parquet file with one column an asset and one row a time.

    Args:
        path: A file that ends in .csv, .csv.gz or .parquet.
        assets: Columns in the order wanted; None: all but ``time``.
        time: Column of the times, which must increase by ``minutes_per_row``; None: the first one
            if it holds no numbers, and otherwise the rows are taken as they are. Where a year has
            fewer than 365 days the times need only increase.
        minutes_per_row: Minutes between two rows.
        days_per_year: Days of prices in a year.

    Raises:
        DataFileError: A file that cannot be read, a missing column, a price that is missing or not
            above 0, times that do not increase, or a gap.
    """
    path = Path(path)
    frame: Any = _frame(path)
    if time is None and len(frame.columns) and not _is_numeric(frame.iloc[:, 0]):
        time = str(frame.columns[0])
    wanted = [str(name) for name in frame.columns if name != time] if assets is None else assets
    for name in (*wanted, *(() if time is None else (time,))):
        if name not in frame.columns:
            known = ", ".join(map(repr, frame.columns))
            raise DataFileError(f"{path}: there is no column {name!r}; the columns are {known}.")
    if len(wanted) < 2 or len(frame) < 2:
        raise DataFileError(
            f"{path}: holds {len(frame)} rows of {len(wanted)} assets; give at least two of each."
        )
    if time is not None:
        _check_times(path, frame[time], minutes_per_row, gaps=days_per_year < 365.0)
    columns = [_checked(path, str(name), frame[name]) for name in wanted]
    return Market(np.stack(columns, axis=1), tuple(wanted), minutes_per_row, days_per_year)


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.name.endswith((".csv", ".csv.gz")):
        read = pd.read_csv
    elif path.suffix == ".parquet":
        read = pd.read_parquet
    else:
        raise DataFileError(f"{path}: ends in {path.suffix!r}; give a .csv or .parquet file.")
    try:
        return read(path)
    except FileNotFoundError:
        raise DataFileError(
            f"{path}: there is no such file (looked for {path.absolute()}); check the path."
        ) from None
    except Exception as error:  # pandas and pyarrow raise whatever the content led them to
        reason = " ".join(str(error).split())
        raise DataFileError(f"{path}: cannot be read ({reason}); check the file.") from error


def _is_numeric(column: pd.Series) -> bool:
    from pandas.api.types import is_numeric_dtype

    return is_numeric_dtype(column)


def _checked(path: Path, name: str, column: pd.Series) -> np.ndarray:
    """Return a column of prices; what is no number becomes NaN and is found like a gap."""
    import pandas as pd

    numbers: Any = pd.to_numeric(column, errors="coerce")
    prices = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    good = np.isfinite(prices) & (prices > 0)
    if not good.all():
        row = int(np.argmin(good))
        found = column.iloc[row]
        what = "missing" if pd.isna(found) else repr(getattr(found, "item", lambda: found)())
        raise DataFileError(
            f"{path}: the price of {name!r} at data row {row + 1} is {what}; every price must be a "
            "number above 0: fill the gap or leave the rows out."
        )
    return prices


def _check_times(path: Path, column: pd.Series, minutes_per_row: int, *, gaps: bool) -> None:
    import pandas as pd

    try:
        if _is_numeric(column):
            raise ValueError("numbers say neither unit nor origin")
        parsed = pd.to_datetime(column, utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataFileError(
            f"{path}: the column {column.name!r} holds no times ({reason}); write them as "
            "2024-12-31 or 2024-12-31T23:59, or name another column."
        ) from error
    times = parsed.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    steps = np.diff(times)
    wrong = steps <= 0
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        raise DataFileError(
            f"{path}: data row {row + 1} ({column.iloc[row]}) is not later than the one before it; "
            "sort the rows by time and leave out repeated ones."
        )
    wrong = steps != minutes_per_row * 60 * 10**9
    if wrong.any() and not gaps:
        row = int(np.argmax(wrong)) + 1
        minutes = steps[row - 1] / 60e9
        raise DataFileError(
            f"{path}: data row {row + 1} ({column.iloc[row]}) comes {minutes:g} minutes after the "
            f"one before it, where rows are {minutes_per_row} minutes apart; fill the gap, say "
            "minutes_per_row, or days_per_year for a market that closes."
        )
