"""Files of an archive, opened only when they are what the manifest says."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from ax_jax_runners.files import whole

_ADVICE = "restore it from a copy, or open the archive for writing to go on from what is whole"


@dataclass(frozen=True)
class Named:
    """A file and what it must be.

    Attributes:
        name: Within the archive's folder.
        sha256: Of its bytes.
        size: In bytes.
    """

    name: str
    sha256: str
    size: int


def open_whole(folder: Path, file: Named) -> AbstractContextManager[BufferedReader]:
    """Yield a file, open for reading, after its size and digest were found right.

    Raises:
        ArtifactCorrupt: Missing, a link, or another content; says which.
        OSError: It is there but cannot be read.
    """
    return whole.open_whole(folder / file.name, sha256=file.sha256, size=file.size, advice=_ADVICE)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        ArtifactCorrupt: Missing or a link.
        OSError: It is there but cannot be read.
    """
    with whole.open_file(path, advice=_ADVICE) as stream:
        return stream.read()
