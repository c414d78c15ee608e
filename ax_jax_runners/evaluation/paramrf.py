"""Any ParamRF model as a feature evaluator: its free parameters, priors and RF features.

ParamRF (``paramrf``, imported as ``pmrf``) is optional and imported on first use. Its import turns
float64 on and one thread per library, for the whole process; this module puts both back when it is
the first to import it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.errors import EvaluationError, ParameterError
from ax_jax_runners.evaluation.evaluator import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CONVERTED = re.compile(r"(?P<path>(?:.*\.)?)(?P<base>[a-zA-Z]+(?:\d\d)?)_(?!gamma|tau)\w+")


@contextlib.contextmanager
def _settings_kept() -> Iterator[None]:
    """Put JAX's precision, the environment and the thread pools back afterwards."""
    precision = jax.config.read("jax_enable_x64")
    environment = {name: os.environ.get(name) for name in _THREADS}
    pools = []
    with contextlib.suppress(ImportError):
        from threadpoolctl import ThreadpoolController

        found = ThreadpoolController().lib_controllers
        pools = [(library, library.num_threads) for library in found]
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", precision)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for library, threads in pools:
            library.set_num_threads(threads)


def _paramrf() -> Any:
    if "pmrf" in sys.modules:
        return sys.modules["pmrf"]
    with _settings_kept():
        try:
            import pmrf
        except ImportError as error:
            raise EvaluationError(
                f"ParamRF cannot be imported ({error}); install it with "
                f"'pip install ax-jax-runners[paramrf]'."
            ) from error
    return pmrf


def _element_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """Name every element of an array-valued parameter, in C order."""
    return [f"{name}[{','.join(map(str, index))}]" for index in np.ndindex(*shape)]


