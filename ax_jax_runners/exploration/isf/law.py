"""The law of proposals in the unit box, with its random stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

REACHED_WITHIN = 1e-4


@dataclass(frozen=True)
class Aim:
    """A value that one coordinate is to take.

    Attributes:
        name: The parameter.
        index: Its place among the explored ones.
        target: The value in the unit box.
        sign: Of the way from the seed point to the value: 1.0 or -1.0.
    """

    name: str
    index: int
    target: float
    sign: float


@dataclass(frozen=True, eq=False)
class Law:
    """How the next point is suggested, from the current one.

    A suggestion is a direction, uniform on the sphere, times a length, uniform between two ends.
    It is drawn again, both parts, until the point that it leads to is admissible: in the closed
    box [0, 1]^d; with ``expand`` strictly further from the seed point, in the Euclidean norm; with
    aims strictly nearer to every one that is not reached yet. One suggestion takes d normal
    numbers, then one uniform number from the stream.

    The order of the floating-point operations is part of the law: a norm is the square root of a
    sum taken from left to right.

    Attributes:
        start: The seed point, (d,) float64, in the unit box.
        min_step_size: Shortest step.
        max_step_size: Longest step.
        expand: Whether every step must lead away from the seed point.
        aims: Values to reach. Their coordinates move only towards them, and no more once there.
    """

    start: np.ndarray
    min_step_size: float
    max_step_size: float
    expand: bool = False
    aims: tuple[Aim, ...] = ()

    def reached(self, position: np.ndarray) -> tuple[bool, ...]:
        """Which aims a point in the unit box has reached."""
        return tuple(is_reached(float(position[aim.index]), aim.target) for aim in self.aims)

    def propose(
        self,
        random: np.random.RandomState,
        position: np.ndarray,
        reached: tuple[bool, ...],
        *,
        drawn: int,
        most: int,
    ) -> tuple[np.ndarray | None, int]:
        """Draw suggestions until one is admissible.

        Args:
            random: The stream.
            position: The current point, (d,) float64, in the unit box.
            reached: Which aims it has reached.
            drawn: Suggestions that were drawn from this point before.
            most: Where to give up.

        Returns:
            The admissible point, or None, and the number of suggestions with those before.
        """
        dimension = len(position)
        span = self.max_step_size - self.min_step_size
        steering = _Steering(self.aims, reached, position) if self.aims else None
        distance = _norm(position - self.start) if self.expand else 0.0
        while drawn < most:
            drawn += 1
            movement = random.standard_normal(dimension)
            if steering is not None:
                steering.turn(movement)
            length = _norm(movement)
            size = random.random_sample() * span + self.min_step_size
            if length == 0.0:  # every explored coordinate has reached its aim
                continue
            proposal = position + movement / length * size
            coordinates = proposal.tolist()
            if max(coordinates) > 1.0 or min(coordinates) < 0.0:
                continue
            if self.expand and not _norm(proposal - self.start) - distance > 0.0:
                continue
            if steering is not None and not steering.approaches(proposal):
                continue
            return proposal, drawn
        return None, drawn

    def explain_stall(self, position: np.ndarray, reached: tuple[bool, ...], drawn: int) -> str:
        """Say in one sentence why no suggestion from a point was admissible, as far as is known."""
        asked = ["in the box"]
        if self.expand:
            asked.append("further from the seed point")
        asked += [
            f"nearer to the aim of {aim.name!r} (at {position[aim.index]:.6g} of its range, aim at "
            f"{aim.target:.6g})"
            for aim, done in zip(self.aims, reached, strict=True)
            if not done
        ]
        if len(self.aims) == len(position) and all(reached):
            asked.append("away from the aims, which hold every explored parameter where it is")
        return f"None of {drawn} suggestions was {' and '.join(asked)}."


def is_reached(coordinate: float, target: float, tolerance: float = REACHED_WITHIN) -> bool:
    """Whether a coordinate of the unit box is at an aim."""
    return math.isclose(coordinate, target, abs_tol=tolerance)


class _Steering:
    """What aims ask of the suggestions from one point."""

    def __init__(
        self, aims: tuple[Aim, ...], reached: tuple[bool, ...], position: np.ndarray
    ) -> None:
        ahead = [aim for aim, done in zip(aims, reached, strict=True) if not done]
        self._there = [aim.index for aim, done in zip(aims, reached, strict=True) if done]
        self._ahead = [aim.index for aim in ahead]
        self._signs = np.array([aim.sign for aim in ahead])
        self._targets = np.array([aim.target for aim in ahead])
        self._distances = np.abs(position[self._ahead] - self._targets)

    def turn(self, movement: np.ndarray) -> None:
        movement[self._there] = 0.0
        movement[self._ahead] = np.abs(movement[self._ahead]) * self._signs

    def approaches(self, proposal: np.ndarray) -> bool:
        return bool((np.abs(proposal[self._ahead] - self._targets) < self._distances).all())


def _norm(vector: np.ndarray) -> float:
    # Unlike NumPy's own sum, which adds in pairs, a running sum adds from left to right.
    return math.sqrt(np.add.accumulate(vector * vector)[-1])
