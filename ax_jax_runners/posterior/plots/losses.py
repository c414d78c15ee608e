"""Losses of a training against epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.figures import AXIS, BLUE, GREY, VERMILION, style_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LINES = (("train_loss", "training", BLUE), ("validation_loss", "validation", VERMILION))


def plot_losses(history: Mapping[str, Any], *, kept_epoch: float | None = None) -> go.Figure:
    """Draw training and validation loss against epochs, with the epoch whose weights were kept.

    Args:
        history: That of `TrainingArtifacts`: "epoch", "train_loss" and "validation_loss", one
            entry for each epoch; a loss that is None or not finite leaves a gap.
        kept_epoch: One of ``history["epoch"]``; None: the one with the lowest validation loss.

    Raises:
        ConfigurationError: A missing quantity, lists of different length, or an epoch that is not
            among them.
    """
    import plotly.graph_objects as go

    wanted = ("epoch", *(name for name, _, _ in _LINES))
    missing = [name for name in wanted if name not in history]
    if missing:
        raise ConfigurationError(
            f"The history lacks {', '.join(missing)}; it holds {', '.join(history) or 'nothing'}."
        )
    columns = {name: np.array(list(history[name]), dtype=np.float64) for name in wanted}
    epochs = columns["epoch"]
    lengths = {name: len(column) for name, column in columns.items()}
    if not len(epochs) or len(set(lengths.values())) > 1:
        raise ConfigurationError(f"The history has the lengths {lengths}; give an entry an epoch.")
    validation = np.where(
        np.isfinite(columns["validation_loss"]), columns["validation_loss"], np.inf
    )
    place = int(validation.argmin())
    if kept_epoch is not None:
        found = np.flatnonzero(epochs == kept_epoch)
        if not len(found):
            raise ConfigurationError(
                f"Epoch {kept_epoch} was kept, but the history has {epochs[0]:g} to {epochs[-1]:g}."
            )
        place = int(found[0])
    figure = go.Figure()
    for name, label, color in _LINES:
        values = np.where(np.isfinite(columns[name]), columns[name], np.nan)
        figure.add_trace(
            go.Scatter(
                x=epochs,
                y=values,
                mode="lines" if len(epochs) > 1 else "markers",
                name=label,
                line={"color": color, "width": 1.8},
            )
        )
    subtitle = f"{len(epochs):,} epochs; no validation loss is finite"
    if np.isfinite(validation[place]):
        kept, loss = float(epochs[place]), float(validation[place])
        figure.add_vline(x=kept, line={"color": GREY, "width": 1.2, "dash": "dash"})
        figure.add_trace(
            go.Scatter(
                x=[kept],
                y=[loss],
                mode="markers",
                name="kept",
                marker={"color": GREY, "size": 10, "symbol": "diamond"},
            )
        )
        subtitle = f"{len(epochs):,} epochs; kept: epoch {kept:g}, validation loss {loss:.4g}"
    style_figure(figure, "Losses", subtitle, height=440, width=860)
    figure.update_layout(
        xaxis={**AXIS, "title": "epoch"},
        yaxis={**AXIS, "title": "loss (nats a row)"},
        legend={"x": 1.0, "y": 1.0, "xanchor": "right", "yanchor": "top"},
        showlegend=True,
    )
    return figure
