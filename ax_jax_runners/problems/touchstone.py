"""Touchstone files (.s1p, .s2p, ... .ts): measured or simulated S-parameters over frequency."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError, DataFileError


@dataclass(frozen=True, eq=False)
class TouchstoneData:
    """S-parameters of a P-port; equal when the numbers are, wherever they were read from.

    Attributes:
        path: The file.
        frequency: Strictly increasing frequencies [Hz], float64, shape (F,).
        s: S-parameters, complex128, shape (F, P, P).
        z0: Reference impedance [ohm] of each port, complex128, shape (F, P).
    """

    path: Path
    frequency: np.ndarray
    s: np.ndarray
    z0: np.ndarray

    @property
    def ports(self) -> int:
        """Number of ports P."""
        return self.s.shape[1]

    def _content(self) -> tuple[tuple[int, ...], bytes, bytes, bytes]:
        return self.s.shape, self.frequency.tobytes(), self.s.tobytes(), self.z0.tobytes()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TouchstoneData):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def common_impedance(self) -> float:
        """The one real positive reference impedance [ohm] of all ports and frequencies.

        Raises:
            DataFileError: The reference impedances differ, are complex or not positive.
        """
        z0 = self.z0.flat[0]
        if not (np.all(self.z0 == z0) and z0.imag == 0.0 and z0.real > 0.0):
            raise DataFileError(
                f"{self.path}: the reference impedances are not one positive real number "
                f"(the first is {z0:g}); renormalise the file, to 50 ohm for example."
            )
        return float(z0.real)


def read_touchstone(path: str | Path) -> TouchstoneData:
    """Read a Touchstone file of version 1 or 2; Z, Y and other forms are converted to S.

    Raises:
        ConfigurationError: scikit-rf is not installed.
        DataFileError: The file is missing, empty, malformed, or holds values that are not finite or
            frequencies that do not increase.
    """
    parser = _parser()
    path = Path(path)
    text = _text(path)
    try:
        # Not skrf.Network(path), which first tries to unpickle whatever the file holds.
        parsed = parser(str(path))
        frequency, s = parsed.get_sparameter_arrays()
        z0 = np.asarray(parsed.z0)
        frequency = np.array(frequency, dtype=np.float64)
        s = np.array(s, dtype=np.complex128)
        z0 = np.array(np.broadcast_to(z0, s.shape[:2]), dtype=np.complex128)
    except Exception as error:  # the parser raises whatever the malformed text led it to
        reason = " ".join(str(error).split())
        where, what = _fault(text, path) or ("", f"cannot be read as Touchstone ({reason})")
        raise DataFileError(f"{path}{where}: {what}; correct the file.") from error
    if frequency.size == 0:
        raise DataFileError(f"{path}: holds no data rows; check that the export was complete.")
    if not (np.isfinite(frequency).all() and np.isfinite(s).all() and np.isfinite(z0).all()):
        where, what = _fault(text, path) or ("", "holds values that are not finite")
        raise DataFileError(f"{path}{where}: {what}; remove or repeat that measurement.")
    _check_frequencies(frequency, path, text)
    for array in (frequency, s, z0):
        array.flags.writeable = False
    return TouchstoneData(path, frequency, s, z0)


def _parser() -> Any:
    try:
        from skrf.io.touchstone import Touchstone
    except ImportError as error:
        raise ConfigurationError(
            "Touchstone files are read by scikit-rf, which is not installed: "
            "pip install ax-jax-runners[rf]"
        ) from error
    return Touchstone


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataFileError(
            f"{path}: there is no such file (looked for {path.absolute()}); check the path."
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataFileError(f"{path}: cannot be opened ({reason}); give a file.") from error
    if not content.strip():
        raise DataFileError(f"{path}: the file is empty; check that the export was complete.")
    return content.decode("utf-8", errors="replace")


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Line number and words of every line of numbers, comments and keyword lines left out."""
    rows = []
    free_text = False
    for number, full_line in enumerate(text.splitlines(), start=1):
        content = full_line.partition("!")[0].strip()
        keyword = content.lower()
        if keyword.startswith("[begin information]"):
            free_text = True
        elif keyword.startswith("[end information]"):
            free_text = False
        elif content and content[0] not in "#[" and not free_text:
            rows.append((number, content.split()))
    return rows


def _fault(text: str, path: Path) -> tuple[str, str] | None:
    """The first line that cannot be right, and what is wrong with it."""
    rows = _rows(text)
    for number, words in rows:
        for word in words:
            try:
                value = float(word)
            except ValueError:
                return f", line {number}", f"{word[:40]!r} is not a number"
            if not np.isfinite(value):
                return f", line {number}", f"the value {word} is not finite"
    # One- and two-ports have one line a frequency; a two-port may be followed by noise parameters.
    widths = {".s1p": (3,), ".s2p": (9, 5)}.get(path.suffix.lower())
    for number, words in rows:
        if widths and len(words) not in widths:
            return f", line {number}", f"{len(words)} numbers where {widths[0]} are expected"
    return None


def _check_frequencies(frequency: np.ndarray, path: Path, text: str) -> None:
    if frequency[0] < 0.0:
        raise DataFileError(f"{path}: the frequency {frequency[0]:g} Hz is negative; correct it.")
    for index, (before, after) in enumerate(pairwise(frequency)):
        if after <= before:
            rows = _rows(text)
            # A line number is certain only where every row of the file is one frequency.
            where = f", line {rows[index + 1][0]}" if len(rows) == frequency.size else ""
            raise DataFileError(
                f"{path}{where}: frequency {after:.10g} Hz follows {before:.10g} Hz; "
                "sort the rows and remove repeated frequencies."
            )
