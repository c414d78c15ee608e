"""Outputs of several windows side by side: train, validation and test of every measure."""

from __future__ import annotations

from collections.abc import Mapping

from ax_jax_runners.campaign.report.tables import Cell, paragraph, table

WINDOWS = ("train", "validation", "test")


def windows_text(outputs: Mapping[str, float]) -> str:
    """A table of the measures that were reported as ``<window>_<measure>``, a column a window.

    Empty where nothing was measured in train and another window.
    """
    measures: dict[str, dict[str, float]] = {}
    for name, value in outputs.items():
        window, _, measure = name.partition("_")
        if measure and window in WINDOWS:
            measures.setdefault(measure, {})[window] = value
    shown = {name: found for name, found in measures.items() if "train" in found and len(found) > 1}
    if not shown:
        return ""
    windows = [name for name in WINDOWS if any(name in found for found in shown.values())]
    rows: list[list[Cell]] = [
        [measure, *(found.get(window) for window in windows)] for measure, found in shown.items()
    ]
    text = "The measures of the best arm by window."
    if "test" in windows:
        text += " What the test window says is reported here; to choose by it would spoil it."
    return paragraph(text) + table(("measure", *windows), rows)
