"""Range of the parameters against iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.diagnostics.arrays import as_states
from ax_jax_runners.exploration.diagnostics.extent import explored_range
from ax_jax_runners.figures import AXIS, COLORS, DASHES, plain, style_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_POINTS = 1000


def plot_range(states_unit: ArrayLike, names: Sequence[str]) -> go.Figure:
    """The explored range of each parameter, over all particles, against iteration.

    Args:
        states_unit: chain states (iterations, particles, k), coordinates of the unit box.
        names: of the k parameters.

    Raises:
        ConfigurationError: arrays and names that do not fit together.
    """
    import plotly.graph_objects as go

    states = as_states(states_unit)
    if len(names) != states.shape[2]:
        raise ConfigurationError(
            f"{len(names)} names for {states.shape[2]} parameters; give a name for each."
        )
    running = explored_range(states)
    shown = np.unique(np.linspace(0, len(running) - 1, _MOST_POINTS).round().astype(np.int64))
    figure = go.Figure()
    # The legend is read from above like the lines' ends.
    for place, i in enumerate(np.argsort(-running[-1], kind="stable")):
        line = {
            "color": COLORS[place % len(COLORS)],
            "dash": DASHES[place // len(COLORS) % len(DASHES)],
            "shape": "hv",
            "width": 1.8,
        }
        figure.add_trace(
            go.Scatter(
                x=shown + 1, y=running[shown, i], mode="lines", name=plain(names[int(i)]), line=line
            )
        )
    style_figure(
        figure,
        "Explored range",
        f"largest minus smallest value of {states.shape[1]:,} particles so far",
        height=440,
        width=860,
    )
    figure.update_layout(
        xaxis={**AXIS, "title": "iteration"},
        yaxis={**AXIS, "title": "range (share of the search box)", "range": [0, 1.02]},
        legend={"x": 1.01, "y": 1.0, "yanchor": "top", "font": {"size": 11}},
        showlegend=True,
    )
    return figure
