"""Write a campaign's table to a file, every float64 exactly."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from ax_jax_runners.campaign.campaign import Campaign


def export_campaign(campaign: Campaign, path: str | Path) -> Path:
    """Write one row an arm: `Campaign.to_frame`, and a column ``<output>_sem`` for each output.

    Args:
        campaign: An open campaign.
        path: A file that ends in .parquet, .csv or .json; it is replaced in one step.

    Returns:
        The file.

    Raises:
        ConfigurationError: Another ending, or a folder that does not exist.
    """
    path = Path(path)
    write = check_target(path)
    write_atomically(path, write(export_frame(campaign)))
    return path


def check_target(path: Path) -> Callable[[pd.DataFrame], bytes]:
    """The writer for a file's ending.

    Raises:
        ConfigurationError: Another ending, or a folder that does not exist.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise ConfigurationError(
            f"Export file {str(path)!r} {found}; use one of {', '.join(_WRITERS)}."
        )
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"Export file {str(path)!r}: folder {str(path.parent)!r} does not exist; create it."
        )
    return writer


def export_frame(campaign: Campaign) -> pd.DataFrame:
    """The table of `Campaign.to_frame` with the standard errors behind it."""
    import pandas as pd

    from ax_jax_runners.campaign.recorder import arm_outcomes

    frame = campaign.to_frame()
    sems: dict[str, list[float]] = {f"{name}_sem": [] for name in campaign.outputs}
    for index, arm in zip(frame["trial_index"], frame["arm_name"], strict=True):
        outcome = arm_outcomes(campaign.experiment.trials[int(index)]).get(arm, {})
        recorded = {} if outcome.get("status") == "failed" else outcome.get("outputs", {})
        for name in campaign.outputs:
            sem = recorded.get(name, (None, None))[1]
            sems[f"{name}_sem"].append(math.nan if sem is None else sem)
    columns = {name: pd.Series(values, dtype="float64") for name, values in sems.items()}
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def _parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    return stream.getvalue()


def _csv(frame: pd.DataFrame) -> bytes:
    # pandas writes the shortest text that reads back as the same float64.
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _json(frame: pd.DataFrame) -> bytes:
    rows = [
        {name: _plain(value) for name, value in zip(frame.columns, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]
    return (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


_WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".json": _json,
}
