"""The ways to choose by name: objective, train and test objective, overall or of the last row."""

from __future__ import annotations

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.store.selection import AtLeast, Selection

OBJECTIVE, TRAIN, TEST = "objective", "train_objective", "test_objective"

NAMES = (
    "last",
    "best_objective",
    "best_train_objective",
    "best_train_objective_for_each_parameter_set",
    "best_test_objective",
    "best_objective_of_last",
    "best_train_objective_of_last",
    "best_test_objective_of_last",
    "best_train_min_test_objective",
    "best_test_min_train_objective",
)
"""Every name that there is."""

_WINDOWS = {OBJECTIVE: None, TRAIN: "train", TEST: "test"}


def named_selection(
    name: str, *, metric: str | None = None, minimum: float = 0.0, test_window: str = "test"
) -> Selection:
    """Return the selection of a name.

    Args:
        name: One of `NAMES`.
        metric: Where observations hold several metrics in windows "train" and "test": the one to
            choose by. None: the metrics are called ``objective``, ``train_objective`` and
            ``test_objective``, and have no windows.
        minimum: The least test objective of ``best_train_min_test_objective``, and the least train
            objective of ``best_test_min_train_objective``.
        test_window: The window that stands for the test, where ``metric`` is given.

    Raises:
        ConfigurationError: There is no such name.
    """

    def place(objective: str) -> tuple[str, str | None]:
        if metric is None:
            return objective, None
        return metric, test_window if objective == TEST else _WINDOWS[objective]

    if name not in NAMES:
        raise ConfigurationError(
            f"There is no selection {name!r}; the names are {', '.join(NAMES)}, or give a "
            "Selection."
        )
    if name == "last":
        return Selection(last=True)
    if name == "best_train_min_test_objective":
        kept = AtLeast(place(TEST)[0], minimum, place(TEST)[1])
        return Selection(*place(TRAIN), subject_to=[kept])
    if name == "best_test_min_train_objective":
        kept = AtLeast(place(TRAIN)[0], minimum, place(TRAIN)[1])
        return Selection(*place(TEST), subject_to=[kept])
    objective, _, rest = name.removeprefix("best_").partition("objective")
    of_each = rest == "_for_each_parameter_set"
    return Selection(
        *place(f"{objective}objective"),
        per="set" if of_each else None,
        last=rest == "_of_last",
    )
