"""One scalar parameter of a simulator: its name, prior, search box and kind."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.bijector import Bijector
from ax_jax_runners.parameters.bijector_checks import (
    check_bijector,
    check_bounds,
    check_support,
)
from ax_jax_runners.parameters.bijectors import Identity
from ax_jax_runners.parameters.discrete_priors import ChoiceMeasure, RoundedMeasure
from ax_jax_runners.parameters.priors import LogUniformMeasure, Measure, UniformMeasure
from ax_jax_runners.parameters.scalars import Scalar, plain_bound, plain_choices, plain_scalar


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Parameter:
    """A named scalar parameter, in the units of the simulator.

    Without a prior it is uniform on [lower, upper], or log-uniform with ``log_scale=True``. With a
    prior, bounds truncate it (renormalised); a prior with an infinite tail stays whole, and its
    search box is [icdf(0.01), icdf(0.99)] on the sides without a bound.

    A bijector says how walks and gradient methods move the value. Ax, people and databases see the
    value itself; Ax on a logarithmic scale where the bijector is logarithmic.

    Attributes:
        name: any non-empty string; dots and brackets are fine.
        prior: a scalar numpyro distribution with a cdf, or None.
        lower: lower end of the finite search box; 0 for choices; the value when fixed (None for a
            fixed string).
        upper: upper end of the finite search box; the last index for choices; the value when
            fixed (None for a fixed string).
        log_scale: whether it is searched on a logarithmic scale: asked for, because the bijector
            is logarithmic, or because the prior is log-like (LogNormal, LogUniform) and the box
            positive.
        integer: whether values are integers. A continuous prior is rounded; a discrete one
            (DiscreteUniform, Poisson, ...) is used as it is.
        choices: the values it may take, in declared order, or None. All are equally probable.
        fixed: the one value it has, or None when it is free.
        bijector: the map between the value and an unconstrained raw number; None: the value itself.
        given_bounds: the bounds as the user gave them, None where not.
        asked_log_scale: whether the user asked for a logarithmic scale.
        measure: the prior as functions of JAX arrays; None when fixed.
    """

    name: str
    prior: Any
    lower: float | None
    upper: float | None
    log_scale: bool
    integer: bool
    choices: tuple[Scalar, ...] | None
    fixed: Scalar | None
    bijector: Bijector | None
    given_bounds: tuple[float | None, float | None] = field(repr=False)
    asked_log_scale: bool = field(repr=False)
    measure: Measure | None = field(repr=False)

    def __init__(
        self,
        name: str,
        prior: Any = None,
        *,
        lower: float | None = None,
        upper: float | None = None,
        log_scale: bool = False,
        integer: bool = False,
        choices: Iterable[Scalar] | None = None,
        fixed: Scalar | None = None,
        bijector: Bijector | None = None,
    ) -> None:
        """Check the description and resolve the search box.

        Raises:
            ParameterError: in one sentence, whatever cannot be used.
        """
        if not isinstance(name, str):
            raise ParameterError(
                f"A parameter's name is a {type(name).__name__} ({name!r}); give a string."
            )
        if not name.strip():
            raise ParameterError("A parameter's name is empty; give it a name.")
        check_bijector(name, bijector, integer=integer, choices=choices, fixed=fixed)
        given = plain_bound(lower, name, "lower"), plain_bound(upper, name, "upper")
        values = {
            "name": name,
            "prior": prior,
            "log_scale": bool(log_scale) or (bijector is not None and bijector.logarithmic),
            "asked_log_scale": bool(log_scale),
            "integer": bool(integer),
            "choices": None if choices is None else plain_choices(choices, name),
            "fixed": None if fixed is None else plain_scalar(fixed, f"Parameter {name!r}: fixed"),
            "bijector": bijector,
            "given_bounds": given,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)
        if self.fixed is not None:
            measure, box = None, self._fixed_box()
        elif self.choices is not None:
            self._refuse(prior=prior, lower=lower, upper=upper, what="choices")
            measure = ChoiceMeasure(len(self.choices))
            box = measure.support
        else:
            measure, box = self._range()
        object.__setattr__(self, "measure", measure)
        object.__setattr__(self, "lower", box[0])
        object.__setattr__(self, "upper", box[1])

    def _refuse(self, *, prior: Any, lower: Any, upper: Any, what: str) -> None:
        extra = {"prior": prior, "lower": lower, "upper": upper}
        found = [key for key, value in extra.items() if value is not None]
        found += [key for key in ("log_scale", "integer") if what == "choices" and vars(self)[key]]
        found += ["log_scale"] if what == "fixed" and self.log_scale else []
        if found:
            raise ParameterError(
                f"Parameter {self.name!r}: {what} is given together with {', '.join(found)}; keep "
                f"one or the other."
            )

    def _fixed_box(self) -> tuple[float | None, float | None]:
        lower, upper = self.given_bounds
        self._refuse(prior=self.prior, lower=lower, upper=upper, what="fixed")
        value = self.fixed
        if self.choices is not None:
            if value not in self.choices or isinstance(value, bool) != isinstance(
                self.choices[0], bool
            ):
                raise ParameterError(
                    f"Parameter {self.name!r}: fixed value {value!r} is not among its choices "
                    f"{self.choices}; choose one of them."
                )
            value = self.choices[self.choices.index(value)]
        elif self.integer:
            if isinstance(value, (bool, str)) or value != int(value):  # type: ignore[arg-type]
                raise ParameterError(
                    f"Parameter {self.name!r}: fixed value {value!r} is not an integer; drop "
                    f"integer=True or give an integer."
                )
            value = int(value)  # type: ignore[arg-type]
        object.__setattr__(self, "fixed", value)
        box = None if isinstance(value, str) else float(value)  # type: ignore[arg-type]
        return box, box

    def _check_bounds(self, lower: float | None, upper: float | None) -> None:
        name = self.name
        if lower is not None and upper is not None:
            if upper < lower:
                raise ParameterError(
                    f"Parameter {name!r}: upper bound {upper} is below lower bound {lower}; swap "
                    f"them."
                )
            if upper == lower:
                raise ParameterError(
                    f"Parameter {name!r}: both bounds are {lower}; use fixed={lower} instead."
                )
        for side, bound in (("lower", lower), ("upper", upper)):
            if self.integer and bound is not None and not bound.is_integer():
                raise ParameterError(
                    f"Parameter {name!r}: {side} bound {bound} of an integer parameter is not an "
                    f"integer; round it."
                )
        if self.log_scale and lower is not None and lower <= 0:
            raise ParameterError(
                f"Parameter {name!r}: log_scale needs a lower bound above 0, found {lower}; raise "
                f"the bound or drop log_scale."
            )

    def _range(self) -> tuple[Measure, tuple[float, float]]:
        lower, upper = self.given_bounds
        if self.bijector is not None:
            check_bounds(self.name, self.bijector, self.given_bounds)
        self._check_bounds(lower, upper)
        if self.prior is None:
            if lower is None or upper is None:
                missing = "lower" if lower is None else "upper"
                raise ParameterError(
                    f"Parameter {self.name!r}: no {missing} bound and no prior; give lower and "
                    f"upper, a prior, choices or fixed."
                )
            margin = 0.5 if self.integer else 0.0
            kind = LogUniformMeasure if self.log_scale else UniformMeasure
            base = kind(lower - margin, upper + margin)
            measure = RoundedMeasure(base, lower, upper) if self.integer else base
            return measure, (lower, upper)
        from ax_jax_runners.parameters.construction import measure_of, search_box
        from ax_jax_runners.parameters.distributions import LOG_LIKE, family

        measure = measure_of(self.prior, self.name, lower=lower, upper=upper, integer=self.integer)
        domain = {}
        if self.bijector is not None:
            check_support(self.name, self.bijector, measure.support)
            domain = {"domain": self.bijector.domain}
        box = search_box(measure, self.prior, lower=lower, upper=upper, **domain)
        if not all(map(math.isfinite, box)) or not box[0] < box[1]:
            raise ParameterError(
                f"Parameter {self.name!r}: prior {family(self.prior)} leaves the search box "
                f"[{box[0]}, {box[1]}]; give bounds that hold more of it."
            )
        self._check_bounds(*box)
        if family(self.prior) in LOG_LIKE and box[0] > 0:
            object.__setattr__(self, "log_scale", True)
        return measure, box

    @property
    def is_fixed(self) -> bool:
        """Whether the parameter has one value and no place in theta."""
        return self.fixed is not None

    @property
    def box(self) -> tuple[float, float]:
        """The finite search box (lower, upper).

        Raises:
            ParameterError: a fixed string, which has none.
        """
        if self.lower is None or self.upper is None:
            raise ParameterError(f"Parameter {self.name!r} is fixed at {self.fixed!r}: no range.")
        return self.lower, self.upper

    def describe(self) -> dict[str, Any]:
        """Describe the parameter as plain JSON, the same for equal parameters."""
        prior = self.prior
        if prior is not None:
            from ax_jax_runners.parameters.distributions import describe_distribution

            prior = describe_distribution(prior)
        ranged = self.choices is None and self.fixed is None
        # Absent where there is none, so that what was described before there were any stays equal.
        bijector = self.bijector or Identity()
        mapped = {} if bijector == Identity() else {"bijector": bijector.describe()}
        return {
            "name": self.name,
            "prior": prior,
            "lower": self.lower if ranged else None,
            "upper": self.upper if ranged else None,
            "truncated": list(self.given_bounds) if prior is not None else None,
            "log_scale": self.log_scale,
            "integer": self.integer,
            "choices": None if self.choices is None else list(self.choices),
            "fixed": self.fixed,
            **mapped,
        }

    def replace(self, **changes: Any) -> Parameter:
        """Return the parameter with other bounds, another scale, or fixed.

        Args:
            **changes: ``lower``, ``upper``, ``log_scale``, ``fixed``. ``fixed`` drops prior,
                bounds and bijector; bounds set a fixed parameter free again.

        Raises:
            ParameterError: another key, or a result that cannot be used.
        """
        unknown = sorted(set(changes) - {"lower", "upper", "log_scale", "fixed"})
        if unknown:
            raise ParameterError(
                f"Parameter {self.name!r}: cannot override {', '.join(map(repr, unknown))}; lower, "
                f"upper, fixed and log_scale can be."
            )
        kinds = {"integer": self.integer, "choices": self.choices}
        if changes.get("fixed") is not None:
            return Parameter(self.name, **kinds, **changes)
        changes.pop("fixed", None)
        if self.is_fixed and changes:
            return Parameter(self.name, **kinds, **changes)
        if self.choices is not None or not changes:
            return Parameter(self.name, **kinds, fixed=self.fixed, **changes) if changes else self
        lower, upper = self.given_bounds
        asked = {"lower": lower, "upper": upper, "log_scale": self.asked_log_scale, **changes}
        kept = {"integer": self.integer, "bijector": self.bijector}
        return Parameter(self.name, self.prior, **kept, **asked)

    def _key(self) -> str:
        return json.dumps(self.describe(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Parameter) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if self.is_fixed:
            return f"Parameter({self.name!r}, fixed={self.fixed!r})"
        if self.choices is not None:
            return f"Parameter({self.name!r}, choices={self.choices!r})"
        prior = f", {type(self.prior).__name__}(...)" if self.prior is not None else ""
        marks = "".join(f", {key}=True" for key in ("log_scale", "integer") if vars(self)[key])
        marks += f", bijector={self.bijector}" if self.bijector is not None else ""
        return f"Parameter({self.name!r}{prior}, lower={self.lower}, upper={self.upper}{marks})"
