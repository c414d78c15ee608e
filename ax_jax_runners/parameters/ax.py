"""Parameter spaces as Ax search spaces, and back.

Ax reads the text of a parameter constraint with SymPy whenever it loads, clones or rescales one. A
name with a bracket is refused there, one that SymPy owns (``beta``, ``S``) too, and ``a-b`` is read
as a difference. :func:`read_any_name_in_constraints` teaches Ax to take the names of the form that
Ax itself writes, ``c * name + ... <= b``, as they stand. ``to_ax`` calls it when a name needs it; a
process that loads such an experiment from a database calls it before.
"""

from __future__ import annotations

import functools
import keyword
import re
from typing import TYPE_CHECKING, Any

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.constraints import LinearConstraint
from ax_jax_runners.parameters.parameter import Parameter
from ax_jax_runners.parameters.space import ParameterSpace

if TYPE_CHECKING:
    from ax.core.parameter import Parameter as AxParameter
    from ax.core.parameter_constraint import ParameterConstraint
    from ax.core.search_space import SearchSpace

#: Ax refuses ranges below 100 of its EPS.
_LEAST_WIDTH = 1.5e-5
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TERM = re.compile(rf"({_NUMBER}) \* (\S.*)")
_WRITTEN = re.compile(rf"(.+) (<=|==) ({_NUMBER})")
_NEXT_TERM = re.compile(rf" \+ (?={_NUMBER} \* )")


def _plain_name(name: str) -> bool:
    """Tell whether Ax's own reader takes a name as it stands."""
    from ax.utils.common.string_utils import SYMPY_GLOBALS

    parts = name.split(".")
    return all(part.isidentifier() and part.isascii() for part in parts) and not any(
        part in SYMPY_GLOBALS or keyword.iskeyword(part) or "__" in part for part in parts
    )


def _written_terms(text: str) -> dict[str, float] | None:
    """Split ``c * name + ... <= b`` into coefficients; None for any other text."""
    whole = _WRITTEN.fullmatch(text.strip())
    if whole is None:
        return None
    terms = [_TERM.fullmatch(part) for part in _NEXT_TERM.split(whole[1])]
    if any(term is None for term in terms):
        return None
    found = {term[2]: float(term[1]) for term in terms if term is not None}
    if all(map(_plain_name, found)) or any(name.startswith("(") for name in found):
        return None
    return {**found, "": -float(whole[3])}


@functools.cache
def read_any_name_in_constraints() -> None:
    """Let Ax read, clone, rescale and load parameter constraints whatever their names hold.

    Wraps the reader inside ``ax.core.parameter_constraint`` for the whole process. Only text of
    the form that Ax itself writes, with a name that Ax refuses or misreads, is treated differently.
    Calling it again does nothing.
    """
    from ax.core import parameter_constraint
    from sympy import Float, Symbol

    def widened(stock: Any, keyword_name: str) -> Any:
        @functools.wraps(stock)
        def read(*args: Any, **kwargs: Any) -> dict[Any, float]:
            text = kwargs[keyword_name] if keyword_name in kwargs else args[0]
            terms = _written_terms(text)
            if terms is None:
                return stock(*args, **kwargs)
            return {(Symbol(name) if name else Float(1.0)): c for name, c in terms.items()}

        return read

    for kind in ("inequality", "equality"):
        function = f"extract_coefficient_dict_from_{kind}"
        stock = getattr(parameter_constraint, function)
        setattr(parameter_constraint, function, widened(stock, f"{kind}_str"))