@dataclass(frozen=True, eq=False)
class ParamRFSimulator:
    """A simulator: named declared values to RF features.

    A row whose parameters leave their constraints, or whose response is not finite, holds NaN in
    every feature: ParamRF alone would turn NaN into -100 dB.

    Attributes:
        model: a ``pmrf.Model``.
        frequency: a ``pmrf.Frequency``.
        features: label to an alias (``"s11_db"``, ``"amplifier.y21"``) or to a function of (model,
            frequency); the label None stands for a bare array.
        shapes: names of the free ParamRF parameters and the shape of each.
    """

    model: Any = field(repr=False)
    frequency: Any
    features: tuple[tuple[str | None, Any], ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Evaluate the features of one set of values; traceable."""
        pmrf = _paramrf()
        declared = {}
        for name, shape in self.shapes:
            if shape:
                parts = [values[element] for element in _element_names(name, shape)]
                declared[name] = jnp.stack(parts).reshape(shape)
            else:
                declared[name] = values[name]
        trial = pmrf.update(self.model, declared, on_invalid="nan")
        # A value outside its constraint is NaN now, which a model need not pass on.
        inside = [jnp.all(jnp.isfinite(pmrf.values(trial, name)[name])) for name in declared]
        allowed = jnp.all(jnp.stack(inside))
        model = pmrf.unwrap(trial)
        found = {
            label: jax.tree.map(
                lambda leaf: jnp.where(allowed, leaf, jnp.nan), self._feature(feature, model)
            )
            for label, feature in self.features
        }
        return found[None] if None in found else found

    def _feature(self, feature: Any, model: Any) -> Any:
        if not isinstance(feature, str):
            return feature(model, self.frequency)
        from pmrf.objectives import Feature

        values = Feature(feature)(model, self.frequency)
        converted = _CONVERTED.fullmatch(feature)
        if converted is None:
            return values
        response = Feature(converted["path"] + converted["base"])(model, self.frequency)
        # A conversion maps NaN to -100 dB and infinity to a large number: the response decides.
        return jnp.where(jnp.all(jnp.isfinite(response)), values, jnp.nan)


def _labelled(features: Any) -> tuple[tuple[str | None, Any], ...]:
    if isinstance(features, str) or callable(features):
        return ((None, features),)
    if isinstance(features, Mapping):
        pairs = tuple(features.items())
    elif isinstance(features, Sequence):
        pairs = tuple((feature, feature) for feature in features)
    else:
        pairs = ()
    wrong = [pair for pair in pairs if not isinstance(pair[0], str)]
    if not pairs or wrong:
        raise EvaluationError(
            f"features is {features!r}; give an alias such as 's11', a list of aliases, a dict of "
            f"aliases or functions, or a function of (model, frequency)."
        )
    return pairs


def _element(distribution: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Take the distribution of one element of an array-valued parameter."""
    if not shape:
        return distribution
    return jax.tree.map(
        lambda leaf: leaf[index] if getattr(leaf, "shape", None) == shape else leaf, distribution
    )


def _numbers(distribution: Any, *names: str) -> list[float]:
    return [float(np.asarray(getattr(distribution, name))) for name in names]


def _with_prior(name: str, distribution: Any) -> Parameter:
    """Turn a distreqx distribution of one scalar into a parameter with a numpyro prior."""
    import numpyro.distributions as priors

    kind = type(distribution).__name__
    if kind == "Uniform":
        low, high = _numbers(distribution, "low", "high")
        return Parameter(name, priors.Uniform(low, high))
    if kind == "Normal":
        return Parameter(name, priors.Normal(*_numbers(distribution, "loc", "scale")))
    if kind == "TruncatedNormal":
        loc, scale, low, high = _numbers(distribution, "loc", "scale", "low", "high")
        bounds: dict[str, Any] = {}
        if np.isfinite(low):
            bounds["lower"] = low
        if np.isfinite(high):
            bounds["upper"] = high
        return Parameter(name, priors.Normal(loc, scale), **bounds)
    if kind == "LogNormal":
        return Parameter(name, priors.LogNormal(*_numbers(distribution, "loc", "scale")))
    if kind in ("Gamma", "Beta"):
        first, second = ("concentration", "rate") if kind == "Gamma" else ("alpha", "beta")
        return Parameter(name, getattr(priors, kind)(*_numbers(distribution, first, second)))
    if kind in ("Laplace", "Logistic", "Gumbel"):
        return Parameter(name, getattr(priors, kind)(*_numbers(distribution, "loc", "scale")))
    raise ParameterError(
        f"Parameter {name!r}: the prior {kind} of this ParamRF model has no counterpart; use "
        f"Uniform, Normal, TruncatedNormal, LogNormal, Gamma, Beta, Laplace, Logistic or Gumbel."
    )


def _scalars(name: str, parameter: Any) -> list[Parameter]:
    """Turn one ParamRF parameter into one parameter per element."""
    pmrf = _paramrf()
    shape = tuple(np.shape(parameter.value))
    names = _element_names(name, shape) if shape else [name]
    distribution, bounds = parameter.distribution, parameter.bounds
    if distribution is None and bounds is None:
        raise ParameterError(
            f"Parameter {name!r} of the ParamRF model has neither bounds nor a prior; use "
            f"pmrf.Bounded or pmrf.Random, or fix it."
        )
    found = []
    for element, index in zip(names, np.ndindex(*shape), strict=True):
        if distribution is not None:
            whole = pmrf.unwrap(distribution)
            found.append(_with_prior(element, _element(whole, index, shape)))
            continue
        low, high = (float(np.broadcast_to(np.asarray(bound), shape)[index]) for bound in bounds)
        found.append(Parameter(element, lower=low, upper=high))
    return found


def _check_independent(model: Any) -> None:
    from pmrf.modules import Probabilistic

    def joint(node: Any) -> bool:
        return isinstance(node, Probabilistic)

    if any(joint(node) for node in jax.tree.leaves(model, is_leaf=joint)):
        raise ParameterError(
            "The ParamRF model has a joint prior (pmrf.prior); a parameter space needs independent "
            "priors: give each parameter its own."
        )


def from_paramrf(model: Any, *, frequency: Any, features: Any, **options: Any) -> FeatureEvaluator:
    """Make an evaluator of a ParamRF model, in its declared units.

    Free parameters keep their ParamRF names (``"cascade[0].R"``, ``"cap"``); an array-valued one
    gives one parameter per element, ``name[i]``. Bounds without a prior become a uniform prior.
    Fixed and tied parameters stay in the model.

    Args:
        model: a ``pmrf.Model`` of ParamRF 0.37.
        frequency: a ``pmrf.Frequency``.
        features: one alias such as ``"s11_db"`` (the result is one array), a list of aliases, or a
            dict of labels to aliases or functions of (model, frequency) (the result is a dict).
        **options: ``chunk``, ``capacity``, ``reproducible``, ``dtype`` of the evaluator.

    Raises:
        ParameterError: no free parameter, one with neither bounds nor prior, a prior without a
            counterpart, or a joint prior.
        EvaluationError: ParamRF is missing, or features of another kind.
    """
    pmrf = _paramrf()
    labelled = _labelled(features)
    with jax.enable_x64(True):
        _check_independent(model)
        free = pmrf.params(model, free_only=True)
        parameters = [item for name, p in free.items() for item in _scalars(name, p)]
        shapes = tuple((name, tuple(np.shape(p.value))) for name, p in free.items())
    simulator: Callable[..., Any] = ParamRFSimulator(model, frequency, labelled, shapes)
    return FeatureEvaluator(simulator, ParameterSpace(parameters), **options)
