"""What a finished arm leaves behind, and how a longer trial begins with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ax_jax_runners.errors import ConfigurationError

#: Where the names of what only an extension needs begin.
_RESUME = "resume."


def kept_arrays(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays that are kept of a finished arm's state.

    ``unit_states`` (rows, particles, k) and ``violations`` (rows, particles) are for everyone.
    """
    rest = {name: leaf for name, leaf in state.items() if name not in ("unit", "violation")}
    return {
        "unit_states": np.moveaxis(state["unit"], 1, -1),
        "violations": state["violation"],
        **{f"{_RESUME}{name}": leaf for name, leaf in rest.items()},
    }


def resumed_state(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state of which `kept_arrays` gave these arrays, before its first slice.

    Raises:
        ConfigurationError: Arrays of something else.
    """
    missing = [
        name
        for name in ("unit_states", "violations", f"{_RESUME}arm", f"{_RESUME}slice")
        if name not in arrays
    ]
    if missing:
        raise ConfigurationError(
            f"The arrays lack {', '.join(missing)}; give all arrays that a finished arm of a "
            "random-walk task kept."
        )
    rest = {
        name.removeprefix(_RESUME): np.asarray(leaf)
        for name, leaf in arrays.items()
        if name.startswith(_RESUME)
    }
    return {
        **rest,
        "unit": np.moveaxis(np.asarray(arrays["unit_states"]), -1, 1),
        "violation": np.asarray(arrays["violations"]),
        "slice": np.asarray(0, np.int32),
    }


def with_rows(state: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """Return a state that has room for so many recorded states, at least those that it has."""

    def longer(leaf: np.ndarray) -> np.ndarray:
        blank = np.full((rows - len(leaf), *leaf.shape[1:]), np.nan, leaf.dtype)
        return np.concatenate([leaf, blank])

    return {**state, "unit": longer(state["unit"]), "violation": longer(state["violation"])}
