"""Campaigns: the Scheduler over the store, and everything a user does with a campaign."""

from ax_jax_runners.campaign.campaign import Campaign as Campaign
from ax_jax_runners.campaign.registry import registry_bundle as registry_bundle
from ax_jax_runners.campaign.results import Best as Best
from ax_jax_runners.campaign.scheduler import Scheduler as Scheduler

__all__ = ["Best", "Campaign", "Scheduler", "registry_bundle"]
