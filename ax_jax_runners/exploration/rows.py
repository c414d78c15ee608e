"""A walk's segments as rows of a table: one row for every stay at one point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ax_jax_runners.evaluation.features import leaf_names
from ax_jax_runners.exploration.box import SearchBox
from ax_jax_runners.exploration.segment import Segment


@dataclass(frozen=True)
class ChainRows:
    """Stays of all particles within a segment, particle by particle.

    Attributes:
        columns: ``seed_point`` and ``particle`` (int32), ``iteration`` (int64, the first recorded
            one of the stay), ``multiplicity`` (int32, how many recorded iterations it lasted within
            the segment), ``suggestions`` (int64, of the particle until then), ``violation``.
        parameters: Physical values of all free parameters, float64.
        features: What the simulator returned there.
    """

    columns: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    features: dict[str, np.ndarray]


def chain_rows(
    segment: Segment, box: SearchBox, seed_theta: np.ndarray, particles: int
) -> ChainRows:
    """Return the rows of a segment.

    Args:
        segment: Of P particles, ``particles`` of each seed point, in the order of seed points.
        box: What its coordinates mean.
        seed_theta: (P, d), physical units.
        particles: How many each seed point has.
    """
    place = np.arange(segment.rows)
    there = place[:, None] < segment.done
    begins = there.copy()
    begins[1:] &= segment.moves[1:] != segment.moves[:-1]
    lane, row = np.nonzero(begins.T)
    last = np.append(lane[1:] != lane[:-1], True) if len(lane) else np.zeros(0, dtype=bool)
    following = np.append(row[1:], 0)
    ends = np.where(last, segment.done[lane], following)
    columns = {
        "seed_point": (lane // particles).astype(np.int32),
        "particle": (lane % particles).astype(np.int32),
        "iteration": segment.iterations[row].astype(np.int64),
        "multiplicity": (ends - row).astype(np.int32),
        "suggestions": segment.suggestions[row, lane].astype(np.int64),
        "violation": segment.violation[row, lane],
    }
    theta = box.to_theta(segment.unit[row, :, lane], seed_theta[lane])
    parameters = {name: theta[:, i] for i, name in enumerate(box.space.names)}
    names = leaf_names(segment.features)
    features = {
        name: leaf[row, ..., lane]
        for name, leaf in zip(names, jax.tree.leaves(segment.features), strict=True)
    }
    return ChainRows(columns, parameters, _numbers(features))


def _numbers(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return features without complex numbers, which tables do not have: two columns for one."""
    plain: dict[str, Any] = {}
    for name, values in features.items():
        if np.iscomplexobj(values):
            plain[f"{name}.real"], plain[f"{name}.imag"] = np.real(values), np.imag(values)
        else:
            plain[name] = values
    return plain
