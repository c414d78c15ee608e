"""Ranges of parameters, seed points and folder names, read from what a user gives."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from ax_jax_runners.errors import ConfigurationError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")
_LONGEST_NAME = 120


@dataclass(frozen=True, eq=False)
class Ranges:
    """Names, lower and upper ends of all parameters, in declared order.

    Attributes:
        names: All parameters.
        lower: (n,) float64, physical units.
        upper: (n,) float64, physical units.
    """

    names: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def read(cls, frame: pd.DataFrame) -> Ranges:
        """Read a table with a row per parameter and columns ``min`` and ``max``.

        ``min_`` and ``max_`` are read as well.

        Raises:
            ParameterError: A missing column, a name that is no text or comes twice, or an end that
                is no finite number.
        """
        names = tuple(frame.index)
        if not names or len(set(names)) < len(names) or not all(isinstance(n, str) for n in names):
            raise ParameterError(
                f"param_ranges has the index {list(names)}; give each parameter one row and a name."
            )
        lower, upper = (
            _numbers(_column(frame, end), names, f"param_ranges column {end!r}")
            for end in ("min", "max")
        )
        return cls(names, lower, upper)

    def indices(self, names: Iterable[str], role: str) -> list[int]:
        """Return where ``names`` stand, each of them with a range of positive width.

        Raises:
            ParameterError: An unknown or doubled name, or an empty range.
        """
        names = list(names)
        unknown = [name for name in names if name not in self.names]
        if unknown or len(set(names)) < len(names) or not names:
            found = f"{unknown[0]!r}" if unknown else "a name twice" if names else "nothing"
            raise ParameterError(
                f"{role} holds {found}; choose each once among the rows of param_ranges: "
                f"{', '.join(self.names)}."
            )
        places = [self.names.index(name) for name in names]
        for place in places:
            if not self.lower[place] < self.upper[place]:
                raise ParameterError(
                    f"Parameter {self.names[place]!r}: min {self.lower[place]} is not below max "
                    f"{self.upper[place]} in param_ranges; widen the range, or leave the parameter "
                    "out of params_to_explore."
                )
        return places

    def ends(self, p: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Return lower and upper ends of the parameters of a Series, by name.

        Raises:
            ParameterError: No Series, or a name that is unknown.
        """
        import pandas as pd

        if not isinstance(p, pd.Series) or not set(p.index) <= set(self.names):
            raise ParameterError(
                f"Parameters came as {p!r}; give a pandas Series with names among "
                f"{', '.join(self.names)}."
            )
        places = [self.names.index(name) for name in p.index]
        return pd.Series(self.lower[places], p.index), pd.Series(self.upper[places], p.index)

    def normalize(self, values: np.ndarray, places: list[int]) -> np.ndarray:
        """Return the unit coordinates of parameters, (k,) from (k,)."""
        return (values - self.lower[places]) / (self.upper[places] - self.lower[places])


def read_seed_point(frame: pd.DataFrame, chosen: Any, ranges: Ranges) -> np.ndarray:
    """Return all parameters of one row, (n,) float64 in the order of the ranges.

    A whole number is a position, as in the original. One that is no position is a label where no
    label of the index is a position, and anything else is always a label.

    Raises:
        ConfigurationError: No such row, or more than one.
        ParameterError: A parameter that has no column, or no finite number in the row.
    """
    missing = [name for name in ranges.names if name not in frame.columns]
    if missing:
        raise ParameterError(f"df_seeds has no column {missing[0]!r}; each parameter needs one.")
    rows = [place for place, label in enumerate(frame.index) if _same(label, chosen)]
    if is_whole(chosen):
        positions = range(len(frame))
        if chosen in positions:
            rows = [int(chosen)]
        elif any(label in positions for label in frame.index if is_whole(label)):
            rows = []
    if len(rows) != 1:
        raise ConfigurationError(
            f"selected_seedpoint {chosen!r} names {len(rows)} rows of df_seeds, which has "
            f"{len(frame)}; give a position from 0, or a label that the index holds once."
        )
    row = frame[list(ranges.names)].iloc[rows[0]]
    return _numbers(row, ranges.names, f"Seed point {chosen!r}")


def folder_name(label: Any) -> str:
    """Return a name for ``label`` that is one folder below its parent, whatever the label is."""
    text = str(label)
    if _PLAIN_NAME.match(text) and len(text) <= _LONGEST_NAME:
        return text
    # A leading dot or underscore hides a file from readers of whole folders.
    escaped = quote(text, safe="", errors="surrogatepass").replace(".", "%2E")
    if not escaped or len(escaped) > _LONGEST_NAME:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        escaped = f"{escaped[:40]}%-{digest[:32]}"
    return escaped


def aim_values(aims: Mapping[str, Any] | None) -> dict[str, float]:
    """Return aims as numbers by name.

    Raises:
        ParameterError: One of them is no finite number.
    """
    names = tuple(aims or {})
    values = _numbers([(aims or {})[name] for name in names], names, "aim_params")
    return dict(zip(names, values.tolist(), strict=True))


def _column(frame: pd.DataFrame, end: str) -> Any:
    for name in (end, f"{end}_"):
        if name in frame.columns:
            return frame[name]
    raise ParameterError(
        f"param_ranges has the columns {list(frame.columns)}; give each parameter its ends in "
        "'min' and 'max'."
    )


def _numbers(values: Any, names: Iterable[str], where: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{where} does not hold numbers only ({error}).") from error
    for name, number in zip(names, numbers, strict=True):
        if not np.isfinite(number):
            raise ParameterError(f"{where}: {name!r} is {number}; give a finite number.")
    return numbers


def is_whole(value: Any) -> bool:
    """Whether a label is a whole number."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _same(label: Any, chosen: Any) -> bool:
    return is_whole(label) == is_whole(chosen) and bool(label == chosen)
