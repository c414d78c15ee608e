"""Digests of computations and values that are the same in every process.

A traced program is hashed by walking its jaxpr: primitives, types, parameters and the bytes of
every constant. Names of variables, of inner functions and memory addresses play no part.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

if TYPE_CHECKING:
    from ax_jax_runners.evaluation.evaluator import FeatureEvaluator

_PARSING = threading.Lock()
_ADDRESS = re.compile(r"0x[0-9a-f]+")
# They name things or say how to compile; they do not change what is computed.
_LABELS = frozenset({"name", "debug_info", "compiler_options_kvs", "ctx_mesh", "inline"})


class Fingerprint:
    """A SHA-256 that takes structured values; every item is fed with its kind and length."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def hexdigest(self) -> str:
        """Return 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def add_program(self, program: core.ClosedJaxpr) -> None:
        """Add a traced program with its constants."""
        for constant in program.consts:
            self.add(constant)
        self._add_jaxpr(program.jaxpr)

    def add(self, value: Any) -> None:
        """Add a value: plain data, arrays, programs, dataclasses, functions, or their nesting."""
        if isinstance(value, core.ClosedJaxpr):
            self.add_program(value)
        elif isinstance(value, core.Jaxpr):
            self._add_jaxpr(value)
        elif isinstance(value, (np.ndarray, np.generic, jax.Array)):
            self._add_array(value)
        elif isinstance(value, Mapping):
            self._text("mapping", str(len(value)))
            for key in sorted(value, key=str):
                self.add(key)
                self.add(value[key])
        elif isinstance(value, (tuple, list)):
            self._text("sequence", str(len(value)))
            for item in value:
                self.add(item)
        elif callable(getattr(value, "describe", None)):
            self._text("described", type(value).__name__)
            self.add(value.describe())
        elif isinstance(value, type):
            self._text("class", f"{value.__module__}:{value.__qualname__}")
        elif isinstance(value, functools.partial):
            self.add(("partial", value.func, value.args, value.keywords))
        elif inspect.isroutine(value):
            self._add_function(value)
        elif dataclasses.is_dataclass(value):
            self._text("dataclass", type(value).__qualname__)
            self.add({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
        else:
            self._text(type(value).__name__, _ADDRESS.sub("", repr(value)))

    def _add_jaxpr(self, jaxpr: core.Jaxpr) -> None:
        numbers: dict[Any, int] = {}

        def number(variables: Any) -> None:
            for variable in variables:
                numbers[variable] = len(numbers)
                self._text("variable", variable.aval.str_short())

        def use(atoms: Any) -> None:
            for atom in atoms:
                if isinstance(atom, core.Literal):
                    self._text("literal", atom.aval.str_short())
                    self.add(np.asarray(atom.val))
                else:
                    self._text("use", str(numbers[atom]))

        number([*jaxpr.constvars, *jaxpr.invars])
        for equation in jaxpr.eqns:
            self._text("primitive", equation.primitive.name)
            use(equation.invars)
            self.add({k: v for k, v in equation.params.items() if k not in _LABELS})
            number(equation.outvars)
        use(jaxpr.outvars)

    def _add_array(self, value: Any) -> None:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            self._text("key", str(jax.random.key_impl(value)))
            value = jax.random.key_data(value)
        array = np.ascontiguousarray(value)
        self._text("array", f"{array.dtype} {np.shape(value)}")
        # Arrays of Python objects have no bytes of their own.
        self._feed(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())

    def _add_function(self, function: Callable[..., Any]) -> None:
        self._text("function", f"{function.__module__}:{function.__qualname__}")
        self._text("source", source_of(function))
        for cell in getattr(function, "__closure__", None) or ():
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            # A function that holds itself, directly or not, would never end.
            if not callable(content):
                self.add(content)
        owner = getattr(function, "__self__", None)
        if dataclasses.is_dataclass(owner):
            self.add(owner)

    def _text(self, kind: str, text: str) -> None:
        self._feed(f"{kind} {text}".encode("utf-8", "surrogatepass"))

    def _feed(self, data: bytes) -> None:
        self._hash.update(len(data).to_bytes(8, "little"))
        self._hash.update(data)


def source_of(item: Any) -> str:
    """Return the source text of a function or class, or "" where there is none."""
    try:
        # It parses the module of a class, and Python 3.11 counts the depth of that for all threads
        # together (python/cpython#106905).
        with _PARSING:
            return inspect.getsource(item)
    except (OSError, TypeError):
        return ""


def program_digest(evaluator: FeatureEvaluator) -> str:
    """Return the digest of what an evaluator computes for one row: of its program when traced.

    Raises:
        EvaluationError: There is no simulator, or it cannot be traced.
    """
    with jax.enable_x64(evaluator.dtype == "float64"):
        theta = jax.ShapeDtypeStruct((evaluator.space.dimension,), np.dtype(evaluator.dtype))
        key = [jax.random.key(0)] if evaluator.stochastic else []
        program = jax.make_jaxpr(evaluator.row_features)(theta, *key)
    fingerprint = Fingerprint()
    fingerprint.add_program(program)
    return fingerprint.hexdigest()
