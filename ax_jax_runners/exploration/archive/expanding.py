"""From rows with multiplicities to one value for each iteration and particle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.archive.manifest import canonical

if TYPE_CHECKING:
    import xarray as xr

    from ax_jax_runners.exploration.archive.view import ArchiveView

_NEEDED = ("seed_point", "particle", "iteration", "multiplicity")


def expand(view: ArchiveView) -> xr.Dataset:
    """Return every recorded state as a data set with the dimensions iteration and particle.

    A particle of a seed point is one position along `particle`, in the order of seed points, then
    particles; the coordinates `seed_point` and `particle` name it. Array features have dimensions
    of their own. Where some particles ended before others, the rest of their values is NaN,
    whole numbers and booleans become floating-point numbers, and the attribute `ragged` says so.
    `suggestions` is that of the row which holds the state, repeated with it.

    Raises:
        ConfigurationError: Columns are missing, or a particle has no state, or two, at one of the
            recorded iterations between its first and its last.
    """
    import xarray as xr

    layout = view.manifest.layout
    names = [column.name for column in layout.columns]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ConfigurationError(
            f"{view.directory} has no column {missing[0]!r}, so that its rows cannot be laid out "
            "by iteration and particle; use to_pandas()."
        )
    arrays = view.arrays()
    seed_point, particle, iteration, multiplicity = (arrays[name] for name in _NEEDED)
    chains, chain = np.unique(
        np.stack([seed_point, particle]).astype(np.int64), axis=1, return_inverse=True
    )
    thin = view.manifest.thin
    origin = int(iteration.min()) if len(iteration) else 1
    begin, odd = np.divmod(iteration - origin, thin)
    order = np.lexsort((begin, chain))
    chain, begin, times = chain[order], begin[order], multiplicity[order]
    same = chain[1:] == chain[:-1]
    wrong = np.flatnonzero(same & (begin[1:] != begin[:-1] + times[:-1]))
    if odd.any() or len(wrong):
        row = order[wrong[0] + 1] if len(wrong) else np.flatnonzero(odd)[0]
        raise ConfigurationError(
            f"Particle {particle[row]} of seed point {seed_point[row]} in {view.directory} does "
            f"not have one state at each recorded iteration before {iteration[row]}, so that its "
            "rows cannot be expanded; use to_pandas()."
        )
    length = int((begin + times).max(initial=0))
    total = int(times.sum())
    ragged = total < length * chains.shape[1]
    # The n-th copy of a row lies n places after its first.
    copies = np.arange(total) - np.repeat(np.cumsum(times) - times, times)
    place = np.repeat(begin, times) + copies, np.repeat(chain, times)
    variables = {}
    for column in layout.columns:
        if column.name in _NEEDED:
            continue
        values = arrays[column.name]
        shape = (length, chains.shape[1], *column.shape)
        if ragged:
            kind = np.result_type(values.dtype, np.float16)
            filled = np.full(shape, np.nan, kind)
        else:
            filled = np.empty(shape, values.dtype)
        filled[place] = np.repeat(values[order], times, axis=0)
        axes = [f"{column.name}_{axis}" for axis in range(len(column.shape))]
        variables[column.name] = (["iteration", "particle", *axes], filled)
    attributes = {"identity": canonical(view.identity), "thin": thin}
    if ragged:
        attributes["ragged"] = _explain(chain, begin + times, length, origin, thin)
    return xr.Dataset(
        variables,
        coords={
            "iteration": origin + thin * np.arange(length),
            "particle": chains[1],
            "seed_point": ("particle", chains[0]),
        },
        attrs=attributes,
    )


def _explain(chain: np.ndarray, end: np.ndarray, length: int, origin: int, thin: int) -> str:
    ends = np.zeros(chain.max() + 1, dtype=np.int64)
    np.maximum.at(ends, chain, end)
    short = int((ends < length).sum())
    return (
        f"{short} of {len(ends)} particles ended before iteration {origin + thin * (length - 1)}; "
        "their later values, and those before a particle's first iteration, are NaN."
    )
