"""Functions in storage: a reference and a digest are written, never code.

As with tasks, references resolve among the functions that the caller hands over, and no module is
ever imported because a database names it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation.fingerprint import Fingerprint
from ax_jax_runners.runners.binding import RunnerNotBound, RunnerTaskChanged

#: Under this name a `FunctionResolver` stands in the JSON decoder registry of a registry bundle.
FUNCTIONS = "ax_jax_runners.functions"


@dataclass(frozen=True)
class UnboundFunction:
    """A function known by name only: it can be shown and stored again, but not called.

    Attributes:
        reference: ``module:qualname``.
        digest: SHA-256 of its text and of what it closes over.
        changed: Whether a function of that reference was given, but is another one.
    """

    reference: str
    digest: str
    changed: bool = False

    def raise_unbound(self) -> NoReturn:
        """Say what to do.

        Raises:
            RunnerNotBound: The function was not given again.
            RunnerTaskChanged: It was given, but is no longer the same.
        """
        if self.changed:
            raise RunnerTaskChanged(
                f"The runtime function {self.reference!r} is no longer the one that this runner "
                "was stored with (its text or what it closes over changed); restore it, or accept "
                "the change (accept_changed=True)."
            )
        raise RunnerNotBound(
            f"The runtime function {self.reference!r} was not given again, so its runner cannot "
            "run; load with functions=[the function]."
        )


class FunctionResolver:
    """Finds the function of a stored runner among known ones."""

    def __init__(
        self, functions: Iterable[Callable[..., Any]] = (), *, accept_changed: bool = False
    ) -> None:
        """Keep the functions.

        Args:
            functions: Functions that stored runners may name.
            accept_changed: Whether a function of the same reference stands in for one that was
                another when it was stored.

        Raises:
            ConfigurationError: Something that is not a function.
        """
        self._functions = tuple(functions)
        self._accept_changed = accept_changed
        for function in self._functions:
            if not callable(function):
                raise ConfigurationError(
                    f"functions holds {function!r}, which is not a function; give the functions "
                    "of parameters that stored runners name."
                )

    def resolve(self, stored: Mapping[str, Any]) -> Callable[..., Any] | UnboundFunction:
        """Return the function of a record that `encode_function` wrote, or what stands for it.

        Raises:
            ConfigurationError: The record is damaged.
        """
        try:
            reference, digest = str(stored["function"]), str(stored["digest"])
        except KeyError as error:
            raise ConfigurationError(
                f"A stored runner names its runtime function as {dict(stored)!r}; a function and "
                "a digest were expected."
            ) from error
        found = [known for known in self._functions if _reference(known) == reference]
        for function in found:
            if _digest(function) == digest:
                return function
        if found and self._accept_changed and len(found) == 1:
            return found[0]
        return UnboundFunction(reference, digest, changed=bool(found))


def encode_function(function: Callable[..., Any] | UnboundFunction) -> dict[str, str]:
    """Return what is stored of a function."""
    if isinstance(function, UnboundFunction):
        return {"function": function.reference, "digest": function.digest}
    return {"function": _reference(function), "digest": _digest(function)}


def _reference(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    # jax.jit keeps the names of what it wraps.
    if not hasattr(function, "__qualname__"):
        function = type(function)
    return f"{function.__module__}:{function.__qualname__}"


def _digest(function: Any) -> str:
    fingerprint = Fingerprint()
    fingerprint.add(getattr(function, "__wrapped__", function))
    return fingerprint.hexdigest()
