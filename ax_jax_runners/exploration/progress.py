"""One live line about a long walk: iterations done, and the time that is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Takes the number of iterations done so far.
Report = Callable[[int], None]


@contextmanager
def reporting(total: int, particles: int, show: bool | None) -> Iterator[Report]:
    """Draw a progress bar on standard error while the block runs.

    Args:
        total: Iterations of every particle.
        particles: How many there are.
        show: Whether to draw; None: only on a terminal or in a notebook.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    visible = console.is_terminal or console.is_jupyter
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Remaining(),
        console=console,
        disable=not (visible if show is None else show),
    )
    named = f"{particles} particle{'s' if particles > 1 else ''}"
    task = bar.add_task(f"{named}, iterations", total=total)
    with bar:
        yield lambda done: bar.update(task, completed=done)
