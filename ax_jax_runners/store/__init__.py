"""The store: SQL tables, transactions and leases. Imports neither JAX nor runners nor tasks."""

from ax_jax_runners.store.store import Store as Store

__all__ = ["Store"]
