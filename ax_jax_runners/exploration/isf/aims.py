"""How many points inside, with all aims reached, the particles of one seed point have found."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.exploration.isf.lock import alone
from ax_jax_runners.files import remove_leftovers, write_atomically

_COUNTS = "_aims_reached"
_FLAG = "aim_params_successful_model_"
_PATIENCE = 60.0


@dataclass(frozen=True)
class AimCounter:
    """The count of one particle, kept beside those of the other particles of its seed point.

    Each particle writes its own number, never an increment: a particle that is resumed before a
    point which it had counted comes to the same number again.

    Attributes:
        folder: The folder of the seed point.
        particle: The name of the particle's folder.
    """

    folder: Path
    particle: str

    def total(self, own: int) -> int:
        """Return the count of all particles, of which ``own`` are this one's."""
        return own + sum(n for name, n in self._read().items() if name != self.particle)

    def publish(self, own: int) -> None:
        """Write this particle's count, and name the flag file by the total.

        The empty file ``aim_params_successful_model_<total>`` in the folder of the seed point is
        renamed, so there is one of them at any time.

        Raises:
            LeaseHeld: Another process held the counts for a minute.
            ArtifactCorrupt: The counts cannot be read.
        """
        place = self._file.parent
        place.mkdir(exist_ok=True)
        with alone(place / "lock", f"The count of {self.folder}", patience=_PATIENCE):
            remove_leftovers(place)
            counts = self._read()
            counts[self.particle] = max(own, counts.get(self.particle, 0))
            write_atomically(self._file, json.dumps(counts, sort_keys=True).encode("utf-8"))
            self._raise_flag(sum(counts.values()))

    @property
    def _file(self) -> Path:
        return self.folder / _COUNTS / "counts.json"

    def _read(self) -> dict[str, int]:
        try:
            counts = json.loads(self._file.read_bytes())
            return {str(name): int(count) for name, count in counts.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise ArtifactCorrupt(
                f"{self._file} is damaged ({error}); remove it: the particles will write their "
                "counts again."
            ) from error

    def _raise_flag(self, total: int) -> None:
        flag = self.folder / f"{_FLAG}{total}"
        others = [path for path in self.folder.glob(f"{_FLAG}*") if path != flag]
        if others:
            os.rename(others[0], flag)
            for path in others[1:]:
                os.unlink(path)
        elif not flag.exists():
            flag.touch()
