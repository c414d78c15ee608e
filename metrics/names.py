"""Output names that Ax's expressions cannot hold, written as identifiers and read back.

Ax parses objectives with SymPy: names that SymPy owns (``beta``, ``E``, ``N``) and names with dots,
brackets or spaces would be misread. Such a name becomes ``q_`` and its characters, those that are
not ASCII letters, digits or underscores as ``_0x<code>_``.
"""

from __future__ import annotations

import builtins
import keyword
import re
from functools import cache

_PREFIX = "q_"
_ESCAPED = re.compile(r"_0x([0-9a-f]+)_")


def to_identifier(output: str) -> str:
    """The Ax metric name of an output: the name itself wherever that is safe."""
    if _is_safe(output):
        return output
    kept = output.replace("_0x", "_0x5f_0x")
    return _PREFIX + re.sub(r"[^A-Za-z0-9_]", lambda match: f"_0x{ord(match[0]):x}_", kept)


def from_identifier(metric: str) -> str:
    """The output that an Ax metric name stands for."""
    if not metric.startswith(_PREFIX):
        return metric
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), metric[len(_PREFIX) :])


def _is_safe(name: str) -> bool:
    return (
        name.isidentifier()
        and name.isascii()
        and not keyword.iskeyword(name)
        and not name.startswith(_PREFIX)
        # Ax writes its own placeholders this way and would turn them into dots and spaces.
        and "__" not in name
        and name not in _sympy_names()
        and name != "baseline"
    )


@cache
def _sympy_names() -> frozenset[str]:
    import sympy

    # SymPy's reader also takes the names of Python's own functions, such as sum, for those.
    return frozenset({*dir(sympy), *dir(builtins)})