def _ax_parameter(parameter: Parameter, *, linear: bool) -> AxParameter:
    from ax.core.parameter import ChoiceParameter, FixedParameter, ParameterType, RangeParameter

    kinds = {
        bool: ParameterType.BOOL,
        int: ParameterType.INT,
        float: ParameterType.FLOAT,
        str: ParameterType.STRING,
    }
    if parameter.fixed is not None:
        return FixedParameter(parameter.name, kinds[type(parameter.fixed)], parameter.fixed)
    if parameter.choices is not None:
        kind = type(parameter.choices[0])
        numeric = kind in (int, float)
        # Bools too: what Ax's decoder makes of a stored parameter must equal the live one.
        in_order = kind is not str
        return ChoiceParameter(
            parameter.name,
            kinds[kind],
            list(parameter.choices),
            is_ordered=numeric or len(parameter.choices) == 2,
            sort_values=in_order,
            log_scale=False,
        )
    kind = int if parameter.integer else float
    lower, upper = parameter.box
    if upper - lower < _LEAST_WIDTH:
        raise ParameterError(
            f"Parameter {parameter.name!r}: its range [{lower}, {upper}] is narrower than the "
            f"{_LEAST_WIDTH:.3g} that Ax demands; declare it in a smaller unit (pF instead of F)."
        )
    return RangeParameter(
        parameter.name,
        kinds[kind],
        lower=kind(lower),
        upper=kind(upper),
        log_scale=parameter.log_scale and not linear,
    )


def _ax_constraint(constraint: LinearConstraint) -> ParameterConstraint:
    from ax.core.parameter_constraint import ParameterConstraint

    if not all(_plain_name(name) for name, _ in constraint.coefficients):
        read_any_name_in_constraints()
    return ParameterConstraint(inequality=str(constraint))


def to_ax(space: ParameterSpace) -> SearchSpace:
    """Map a space to Ax: ranges, choices, fixed values and linear constraints, names unchanged.

    A parameter is on Ax's log scale where its ``log_scale`` says so, except under a constraint:
    Ax allows linear constraints on linear scales only. Numeric choices are ordered. Priors have no
    place in Ax; their search box goes there.

    Raises:
        ParameterError: a range too narrow for Ax.
    """
    from ax.core.search_space import SearchSpace

    constrained = {n for item in space.linear_constraints for n, _ in item.coefficients}
    return SearchSpace(
        parameters=[_ax_parameter(p, linear=p.name in constrained) for p in space.parameters],
        parameter_constraints=[_ax_constraint(item) for item in space.linear_constraints],
    )


def _parameter(parameter: AxParameter) -> Parameter:
    from ax.core.parameter import ChoiceParameter, FixedParameter, ParameterType, RangeParameter

    name = parameter.name
    if parameter.is_hierarchical:
        raise ParameterError(
            f"Parameter {name!r}: Ax's hierarchical parameters have no place in a parameter "
            f"space; flatten it."
        )
    if isinstance(parameter, RangeParameter) and not parameter.logit_scale:
        return Parameter(
            name,
            lower=parameter.lower,
            upper=parameter.upper,
            log_scale=parameter.log_scale,
            integer=parameter.parameter_type == ParameterType.INT,
        )
    if isinstance(parameter, ChoiceParameter):
        return Parameter(name, choices=parameter.values)  # type: ignore[arg-type]
    if isinstance(parameter, FixedParameter):
        return Parameter(name, fixed=parameter.value)
    kind = "logit-scale range" if isinstance(parameter, RangeParameter) else "kind"
    raise ParameterError(
        f"Parameter {name!r}: Ax's {type(parameter).__name__} of this {kind} has no place in a "
        f"parameter space; use a range, choice or fixed parameter."
    )


def from_ax(search_space: SearchSpace) -> ParameterSpace:
    """Read an Ax search space.

    Ax keeps no numpyro priors, so ranges come back uniform, or log-uniform on a log scale; choices
    that are not strings come back sorted. A space without priors survives the way to Ax and back.

    Raises:
        ParameterError: hierarchical, derived or logit-scale parameters, equality constraints.
    """
    constraints = []
    for item in search_space.parameter_constraints:
        if item.is_equality:
            raise ParameterError(
                f"Constraint {item!r} is an equality; a parameter space has inequalities only."
            )
        terms = tuple((name, float(c)) for name, c in item.constraint_dict.items())
        constraints.append(str(LinearConstraint(terms, float(item.bound))))
    parameters = [_parameter(p) for p in search_space.parameters.values()]
    return ParameterSpace(parameters, constraints=constraints)
