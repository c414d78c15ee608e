"""The prior of an estimator among its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ax_jax_runners.errors import ParameterError, ResultNotStorable
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.parameters.description import space_from_description
from ax_jax_runners.posterior.persistence.document import plain


def prior_of(metadata: Mapping[str, Any]) -> ParameterSpace | None:
    """Return the prior that saved metadata describe, or None.

    Raises:
        ParameterError: A description that makes no prior of this package, or another one.
    """
    description = metadata.get("prior")
    return None if description is None else space_from_description(description)


def describe_prior(prior: ParameterSpace) -> dict[str, Any]:
    """Return what `prior_of` reads, as plain JSON.

    Raises:
        ResultNotStorable: A prior that could not be made again.
    """
    description = plain(prior.describe(), "prior")
    try:
        space_from_description(description)
    except ParameterError as error:
        raise ResultNotStorable(
            f"The estimator could not be loaded again, for its prior is lost in the metadata. "
            f"{error} Or use a distribution that numpyro has."
        ) from error
    return description
