"""The campaign file: a TOML document, checked key by key, each complaint naming key and line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from ax_jax_runners.campaign.toml_lines import line_of
from ax_jax_runners.errors import ConfigurationError

if TYPE_CHECKING:
    from ax.early_stopping.strategies import BaseEarlyStoppingStrategy

DEFAULT_STORE = "sqlite:///campaigns.db"

_TYPE_NAMES = {
    bool: "a boolean",
    dict: "a table",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a text",
}


class _Table(BaseModel):
    """A table of the file: no unknown keys, no conversions, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ParameterOverride(_Table):
    """One ``[parameters.NAME]`` table. A field's description says what is allowed."""

    lower: FiniteFloat | None = Field(None, description="a finite number")
    upper: FiniteFloat | None = Field(None, description="a finite number")
    fixed: bool | int | FiniteFloat | str | None = Field(
        None, description="a finite number, a text or a boolean"
    )
    log_scale: bool | None = Field(None, description="true or false")

    def given(self) -> dict[str, Any]:
        """The keys that the file has, for `ParameterSpace.replace`."""
        return self.model_dump(exclude_unset=True)


_OVERRIDES = tuple(ParameterOverride.model_fields)


class EarlyStopping(_Table):
    """The ``[early_stopping]`` table. A field's description says what is allowed."""

    rule: Literal["percentile", "threshold"] = Field(description="'percentile' or 'threshold'")
    percentile: FiniteFloat = Field(
        50.0, gt=0, lt=100, description="a number above 0 and below 100"
    )
    threshold: FiniteFloat | None = Field(None, description="a finite number")
    min_progression: FiniteFloat = Field(10.0, ge=0, description="a number of steps, at least 0")
    min_curves: int = Field(5, ge=0, description="a whole number of trials, at least 0")
    patience: FiniteFloat = Field(0.0, ge=0, description="a number of steps, at least 0")
    interval: FiniteFloat | None = Field(None, gt=0, description="a positive number of steps")

    @model_validator(mode="after")
    def _fits_the_rule(self) -> Self:
        foreign = _FOREIGN[self.rule] & self.model_fields_set
        if foreign:
            raise ValueError(f"the rule {self.rule!r} has no `{min(foreign)}`; leave it out")
        if self.rule == "threshold" and self.threshold is None:
            raise ValueError("the rule 'threshold' needs a `threshold`; give a finite number")
        if self.patience > self.min_progression:
            raise ValueError("`patience` is larger than `min_progression`; lower it")
        return self

    def strategy(self) -> BaseEarlyStoppingStrategy:
        """Ax's early-stopping strategy of this table."""
        from ax.early_stopping.strategies import (
            PercentileEarlyStoppingStrategy,
            ThresholdEarlyStoppingStrategy,
        )

        if self.threshold is not None:
            return ThresholdEarlyStoppingStrategy(
                metric_threshold=self.threshold,
                min_progression=self.min_progression,
                min_curves=self.min_curves,
            )
        return PercentileEarlyStoppingStrategy(
            percentile_threshold=self.percentile,
            min_progression=self.min_progression,
            min_curves=self.min_curves,
            patience=self.patience,
            interval=self.interval,
        )


_FOREIGN = {"percentile": {"threshold"}, "threshold": {"percentile", "patience", "interval"}}


