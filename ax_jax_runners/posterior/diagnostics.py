"""What is shown of a training while it runs: a bar on the terminal, pictures in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ax_jax_runners.files import write_atomically
from ax_jax_runners.posterior.configuration import DiagnosticsConfiguration
from ax_jax_runners.posterior.training.history import COLUMNS
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings


class EpochReporter:
    """Called after every epoch of a training of one arm; a context while it runs."""

    def __init__(
        self,
        configuration: DiagnosticsConfiguration,
        settings: Settings,
        on_epoch: Callable[[TrainingState], None] | None = None,
        progress: bool = False,
    ) -> None:
        """Keep what is needed; nothing is shown yet.

        Args:
            configuration: Where pictures go, if anywhere.
            settings: Of the training.
            on_epoch: Called first.
            progress: Whether to show a bar.
        """
        self._configuration = configuration
        self._epochs = settings.optimiser.epochs
        self._on_epoch = on_epoch
        self._progress = progress
        self._stack = ExitStack()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._progress:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            columns = (
                TextColumn("epoch"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
            )
            shown = self._stack.enter_context(Progress(*columns))
            self._bar = shown, shown.add_task("compiling", total=self._epochs)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def __call__(self, state: TrainingState) -> None:
        epoch = int(state.epoch[0])
        if self._on_epoch is not None:
            self._on_epoch(state)
        if self._bar is not None:
            shown, task = self._bar
            loss = float(state.column("validation_loss")[-1])
            told = f"validation loss {loss:.3f}, best {state.best_loss[0]:.3f}"
            shown.update(task, completed=epoch, description=told)
        folder = self._configuration.directory
        if folder is not None and epoch % self._configuration.interval == 0:
            self._draw(state, epoch, Path(folder))

    def _draw(self, state: TrainingState, epoch: int, folder: Path) -> None:
        from ax_jax_runners.posterior.plots import plot_losses

        history = {name: state.column(name).tolist() for name in COLUMNS}
        history["epoch"] = list(range(1, epoch + 1))
        folder.mkdir(parents=True, exist_ok=True)
        figure = plot_losses(history, kept_epoch=int(state.best_epoch[0]) or None)
        page = figure.to_html(include_plotlyjs="directory")
        script = folder / "plotly.min.js"
        if not script.exists():
            from plotly.offline import get_plotlyjs

            write_atomically(script, get_plotlyjs().encode())
        write_atomically(folder / f"epoch-{epoch:05d}.html", page.encode())
        last = {name: values[-1] for name, values in history.items()}
        write_atomically(folder / f"epoch-{epoch:05d}.json", json.dumps(last, indent=1).encode())
