"""Linear constraints between parameters, read from text such as ``"a + 2*line[0].r <= 3"``.

Names are matched as they were declared, longest first, so they may hold dots, brackets, operators
and any other character. Numbers, ``+ - * /``, parentheses and one ``<=`` or ``>=`` make the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ax_jax_runners.errors import ParameterError

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_OPERATOR = re.compile(r"\*\*|<=|>=|==|!=|[-+*/()<>=^]")
_WORD = re.compile(r"[^\s+\-*/()<>=^]+")

#: A constraint may be missed by this much, relative to its terms: Ax's candidates are that exact.
CONSTRAINT_TOLERANCE = 1e-9

#: A linear form: coefficients by name; the constant term is under None.
_Form = dict[str | None, float]


@dataclass(frozen=True)
class LinearConstraint:
    """``sum(coefficient * parameter) <= bound``.

    Attributes:
        coefficients: pairs (parameter name, coefficient that is not zero), at least one.
        bound: the right-hand side.
    """

    coefficients: tuple[tuple[str, float], ...]
    bound: float

    def slack(self, values: Mapping[str, float]) -> float:
        """Return ``bound - sum``: negative where the constraint is violated."""
        return self.bound - sum(c * values[name] for name, c in self.coefficients)

    def __str__(self) -> str:
        terms = " + ".join(f"{c!r} * {name}" for name, c in self.coefficients)
        return f"{terms} <= {self.bound!r}"


def normalised(text: str) -> str:
    """Return the text of a constraint with single spaces."""
    return " ".join(text.split())


def _tokens(text: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """Split into ("name" | "number" | "operator", text) pairs."""
    # A name ends where a longer word would not go on: 'a' is no part of 'ab' or 'a.b'.
    known = [
        re.compile(re.escape(name) + (r"(?![\w.\[])" if re.match(r"[\w\])]", name[-1]) else ""))
        for name in sorted(names, key=len, reverse=True)
    ]
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        candidates = [("name", pattern) for pattern in known]
        candidates += [("number", _NUMBER), ("operator", _OPERATOR)]
        matches = ((kind, pattern.match(text, position)) for kind, pattern in candidates)
        kind, match = next(((k, m) for k, m in matches if m), ("", None))
        if match is None:
            word = _WORD.match(text, position)
            unknown = word.group() if word else text[position]
            raise ParameterError(
                f"Constraint {text!r}: unknown parameter {unknown!r}; the parameters are "
                f"{', '.join(names)}."
            )
        found.append((kind, match.group()))
        position = match.end()
    return found


class _Reader:
    """Recursive descent over the tokens of one constraint."""

    def __init__(self, text: str, names: Iterable[str]) -> None:
        self.text = text
        self.tokens = _tokens(text, list(names))
        self.position = 0

    def refuse(self, what: str) -> ParameterError:
        return ParameterError(
            f"Constraint {self.text!r}: {what}; write a linear inequality such as 'a + 2*b <= 3'."
        )

    def peek(self) -> str | None:
        if self.position >= len(self.tokens):
            return None
        kind, text = self.tokens[self.position]
        return text if kind == "operator" else ""

    def sum(self) -> _Form:
        form = self.product()
        while self.peek() in ("+", "-"):
            sign = 1.0 if self.tokens[self.position][1] == "+" else -1.0
            self.position += 1
            for name, value in self.product().items():
                form[name] = form.get(name, 0.0) + sign * value
        return form

    def product(self) -> _Form:
        form = self.factor()
        while self.peek() in ("*", "/", "**", "^"):
            operator = self.tokens[self.position][1]
            self.position += 1
            other = self.factor()
            if operator in ("**", "^"):
                raise self.refuse("a power is not linear")
            if operator == "/" and set(other) - {None}:
                raise self.refuse("a division by a parameter is not linear")
            if set(form) - {None} and set(other) - {None}:
                raise self.refuse("a product of parameters is not linear")
            if operator == "/":
                divisor = other.get(None, 0.0)
                if divisor == 0:
                    raise self.refuse("a division by zero")
                form = {name: value / divisor for name, value in form.items()}
            else:
                scale, linear = (other, form) if not set(other) - {None} else (form, other)
                factor = scale.get(None, 0.0)
                form = {name: value * factor for name, value in linear.items()}
        return form

    def factor(self) -> _Form:
        if self.position >= len(self.tokens):
            raise self.refuse("it ends too early")
        kind, text = self.tokens[self.position]
        self.position += 1
        if kind == "number":
            return {None: float(text)}
        if kind == "name":
            return {text: 1.0}
        if text in ("+", "-"):
            sign = 1.0 if text == "+" else -1.0
            return {name: sign * value for name, value in self.factor().items()}
        if text == "(":
            form = self.sum()
            if self.peek() != ")":
                raise self.refuse("a parenthesis is not closed")
            self.position += 1
            return form
        raise self.refuse(f"{text!r} is out of place")


def parse_constraint(
    text: str, names: Iterable[str], *, fixed: Mapping[str, float]
) -> LinearConstraint | None:
    """Read one linear inequality.

    Args:
        text: such as ``"a + 2*b <= 3"``; ``<=`` and ``>=`` are understood.
        names: every parameter's name.
        fixed: values of the numeric parameters that are not free; they move into the bound.

    Returns:
        The constraint on free parameters, or None when it holds whatever they are.

    Raises:
        ParameterError: an unknown name, a non-linear term, another relation, or a constraint on
            fixed parameters alone that does not hold.
    """
    if not isinstance(text, str):
        raise ParameterError(
            f"A constraint is a {type(text).__name__} ({text!r}); give text such as 'a + b <= 3'."
        )
    reader = _Reader(normalised(text), names)
    relations = [t for k, t in reader.tokens if k == "operator" and re.search("[<>=]", t)]
    if len(relations) != 1 or relations[0] not in ("<=", ">="):
        found = " ".join(relations) or "no relation"
        raise reader.refuse(f"found {found} where exactly one <= or >= belongs")
    left = reader.sum()
    if reader.peek() != relations[0]:
        raise reader.refuse("an operator is missing")
    reader.position += 1
    right = reader.sum()
    if reader.position != len(reader.tokens):
        raise reader.refuse("an operator is missing")
    if relations[0] == ">=":
        left, right = right, left
    form = {name: left.get(name, 0.0) - right.get(name, 0.0) for name in [*left, *right]}
    bound = -form.pop(None, 0.0)
    for name, value in fixed.items():
        bound -= form.pop(name, 0.0) * value
    coefficients = tuple((name, value) for name, value in form.items() if value and name)
    if not coefficients:
        if bound < 0:
            raise ParameterError(
                f"Constraint {reader.text!r} cannot hold: it names fixed values only and misses "
                f"its bound by {-bound}; change the values or drop the constraint."
            )
        return None
    return LinearConstraint(coefficients, bound)
