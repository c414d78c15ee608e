"""Which class loads an estimator: by its family, among the classes that this process has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from ax_jax_runners.errors import ConfigurationError

if TYPE_CHECKING:
    from ax_jax_runners.posterior.persistence.persistent import PersistentPosteriorEstimator

    Estimator = type[PersistentPosteriorEstimator]


def class_of_family(asked: Estimator, family: str) -> Estimator:
    """Return the class that loads a family: ``asked`` itself, or the one below it.

    Below it, a class counts when it can be made and names its ``estimator_family`` itself. Of two
    definitions of one class, as notebooks have them, the later one is taken. No module is imported
    because a file names it.

    Raises:
        ConfigurationError: ``asked`` is of another family, or no class or more than one is of it.
    """
    if not inspect.isabstract(asked) and asked.estimator_family == family:
        return asked
    known = dict(_named_below(asked))
    found = [each for each in known.values() if each.estimator_family == family]
    if not found:
        # The package's own classes are defined when their public names are first used.
        public = import_module("ax_jax_runners.posterior")
        for name in getattr(public, "__all__", ()):
            getattr(public, name)
        known = dict(_named_below(asked))
        found = [each for each in known.values() if each.estimator_family == family]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(sorted(f"{each.__module__}.{each.__qualname__}" for each in found))
        raise ConfigurationError(
            f"The family {family!r} is that of {names}; call load of the one that is meant."
        )
    if not inspect.isabstract(asked):
        raise ConfigurationError(
            f"The folder holds an estimator of the family {family!r}, and {asked.__qualname__} "
            f"loads {asked.estimator_family!r}; call PersistentPosteriorEstimator.load."
        )
    families = ", ".join(sorted({repr(each.estimator_family) for each in known.values()}))
    raise ConfigurationError(
        f"The folder holds an estimator of the family {family!r}; here are {families or 'none'}. "
        "Import the module that defines its class first."
    )


def _named_below(asked: Estimator) -> Iterator[tuple[str, Estimator]]:
    for each in asked.__subclasses__():
        if "estimator_family" in vars(each) and not inspect.isabstract(each):
            yield f"{each.__module__}.{each.__qualname__}", each
        yield from _named_below(each)
