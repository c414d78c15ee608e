"""What is known of every epoch, and how a training ends."""

from __future__ import annotations

from enum import IntEnum

#: Losses in nats a row. "validation_loss" is what epochs are compared by; "validation_nll" is
#: minus the log density of the true parameters in physical units, "validation_sem" its standard
#: error. "skipped_steps" had a gradient that was not finite. "sound" is 1 where weights may be
#: kept.
COLUMNS = (
    "train_loss",
    "validation_loss",
    "validation_nll",
    "validation_sem",
    "learning_rate",
    "gradient_norm",
    "skipped_steps",
    "inverse_error",
    "log_det_closure",
    "edge_hit_rate",
    "sound",
)


class Ending(IntEnum):
    """Why an arm does not go on."""

    NONE = 0
    EPOCHS = 1
    PATIENCE = 2
    DIVERGED = 3

    @property
    def label(self) -> str:
        """As it is reported."""
        return {0: "running", 1: "epochs", 2: "patience", 3: "diverged"}[int(self)]