class CampaignSettings(_Table):
    """A campaign file. A field's description says what is allowed, and ends the complaints."""

    name: str = Field(
        min_length=1, max_length=100, pattern=r"\S", description="a text of 1 to 100 characters"
    )
    task: str = Field(
        min_length=1, description="a built-in problem's name or 'package.module:attribute'"
    )
    store: str = Field(
        DEFAULT_STORE,
        description="a URL such as 'sqlite:///campaigns.db' or 'postgresql://host/db'",
    )
    artifacts: str | None = Field(None, min_length=1, description="a folder, as a text")
    objective: str | None = Field(
        None, min_length=1, description="linear expressions of outputs to maximise, such as '-cost'"
    )
    outcome_constraints: list[str] = Field([], description="a list of texts such as ['power <= 3']")
    trials: int | None = Field(None, ge=1, description="a whole number of trials, at least 1")
    batch_size: int = Field(8, ge=1, description="a whole number of trials, at least 1")
    generation: Literal["auto", "sobol", "fast", "quality"] = Field(
        "auto", description="'auto', 'sobol', 'fast' or 'quality'"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="a whole number from 0 to 2147483647")
    timeout: FiniteFloat | None = Field(
        None, gt=0, description="a finite, positive number of seconds"
    )
    early_stopping: EarlyStopping | None = Field(
        None, description="a table with a rule that ends long trials early"
    )
    runner: Literal[
        "JaxRunner", "WorkerJaxRunner", "SingleRunningTrialJaxRunner", "SimulatedBackendJaxRunner"
    ] = Field(
        "JaxRunner",
        description="'JaxRunner', 'WorkerJaxRunner', 'SingleRunningTrialJaxRunner' or "
        "'SimulatedBackendJaxRunner'",
    )
    runner_options: dict[str, Any] = Field(
        {}, description="a table of keyword arguments of the runner"
    )
    task_options: dict[str, Any] = Field({}, description="a table of keyword arguments of the task")
    parameters: dict[str, ParameterOverride] = Field(
        {}, description="a table with one table for each parameter to override"
    )

    def overrides(self) -> dict[str, dict[str, Any]]:
        """The parameters' given keys, for `ParameterSpace.replace`."""
        return {name: table.given() for name, table in self.parameters.items()}


def read_settings(path: str | Path) -> CampaignSettings:
    """Read and check a campaign file.

    Raises:
        ConfigurationError: The file cannot be read, is not TOML, or has a key that is unknown,
            missing or of the wrong type: one sentence with file, line, key and what is allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it does not exist" if isinstance(error, FileNotFoundError) else str(error)
        raise ConfigurationError(
            f"Campaign file {str(path)!r} cannot be read: {reason}; write one with `ax-jax init`."
        ) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{path}: not a TOML document: {_lower_first(str(error))}."
        ) from error
    try:
        return CampaignSettings.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(_complaint(error, document, text, path)) from error


def _complaint(error: ValidationError, document: Mapping[str, Any], text: str, path: Path) -> str:
    """One sentence about the first thing that is wrong; unknown keys come first."""
    found = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")[0]
    keys = _keys(found["loc"], document)
    key = ".".join(_quoted(part) for part in keys)
    line = line_of(text, keys)
    where = str(path) if line is None else f"{path}, line {line}"
    fields = _fields_at(keys)
    if found["type"] == "extra_forbidden":
        close = get_close_matches(keys[-1], fields, n=1)
        advice = f"did you mean `{close[0]}`? The" if close else "the"
        listed = ", ".join(fields)
        return f"{where}: key `{key}` is not known; {advice} keys here are {listed}."
    if found["type"] == "missing":
        return f"{where}: key `{key}` is missing; give {fields[keys[-1]]}."
    if found["type"] == "value_error":
        return f"{where}: `{key}`: {found['msg'].partition(', ')[2]}."
    is_override = len(keys) == 2 and keys[0] == "parameters"
    allowed = f"a table with any of {', '.join(_OVERRIDES)}" if is_override else fields[keys[-1]]
    return f"{where}: `{key}` is {_shown(_value_at(keys, document))}; give {allowed}."


def _keys(location: tuple[int | str, ...], document: Mapping[str, Any]) -> list[str]:
    """The keys of a pydantic location, which also names list items and union members."""
    keys: list[str] = []
    here: Any = document
    for part in location:
        if not isinstance(part, str):
            break
        keys.append(part)
        if not isinstance(here, Mapping) or part not in here:
            break
        here = here[part]
        if not isinstance(here, Mapping):
            break
    return keys


def _fields_at(keys: list[str]) -> dict[str, str]:
    """The allowed keys beside the last one, with what each takes."""
    model: type[BaseModel] = CampaignSettings
    if len(keys) > 2 and keys[0] == "parameters":
        model = ParameterOverride
    elif len(keys) > 1 and keys[0] == "early_stopping":
        model = EarlyStopping
    return {name: field.description or "" for name, field in model.model_fields.items()}


def _value_at(keys: list[str], document: Mapping[str, Any]) -> Any:
    here: Any = document
    for key in keys:
        here = here[key]
    return here


def _shown(value: Any) -> str:
    kind = _TYPE_NAMES.get(type(value), f"a {type(value).__name__}")
    if isinstance(value, dict):
        return kind
    shown = repr(value).lower() if isinstance(value, bool) else repr(value)
    return f"{shown if len(shown) <= 60 else shown[:57] + '...'} ({kind})"


def _quoted(key: str) -> str:
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else f'"{key}"'


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
