"""The side of sbi: its default neural spline flow, trained and asked as its documentation does."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import torch
from sbi.inference import NPE
from sbi.utils import BoxUniform

from posterior_peers.measuring import now
from posterior_peers.own import BATCH, HELD_BACK, Moons, moons


class Untracked:
    """Takes what sbi would write to TensorBoard files."""

    log_dir = None

    def log_metric(self, *_: Any, **__: Any) -> None:
        """Forget it."""

    log_metrics = log_params = add_figure = flush = log_metric


class GivenRows(NPE):
    """sbi's estimator with the benchmark's own rows held back, and a clock."""

    def __init__(self, data: Moons) -> None:
        """Take the data; one torch thread."""
        torch.set_num_threads(1)
        torch.manual_seed(0)
        warnings.filterwarnings("ignore", module="sbi")
        super().__init__(
            BoxUniform(low=-torch.ones(2), high=torch.ones(2)),
            density_estimator="nsf",
            show_progress_bars=False,
            tracker=Untracked(),
        )
        self.theta, self.x = (torch.tensor(a, dtype=torch.float32) for a in (data.theta, data.x))
        #: (CPU seconds, wall seconds, validation loss) after every epoch, from `begun`.
        self.curve: list[tuple[float, float, float]] = []
        self.begun = now()
        self.append_simulations(self.theta, self.x)

    def get_dataloaders(
        self,
        starting_round: int = 0,
        training_batch_size: int = BATCH,
        validation_fraction: float = 0.1,
        resume_training: bool = False,
        dataloader_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Hold back the last rows, as if the first call resumed with them."""
        rows = torch.arange(len(self.theta))
        self.train_indices, self.val_indices = rows[:-HELD_BACK], rows[-HELD_BACK:]
        return super().get_dataloaders(
            starting_round, training_batch_size, validation_fraction, True, dataloader_kwargs
        )

    def _summarize_epoch(
        self,
        train_loss: float,
        val_loss: float,
        epoch_start_time: float,
        summarization_kwargs: dict[str, Any],
    ) -> None:
        super()._summarize_epoch(train_loss, val_loss, epoch_start_time, summarization_kwargs)
        taken = now() - self.begun
        self.curve.append((taken.cpu, taken.wall, val_loss))

    def learn(self, last_epoch: int = 2**31 - 1, *, again: bool = False) -> None:
        """Train with sbi's defaults until it stops by itself, or through an epoch from 0."""
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            self.train(training_batch_size=BATCH, max_num_epochs=last_epoch, resume_training=again)

    def go_on(self) -> None:
        """Train one epoch more; the first time two, since sbi trains no less."""
        self.learn(last_epoch=max(1, len(self.curve)), again=bool(self.curve))

    @property
    def parameters(self) -> int:
        """Weights that are trained."""
        return sum(weight.numel() for weight in self.density.parameters() if weight.requires_grad)

    @property
    def density(self) -> Any:
        """The network with the weights that are kept."""
        return self._neural_net

    def validation_loss(self) -> float:
        """Return minus the mean log density of the validation rows' parameters."""
        rows = self.theta[-HELD_BACK:][None], self.x[-HELD_BACK:]
        with torch.no_grad():
            return -float(self.density.log_prob(*rows).mean())


def sbi_fit(last_epoch: int | None) -> dict[str, Any]:
    """Train until sbi stops by itself or through an epoch, for a fresh process."""
    peer = GivenRows(moons())
    peer.begun = now()
    peer.learn(last_epoch or 2**31 - 1)
    taken = now() - peer.begun
    losses = np.array([loss for _, _, loss in peer.curve])
    return {
        "cpu": taken.cpu,
        "wall": taken.wall,
        "epochs": len(losses),
        "best_epoch": int(losses.argmin()) + 1,
        "loss": peer.validation_loss(),
        "own_loss": float(losses.min()),
        "parameters": peer.parameters,
    }
