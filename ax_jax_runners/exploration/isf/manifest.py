"""What is known of a particle: where it stands, and which files hold its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt

Status = Literal["running", "completed", "aims_reached", "stalled"]
_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """A file of rows.

    Attributes:
        name: File name in the particle's folder.
        sha256: Of its bytes.
        first: Iteration of its first row; 0 is the seed point.
        last: Iteration of its last row.
        merged: Whether it was made of other shards.
    """

    name: str
    sha256: str
    first: int
    last: int
    merged: bool = False


@dataclass(frozen=True)
class Standing:
    """Everything that the next iteration depends on.

    Attributes:
        iteration: Points evaluated, the seed point not counted.
        suggestions: Drawn for the next point already; more than 0 in a stalled walk only.
        inside: Points that were inside.
        aims_reached: Points that were inside with all aims reached.
        position: Current point, unit coordinates of the explored parameters.
        random: State of the random stream, see `freeze_random`.
        features: Kind, "number" or "text", of each column that the evaluation function filled.
    """

    iteration: int
    suggestions: int
    inside: int
    aims_reached: int
    position: tuple[float, ...]
    random: Mapping[str, Any]
    features: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """The file beside the shards; replacing it is what makes a checkpoint count.

    Attributes:
        law: What decides the walk, as plain JSON.
        standing: Where the walk stands.
        status: "running" until it has ended.
        reason: One sentence on the end, or nothing.
        shards: In the order of their iterations.
        merging: The shard that is being written in the place of others, if any.
        obsolete: File names that merging replaced and that are to be removed.
        damaged: Shards that did not have their digest any more and were set aside.
    """

    law: Mapping[str, Any]
    standing: Standing
    status: Status = "running"
    reason: str = ""
    shards: tuple[Shard, ...] = ()
    merging: Shard | None = None
    obsolete: tuple[str, ...] = ()
    damaged: tuple[Shard, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON, with a digest of itself."""
        body = {
            **vars(self),
            "version": _VERSION,
            "standing": vars(self.standing),
            "shards": [vars(shard) for shard in self.shards],
            "merging": None if self.merging is None else vars(self.merging),
            "damaged": [vars(shard) for shard in self.damaged],
        }
        text = _text(body)
        return f'{{"sha256": "{_digest(text)}",\n"manifest": {text}}}\n'.encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactCorrupt: Not such a file, or its digest is another.
        """
        try:
            whole = json.loads(data)
            body = whole["manifest"]
            if whole["sha256"] != _digest(_text(body)) or body.pop("version") != _VERSION:
                raise ValueError("its content changed, or another version wrote it")
            standing = {**body["standing"], "position": tuple(body["standing"]["position"])}
            merging = body["merging"]
            return cls(
                law=body["law"],
                standing=Standing(**standing),
                status=body["status"],
                reason=body["reason"],
                shards=tuple(Shard(**s) for s in body["shards"]),
                merging=None if merging is None else Shard(**merging),
                obsolete=tuple(body["obsolete"]),
                damaged=tuple(Shard(**s) for s in body["damaged"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactCorrupt(
                f"{where} is damaged ({error}); restore it from a copy, or explore with another "
                "particle_id."
            ) from error


def freeze_random(random: np.random.RandomState) -> dict[str, Any]:
    """Return the state of a stream as plain JSON."""
    state = random.get_state(legacy=False)
    keys = np.asarray(state["state"]["key"], dtype="<u4")
    return {
        "bit_generator": state["bit_generator"],
        "key": keys.tobytes().hex(),
        "pos": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }


def thaw_random(frozen: Mapping[str, Any]) -> np.random.RandomState:
    """Return the stream whose state `freeze_random` returned."""
    random = np.random.RandomState(0)
    keys = np.frombuffer(bytes.fromhex(frozen["key"]), dtype="<u4").astype(np.uint32)
    random.set_state(
        (frozen["bit_generator"], keys, frozen["pos"], frozen["has_gauss"], frozen["gauss"])
    )
    return random


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
