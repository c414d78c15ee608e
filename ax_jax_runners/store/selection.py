"""What to choose from a campaign's observations; `selection_query` finds it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

from ax_jax_runners.errors import ConfigurationError

Direction: TypeAlias = Literal["max", "min"]
Per: TypeAlias = Literal["set", "checkpoint"]
Ties: TypeAlias = Literal["earliest", "latest"]
OnEmpty: TypeAlias = Literal["raise", "none", "ignore_constraints"]

_COMPARISON = re.compile(r"\s*(?P<metric>.*?\S)\s*(?P<sign><=|>=)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True)
class _Bounded:
    """A metric must have a value, on one side of a bound.

    Attributes:
        metric: Its name.
        bound: A finite number.
        window: Its window; None: it has none.
    """

    metric: str
    bound: float
    window: str | None = None
    relation: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", _checked_bound(self.metric, self.bound))

    def __str__(self) -> str:
        return f"{label(self.metric, self.window)} {self.relation} {self.bound:g}"


class AtLeast(_Bounded):
    """A metric must have a value, and one of at least ``bound``."""

    relation = ">="


class AtMost(_Bounded):
    """A metric must have a value, and one of at most ``bound``."""

    relation = "<="


Condition: TypeAlias = AtLeast | AtMost


@dataclass(frozen=True)
class Selection:
    """Which observation to choose: the best by a metric, subject to others.

    A candidate is one member (parameter set) of one arm at one step (checkpoint). Metrics of the
    same candidate belong together. NaN is no value: it never wins, and keeps no condition.

    Attributes:
        metric: What is compared; None: nothing, the last checkpoint is chosen as such.
        window: The metric's window, such as "train"; None: it has none.
        direction: "max" or "min".
        subject_to: What must hold of the same candidate: `AtLeast`, `AtMost`, or texts such as
            "validation >= 0".
        per: None: one is chosen. "set": one for each member of each arm. "checkpoint": one for
            each step of each arm. Those without a candidate are left out.
        last: Whether only the last step of each arm counts.
        ties: Which of equally good candidates is chosen: "earliest" or "latest", by trial, then
            step, then member.
        on_empty: Where no candidate keeps the conditions: "raise", "none" (or an empty tuple), or
            "ignore_constraints", which chooses without them and says so.
    """

    metric: str | None = None
    window: str | None = None
    direction: Direction = "max"
    subject_to: Sequence[Condition | str] = ()
    per: Per | None = None
    last: bool = False
    ties: Ties = "earliest"
    on_empty: OnEmpty = "raise"

    def __post_init__(self) -> None:
        given = self.subject_to
        if isinstance(given, (str, AtLeast, AtMost)):
            given = (given,)
        read = tuple(read_condition(item) if isinstance(item, str) else item for item in given)
        for item in read:
            if not isinstance(item, (AtLeast, AtMost)):
                raise ConfigurationError(
                    f"subject_to holds {item!r}; give AtLeast, AtMost, or a text such as "
                    "'validation >= 0'."
                )
        object.__setattr__(self, "subject_to", read)
        _check_option("direction", self.direction, get_args(Direction))
        _check_option("per", self.per, (None, *get_args(Per)))
        _check_option("ties", self.ties, get_args(Ties))
        _check_option("on_empty", self.on_empty, get_args(OnEmpty))
        if self.metric is None and (not self.last or read or self.per or self.window):
            raise ConfigurationError(
                "A selection without a metric is the last checkpoint: give last=True and neither "
                "window, subject_to nor per, or name a metric."
            )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What must hold, all of it read."""
        return tuple(item for item in self.subject_to if not isinstance(item, str))

    def __str__(self) -> str:
        """What is chosen, in words."""
        if self.metric is None:
            return "the last checkpoint"
        best = "largest" if self.direction == "max" else "smallest"
        text = f"the {best} {label(self.metric, self.window)}"
        if self.last:
            text += " of the last checkpoints"
        if self.per is not None:
            text += f" of its {'parameter set' if self.per == 'set' else 'checkpoint'}"
        return text


@dataclass(frozen=True)
class Chosen:
    """What a selection chose.

    Attributes:
        trial_index: Index of its trial.
        arm_name: Name of its arm.
        step: Its checkpoint; 0 for an arm that was done at once.
        member: Its parameter set within the arm; 0 where there is one.
        metrics: All its metrics by name, a metric of a window as ``name[window]``; None where a
            value is not finite.
        reason: Why it was chosen, in words.
    """

    trial_index: int
    arm_name: str
    step: int
    member: int
    metrics: Mapping[str, float | None]
    reason: str


def read_condition(text: str) -> Condition:
    """Read ``"metric >= number"`` or ``"metric <= number"``.

    Raises:
        ConfigurationError: It says something else.
    """
    found = _COMPARISON.fullmatch(text)
    try:
        bound = float(found["bound"]) if found else math.nan
    except ValueError:
        bound = math.nan
    if found is None or not math.isfinite(bound):
        raise ConfigurationError(
            f"Condition {text!r} cannot be read; write a metric, >= or <=, and a number, such as "
            "'validation >= 0'."
        )
    kind = AtLeast if found["sign"] == ">=" else AtMost
    return kind(found["metric"], bound)


def label(metric: str, window: str | None) -> str:
    """A metric as it is shown: with its window in brackets, where it has one."""
    return f"{metric}[{window}]" if window else metric


def _checked_bound(metric: str, bound: float) -> float:
    number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
    if not number or not math.isfinite(bound):
        raise ConfigurationError(
            f"The bound of {metric!r} is {bound!r}; give a finite number, or drop the condition."
        )
    return float(bound)


def _check_option(name: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise ConfigurationError(f"{name} is {value!r}; give one of {', '.join(map(repr, known))}.")
