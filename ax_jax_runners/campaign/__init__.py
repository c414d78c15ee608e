"""Campaigns: the Scheduler over the store, and everything a user does with a campaign.

The names load on first use: reading a configuration or a status needs neither Ax nor JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ax_jax_runners.campaign.campaign import Campaign
    from ax_jax_runners.campaign.registry import registry_bundle
    from ax_jax_runners.campaign.results import Best
    from ax_jax_runners.campaign.scheduler import Scheduler

__all__ = ["Best", "Campaign", "Scheduler", "registry_bundle"]

_HOMES = {
    "Best": "results",
    "Campaign": "campaign",
    "Scheduler": "scheduler",
    "registry_bundle": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
