"""One live line about a long simulation: rows done, and the time that is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def reporting(total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """Draw a progress bar on standard error while the block runs.

    Args:
        total: Rows.
        show: Whether to draw.

    Yields:
        A function that takes the number of rows done so far.
    """
    if not show:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    bar = Progress(
        TextColumn("[bold]simulations"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Remaining(),
        console=Console(stderr=True),
    )
    task = bar.add_task("simulations", total=total)
    with bar:
        yield lambda done: bar.update(task, completed=done)
