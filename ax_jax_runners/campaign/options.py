"""How a campaign is run: stored beside it and restored on load, free to change between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ax.global_stopping.strategies.base import BaseGlobalStoppingStrategy
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json
from ax.storage.registry_bundle import RegistryBundleBase

from ax_jax_runners.errors import ConfigurationError


@dataclass(frozen=True)
class RunOptions:
    """Execution settings.

    Attributes:
        batch_size: Trials generated and run together.
        timeout: Seconds after which a run starts nothing new; None: no limit.
        global_stopping: Ax strategy that ends the campaign early.
    """

    batch_size: int = 8
    timeout: float | None = None
    global_stopping: BaseGlobalStoppingStrategy | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ConfigurationError(
                f"batch_size is {self.batch_size!r}; give a whole number of trials, at least 1."
            )
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigurationError(f"timeout is {self.timeout!r} s; give a positive number.")

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
        )
