"""Numbers, tables and lists as HTML; whatever comes from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Markup:
    """Text that is HTML already."""

    html: str


Cell = str | float | int | bool | None | Markup


def escape(text: object) -> str:
    """Text of any origin as HTML text or attribute value."""
    return html.escape(str(text), quote=True)


def number(value: float) -> str:
    """Six significant digits."""
    return f"{value:.6g}"


def value_text(value: Any) -> str:
    """A parameter or output value as plain text."""
    if isinstance(value, float):
        return number(value)
    return "" if value is None else str(value)


def paragraph(text: str, *, kind: str = "note") -> str:
    """A sentence."""
    return f'<p class="{kind}">{escape(text)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, kind: str = "") -> str:
    """A table; columns of numbers are aligned to the right."""
    listed = [list(row) for row in rows]
    sides = [_side([row[place] for row in listed]) for place in range(len(head))]
    titles = "".join(f"<th{s}>{escape(t)}</th>" for t, s in zip(head, sides, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{s}>{_inner(cell)}</td>" for cell, s in zip(row, sides, strict=True))
        + "</tr>"
        for row in listed
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, Cell]]) -> str:
    """A list of names and values."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_inner(value)}</dd></div>" for name, value in pairs
    )
    return f"<dl>{items}</dl>"


def position_bar(positions: Sequence[float]) -> Markup:
    """A search box from its lower to its upper end, with a mark at every position in [0, 1]."""
    marks = "".join(
        f'<circle cx="{6 + 108 * min(max(p, 0.0), 1.0):.1f}" cy="8" r="4.5"/>' for p in positions
    )
    return Markup(
        '<svg class="bar" width="120" height="16" role="img" aria-label="position in the search '
        f'box"><line x1="6" y1="8" x2="114" y2="8"/><path d="M6 3V13M114 3V13"/>{marks}</svg>'
    )


def _side(column: Sequence[Cell]) -> str:
    numeric = all(cell is None or _is_number(cell) for cell in column)
    return ' class="number"' if numeric and any(cell is not None for cell in column) else ""


def _is_number(value: Cell) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _inner(value: Cell) -> str:
    return value.html if isinstance(value, Markup) else escape(value_text(value))
