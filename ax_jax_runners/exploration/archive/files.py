"""Files of one folder, opened only when they are what the manifest says, never through a link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from ax_jax_runners.errors import ArtifactCorrupt

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


@contextmanager
def open_whole(folder: Path, file: Named) -> Iterator[BufferedReader]:
    """Yield a file, open for reading, after its size and digest were found right.

    Raises:
        ArtifactCorrupt: Missing, a link, or another content; says which.
        OSError: It is there but cannot be read.
    """
    path = folder / file.name
    with _open(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size != file.size:
            raise ArtifactCorrupt(f"{path} has {size} bytes instead of {file.size}; {_ADVICE}.")
        if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
            raise ArtifactCorrupt(f"{path} does not have its digest; {_ADVICE}.")
        stream.seek(0)
        yield stream


def read_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        ArtifactCorrupt: Missing or a link.
        OSError: It is there but cannot be read.
    """
    with _open(path) as stream:
        return stream.read()


def _open(path: Path) -> BufferedReader:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError as error:
        raise ArtifactCorrupt(f"{path} is missing; {_ADVICE}.") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ArtifactCorrupt(f"{path} is a symbolic link; {_ADVICE}.") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArtifactCorrupt(f"{path} is not a file; {_ADVICE}.")
    return os.fdopen(descriptor, "rb")
