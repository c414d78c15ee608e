"""Who holds a lease: a process, named so that its death can be seen from the same host."""

from __future__ import annotations

from ax_jax_runners.files.owner import Owner

__all__ = ["Owner"]
