"""The store: SQL tables, transactions and leases. Imports neither JAX nor runners nor tasks."""

from ax_jax_runners.store.selection import AtLeast as AtLeast
from ax_jax_runners.store.selection import AtMost as AtMost
from ax_jax_runners.store.selection import Chosen as Chosen
from ax_jax_runners.store.selection import Selection as Selection
from ax_jax_runners.store.store import Store as Store

__all__ = ["AtLeast", "AtMost", "Chosen", "Selection", "Store"]
