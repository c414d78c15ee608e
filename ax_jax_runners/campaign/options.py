"""How a campaign is run: stored beside it and restored on load, free to change between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from logging import WARNING
from typing import Any

from ax.early_stopping.strategies import BaseEarlyStoppingStrategy
from ax.global_stopping.strategies.base import BaseGlobalStoppingStrategy
from ax.orchestration.orchestrator_options import OrchestratorOptions
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json
from ax.storage.registry_bundle import RegistryBundleBase

from ax_jax_runners.campaign.early_stopping import decode_rule, encode_rule, fresh_rule
from ax_jax_runners.errors import ConfigurationError

TOLERATED_FAILURE_RATE = 0.9
"""Failed trials are results too: a simulator may well fail in most of its box."""


def check_timeout(timeout: float | None) -> None:
    """Refuse a time limit that is not a positive number of seconds.

    Raises:
        ConfigurationError: It is something else.
    """
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and timeout > 0):
        raise ConfigurationError(
            f"timeout is {timeout!r}; give a positive number of seconds, or None."
        )


@dataclass(frozen=True)
class RunOptions:
    """Execution settings.

    Attributes:
        batch_size: Trials generated and run together.
        timeout: Seconds after which a run starts nothing new; None: no limit.
        global_stopping: Ax strategy that ends the campaign early.
        early_stopping: Ax strategy that ends long trials early; a copy of the given one.
    """

    batch_size: int = 8
    timeout: float | None = None
    global_stopping: BaseGlobalStoppingStrategy | None = None
    early_stopping: BaseEarlyStoppingStrategy | None = None

    def __post_init__(self) -> None:
        size, timeout, stopping = self.batch_size, self.timeout, self.global_stopping
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigurationError(
                f"batch_size is {size!r}; give a whole number of trials, at least 1."
            )
        check_timeout(timeout)
        if stopping is not None and not isinstance(stopping, BaseGlobalStoppingStrategy):
            raise ConfigurationError(
                f"global_stopping is {stopping!r}; give one of Ax's global stopping strategies."
            )
        object.__setattr__(self, "early_stopping", fresh_rule(self.early_stopping))

    def for_orchestrator(self) -> OrchestratorOptions:
        """The same in Ax's terms; the timeout is our Scheduler's own."""
        return immediate_options(
            self.batch_size,
            early_stopping_strategy=self.early_stopping,
            global_stopping_strategy=self.global_stopping,
        )

    def to_json(self, bundle: RegistryBundleBase) -> dict[str, Any]:
        stopping = self.global_stopping
        return {
            "batch_size": self.batch_size,
            "timeout": self.timeout,
            "global_stopping": None
            if stopping is None
            else object_to_json(
                stopping,
                encoder_registry=bundle.encoder_registry,
                class_encoder_registry=bundle.class_encoder_registry,
            ),
            "early_stopping": encode_rule(self.early_stopping, bundle),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], bundle: RegistryBundleBase) -> RunOptions:
        stopping = stored.get("global_stopping")
        return cls(
            batch_size=stored.get("batch_size", cls.batch_size),
            timeout=stored.get("timeout"),
            global_stopping=None
            if stopping is None
            else object_from_json(
                stopping,
                decoder_registry=bundle.decoder_registry,
                class_decoder_registry=bundle.class_decoder_registry,
            ),
            early_stopping=decode_rule(stored.get("early_stopping"), bundle),
        )


def immediate_options(batch_size: int = 8, **options: Any) -> OrchestratorOptions:
    """Options for runners that answer at once: whole batches, no waiting between polls."""
    return OrchestratorOptions(
        max_pending_trials=batch_size,
        run_trials_in_batches=True,
        min_seconds_before_poll=0.0,
        init_seconds_between_polls=0,
        tolerated_trial_failure_rate=TOLERATED_FAILURE_RATE,
        logging_level=WARNING,
        **options,
    )
