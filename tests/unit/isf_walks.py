"""Regions, tables and a reference walk for the tests of RW."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ax_jax_runners.exploration.isf import RW

LOWER, WIDTH = -2.0, 8.0


def names_of(dimension: int) -> list[str]:
    return [f"g{i}" for i in range(dimension)]


def ranges_of(dimension: int) -> pd.DataFrame:
    lower = LOWER + 0.37 * np.arange(dimension)
    upper = lower + WIDTH + 0.11 * np.arange(dimension)
    return pd.DataFrame({"min": lower, "max": upper}, index=names_of(dimension))


def seeds_at(*rows: Sequence[float]) -> pd.DataFrame:
    """Seed points given in the unit box."""
    unit = np.array(rows, dtype=float)
    table = ranges_of(unit.shape[1])
    low, high = table["min"].to_numpy(), table["max"].to_numpy()
    return pd.DataFrame(low + unit * (high - low), columns=table.index)


def ball(radius: float, dimension: int) -> Callable[[pd.Series], tuple[bool, dict[str, float]]]:
    """Inside a ball about the middle of the box."""
    table = ranges_of(dimension)

    def evaluate(p: pd.Series) -> tuple[bool, dict[str, float]]:
        unit = (p[table.index] - table["min"]) / (table["max"] - table["min"])
        distance = float(np.linalg.norm(unit.to_numpy() - 0.5))
        return distance <= radius, {"distance": distance}

    return evaluate


def everything(p: pd.Series) -> tuple[bool, dict[str, float]]:
    return True, {}


def rows_of(folder: Path) -> pd.DataFrame:
    """All rows of a particle, in order, read as a user would."""
    paths = [p for p in Path(folder).iterdir() if p.name[0].isdigit()]
    parts = []
    for path in sorted(paths, key=lambda p: int(p.stem)):
        if path.suffix == ".parquet":
            parts.append(pd.read_parquet(path))
        else:
            with np.load(path) as arrays:
                columns = arrays["__columns__"].tolist()
                parts.append(pd.DataFrame({c: arrays[c] for c in columns}))
    return pd.concat(parts, ignore_index=True)


def reference(
    seed: int,
    start: Sequence[float],
    inside: Callable[[np.ndarray], bool],
    n: int,
    *,
    steps: tuple[float, float] = (0.0, 0.02),
    expand: bool = False,
    aims: Mapping[int, tuple[float, int]] | None = None,
    most: int = 10_000,
) -> list[tuple[np.ndarray, bool, int]]:
    """The law in a few lines: (point in the unit box, inside, suggestions) of each iteration.

    Aims are (value in the unit box, sign of the way from the seed point) by coordinate.
    """
    stream = np.random.RandomState(seed)
    origin = np.array(start, dtype=float)
    here, out = origin.copy(), []

    def length(v: np.ndarray) -> Any:
        total = 0.0
        for x in v.tolist():
            total += x * x
        return math.sqrt(total)

    def there(z: np.ndarray) -> list[bool]:
        return [math.isclose(z[i], t, abs_tol=1e-4) for i, (t, _) in (aims or {}).items()]

    done = there(here)
    while len(out) < n:
        for suggestion in range(1, most + 1):  # noqa: B007
            step = stream.randn(len(origin))
            for (i, (_, sign)), frozen in zip((aims or {}).items(), done, strict=True):
                step[i] = 0.0 if frozen else sign * abs(step[i])
            size = stream.rand() * (steps[1] - steps[0]) + steps[0]
            if not step.any():
                continue
            there_to = here + step / length(step) * size
            ok = bool(((there_to >= 0) & (there_to <= 1)).all())
            if expand:
                ok &= length(there_to - origin) - length(here - origin) > 0
            for (i, (t, _)), frozen in zip((aims or {}).items(), done, strict=True):
                ok &= frozen or abs(there_to[i] - t) < abs(here[i] - t)
            if ok:
                break
        else:
            return out
        good = inside(there_to)
        out.append((there_to, good, suggestion))
        if good:
            here, done = there_to, there(there_to)
    return out


def check_replay(
    frame: pd.DataFrame, walk: Sequence[tuple[np.ndarray, bool, int]], explored: Sequence[str]
) -> None:
    """Assert that saved rows are a reference walk, bit for bit."""
    assert len(frame) == len(walk) + 1
    assert math.isnan(frame["n_suggestion"][0])
    assert frame["inside"][0]
    assert frame["iteration"].tolist() == list(range(len(frame)))
    table = ranges_of(sum(c.startswith("g") for c in frame.columns)).loc[list(explored)]
    low, high = table["min"].to_numpy(), table["max"].to_numpy()
    physical = np.array([z for z, _, _ in walk]) * (high - low) + low
    np.testing.assert_array_equal(frame[list(explored)].to_numpy()[1:], physical)
    assert frame["inside"].tolist()[1:] == [good for _, good, _ in walk]
    assert frame["n_suggestion"].tolist()[1:] == [float(n) for _, _, n in walk]


def walk_of(dimension: int, folder: Path, **settings: Any) -> RW:
    """An RW in the box of `ranges_of`, from its middle, inside a ball, if nothing else is given."""
    given = {
        "df_seeds": seeds_at([0.5] * dimension),
        "param_ranges": ranges_of(dimension),
        "params_to_explore": None,
        "evaluation_function": ball(0.3, dimension),
        "MAIN_DIRECTORY": folder,
        "n_iterations": 60,
        "checkpoint_every": 20,
    }
    return RW(**{**given, **settings})
