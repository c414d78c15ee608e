"""A simulator as a vectorised, compiled function of parameter vectors."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import jax
import numpy as np
from jax.core import Tracer

from ax_jax_runners.errors import (
    AxJaxError,
    EvaluationError,
    FeaturesNotConfigured,
    InvalidTheta,
    ParameterError,
)
from ax_jax_runners.evaluation import results
from ax_jax_runners.evaluation.features import (
    finite_rows,
    leaf_names,
    reason,
    simulate,
    simulator_name,
)
from ax_jax_runners.evaluation.keys import checked_keys, keys_of_rows
from ax_jax_runners.evaluation.programs import BucketProgram, ChunkedProgram
from ax_jax_runners.evaluation.validity import Evaluation, blanked
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.parameters.theta import as_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def _positive(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise EvaluationError(f"{name} is {value!r}; give a positive integer.")
    return int(value)


@dataclass(frozen=True)
class FeatureEvaluator:
    """Prior and features of a simulator, over single parameter vectors and batches.

    ``fn`` receives a dict of all parameters by name (see :meth:`ParameterSpace.traced`) and, when
    stochastic, a typed PRNG key. It returns an array or a dict of arrays and must be traceable by
    JAX. Programs are compiled at the first call. Results are numpy arrays.

    Attributes:
        fn: the simulator; None leaves ``cdf``, ``icdf`` and ``log_prior`` only.
        space: its parameters; at least one must be free.
        features: names of a returned dict to keep; None keeps all.
        chunk: rows computed together by the reproducible program. Part of a result's identity: a
            different chunk may change the last bit.
        capacity: most rows of one call of the reproducible program (fewer where the results are
            large); larger batches take several.
        reproducible: one program for every batch size, so that a row has the same bits alone or in
            any batch. False: pieces of 512, 64, 8 and 1 rows, faster for single rows, equal to
            rounding.
        dtype: "float64" or "float32", of theta, the computation and the features, whatever JAX's
            process-wide default is.
        stochastic: whether ``fn`` takes a key as its second argument.
    """

    fn: Callable[..., Any] | None
    space: ParameterSpace
    features: tuple[str, ...] | None = field(default=None, kw_only=True)
    chunk: int = field(default=32, kw_only=True)
    capacity: int = field(default=4096, kw_only=True)
    reproducible: bool = field(default=True, kw_only=True)
    dtype: str = field(default="float64", kw_only=True)
    stochastic: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            ParameterError: (a ValueError) not a parameter space, or no parameter is free.
            EvaluationError: another argument that cannot be used.
        """
        if self.fn is not None and not callable(self.fn):
            raise EvaluationError(
                f"The simulator is a {type(self.fn).__name__}; give a function, or None."
            )
        if not isinstance(self.space, ParameterSpace):
            raise ParameterError(
                f"The evaluator's space is a {type(self.space).__name__}; give a ParameterSpace."
            )
        if self.space.dimension == 0:
            raise ParameterError(
                "The evaluator's space has no free parameter; leave at least one of "
                f"{[parameter.name for parameter in self.space.parameters]} free."
            )
        names = self.features
        if names is not None:
            names = (names,) if isinstance(names, str) else tuple(names)
        try:
            dtype = np.dtype(self.dtype).name
        except TypeError:
            dtype = str(self.dtype)
        if dtype not in ("float32", "float64"):
            raise EvaluationError(f"dtype is {dtype!r}; give 'float64' or 'float32'.")
        for name, value in {
            "features": names,
            "dtype": dtype,
            "chunk": _positive(self.chunk, "chunk"),
            "capacity": _positive(self.capacity, "capacity"),
            "reproducible": bool(self.reproducible),
            "stochastic": bool(self.stochastic),
        }.items():
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled programs are rebuilt on the other side.
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    # ------------------------------------------------------------------ the prior

    def cdf(self, theta: ArrayLike) -> np.ndarray:
        """Evaluate cumulative probabilities, (..., d) to (..., d); see ParameterSpace.cdf."""
        return self.space.cdf(theta).astype(self.dtype)

    def icdf(self, u: ArrayLike) -> np.ndarray:
        """Evaluate quantiles, (..., d) to (..., d); see ParameterSpace.icdf."""
        return self.space.icdf(u).astype(self.dtype)

    def log_prior(self, theta: ArrayLike) -> np.ndarray:
        """Evaluate the joint log density, (..., d) to (...); see ParameterSpace.log_prior."""
        return self.space.log_prior(theta).astype(self.dtype)

    # ------------------------------------------------------------------ the simulator, traced

    def row_features(self, theta_row: jax.Array, key: jax.Array | None = None) -> Any:
        """Evaluate one row inside somebody else's program; traceable, unbatched, unguarded.

        Args:
            theta_row: (d,), traced.
            key: a typed PRNG key for a stochastic simulator.

        Raises:
            EvaluationError: as :meth:`model_features`.
        """
        fn = self._simulator()
        values = self.space.traced(theta_row)
        arguments = (values, key) if self.stochastic else (values,)
        return simulate(fn, arguments, names=self.features, dtype=self.dtype)

    def _simulator(self) -> Callable[..., Any]:
        if self.fn is None:
            raise FeaturesNotConfigured(
                "The evaluator has no simulator (fn=None), so it has no features; give it a "
                "function of the parameters."
            )
        return self.fn

    def _precision(self) -> Any:
        return jax.enable_x64(self.dtype == "float64")

    @functools.cached_property
    def _structure(self) -> Any:
        """Shapes and dtypes of one row's features."""
        theta = jax.ShapeDtypeStruct((self.space.dimension,), np.dtype(self.dtype))
        with self._precision():
            key = jax.eval_shape(lambda: jax.random.key(0)) if self.stochastic else None
            return jax.eval_shape(self.row_features, theta, key)

    @functools.cached_property
    def _leaf_names(self) -> tuple[str, ...]:
        return tuple(leaf_names(self._structure))

    @functools.cached_property
    def _programs(self) -> dict[str, ChunkedProgram | BucketProgram]:
        """Compiled programs by PRNG implementation; "" for a deterministic simulator."""
        return {}

    def _program(self, implementation: str) -> ChunkedProgram | BucketProgram:
        program = self._programs.get(implementation)
        if program is not None:
            return program

        def row(theta_row: jax.Array, key_data: jax.Array | None) -> Any:
            key = None
            if key_data is not None:
                key = jax.random.wrap_key_data(key_data, impl=implementation)
            return self.row_features(theta_row, key)

        if self.reproducible:
            program = ChunkedProgram(row, self._structure, chunk=self.chunk, capacity=self.capacity)
        else:
            program = BucketProgram(row, self._structure)
        return self._programs.setdefault(implementation, program)

    # ------------------------------------------------------------------ the simulator, evaluated

    def model_features(self, theta: ArrayLike, key: jax.Array | None = None) -> Any:
        """Evaluate the simulator's features.

        Rows outside the prior's support are evaluated all the same. A row whose theta is not
        finite holds NaN; :meth:`evaluate` tells which rows can be trusted.

        Args:
            theta: (d,) or (B, d), array-like; (0, d) gives empty arrays.
            key: one typed PRNG key for a stochastic simulator; row i uses ``fold_in(key, i)``.

        Returns:
            The simulator's array or dict of arrays, with a leading B for (B, d).

        Raises:
            InvalidTheta: theta has another shape or is not numeric.
            FeaturesNotConfigured: there is no simulator, or it lacks a feature to keep.
            InvalidFeatures: the simulator returned something else than numbers.
            EvaluationError: the simulator raised, or a key is missing or superfluous.
        """
        self._simulator()
        if isinstance(theta, Tracer):
            raise EvaluationError(
                "model_features was called inside jit, vmap or grad; use row_features there."
            )
        rows = as_rows(theta, self.space.dimension, self.space.names, "theta")
        if rows.ndim > 2:
            raise InvalidTheta(
                f"theta has the shape {rows.shape}; give ({self.space.dimension},) or "
                f"(B, {self.space.dimension})."
            )
        batch = rows if rows.ndim == 2 else rows[None]
        keys = None if key is None else keys_of_rows(key, len(batch))
        batch = self._cast(batch)
        features = self._features(batch, finite_rows(batch), keys)
        return features if rows.ndim == 2 else jax.tree.map(lambda leaf: leaf[0], features)

    def evaluate(self, theta: ArrayLike, keys: jax.Array | None = None) -> Evaluation:
        """Evaluate a batch and tell which of its rows are finite.

        Args:
            theta: (B, d), array-like.
            keys: typed PRNG keys (B,) for a stochastic simulator, one per row.

        Raises:
            InvalidTheta: theta is not a numeric (B, d).
            EvaluationError: as :meth:`model_features`, or keys of another shape.
        """
        self._simulator()
        rows = as_rows(theta, self.space.dimension, self.space.names, "theta")
        if rows.ndim != 2:
            raise InvalidTheta(
                f"theta has the shape {rows.shape}; give a batch (B, {self.space.dimension})."
            )
        rows = self._cast(rows)
        trusted = finite_rows(rows)
        features = self._features(rows, trusted, keys)
        return Evaluation.of(features, self._leaf_names, trusted)

    def _features(self, rows: np.ndarray, trusted: np.ndarray, keys: jax.Array | None) -> Any:
        """Evaluate rows of the right dtype; those not trusted hold NaN."""
        data, implementation = self._key_data(keys, len(rows))
        if len(rows) == 0:
            return jax.tree.map(
                lambda leaf: np.zeros((0, *leaf.shape), leaf.dtype), self._structure
            )
        if trusted.all():
            return self._run(rows, data, implementation)
        # A simulator never sees a number that is not finite: it might not come back.
        middle = ((self.space.lower + self.space.upper) / 2).astype(rows.dtype)
        stand_in = rows[trusted][0] if trusted.any() else middle
        rows = np.where(trusted[:, None], rows, stand_in)
        return blanked(self._run(rows, data, implementation), ~trusted)

    def _run(self, rows: np.ndarray, data: np.ndarray | None, implementation: str) -> Any:
        with self._precision():
            try:
                return self._program(implementation)(rows, data)
            except AxJaxError:
                raise
            except Exception as error:
                # XLA raises a ValueError for a failed callback, its own error for lack of memory.
                raise EvaluationError(
                    f"Simulator {simulator_name(self.fn)} failed for a batch of {len(rows)} rows: "
                    f"{reason(error)}; check it, and lower capacity if memory is short."
                ) from error

    def _cast(self, rows: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return rows.astype(self.dtype)

    def _key_data(self, keys: jax.Array | None, count: int) -> tuple[np.ndarray | None, str]:
        if not self.stochastic:
            if keys is not None:
                raise EvaluationError(
                    f"Simulator {simulator_name(self.fn)} got a key but is not stochastic; pass "
                    f"stochastic=True."
                )
            return None, ""
        if keys is None:
            raise EvaluationError(f"Simulator {simulator_name(self.fn)} is stochastic; pass a key.")
        typed = checked_keys(keys, (count,))
        return np.asarray(jax.random.key_data(typed)), str(jax.random.key_impl(typed))

    # ------------------------------------------------------------------ results as bytes

    @staticmethod
    def write_results(stream: IO[bytes], results_: Any) -> None:
        """Write nested dicts, lists, tuples, scalars and arrays; see ``evaluation.results``.

        Raises:
            ResultNotStorable: a value of another kind, named by its path.
        """
        results.write_results(stream, results_)

    @staticmethod
    def read_results(stream: IO[bytes]) -> Any:
        """Read what :meth:`write_results` wrote; never runs code from the stream.

        Raises:
            ArtifactCorrupt: anything else.
        """
        return results.read_results(stream)
