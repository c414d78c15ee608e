"""Content-addressed files: written whole or not at all, read only when their digest is right."""

from __future__ import annotations

from ax_jax_runners.files.atomic import remove_leftovers, write_atomically
from ax_jax_runners.files.frozen import FrozenFolder
from ax_jax_runners.files.store import FileStore, StoredFile

__all__ = ["FileStore", "FrozenFolder", "StoredFile", "remove_leftovers", "write_atomically"]
