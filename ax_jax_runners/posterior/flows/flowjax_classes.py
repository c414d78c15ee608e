"""The one place that knows flowjax: what this package takes from it, under flowjax's own names."""

from __future__ import annotations

from flowjax.bijections import AbstractBijection, Chain, Invert, Scan

__all__ = ["AbstractBijection", "Chain", "Invert", "Scan"]
