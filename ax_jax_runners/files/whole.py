"""Files of one folder, opened only when they are what a manifest says, never through a link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from ax_jax_runners.errors import ArtifactCorrupt


@contextmanager
def open_whole(path: Path, *, sha256: str, size: int, advice: str) -> Iterator[BufferedReader]:
    """Yield a file, open for reading, after its size and digest were found right.

    Args:
        path: Where it is.
        sha256: Of its bytes.
        size: In bytes.
        advice: What to do where it is not that, for the sentence.

    Raises:
        ArtifactCorrupt: Missing, a link, or another content; says which.
        OSError: It is there but cannot be read.
    """
    with open_file(path, advice=advice) as stream:
        found = os.fstat(stream.fileno()).st_size
        if found != size:
            raise ArtifactCorrupt(f"{path} has {found} bytes instead of {size}; {advice}.")
        if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
            raise ArtifactCorrupt(f"{path} does not have its digest; {advice}.")
        stream.seek(0)
        yield stream


def open_file(path: Path, *, advice: str) -> BufferedReader:
    """Open a plain file for reading.

    Raises:
        ArtifactCorrupt: Missing, a link, or no plain file.
        OSError: It is there but cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError as error:
        raise ArtifactCorrupt(f"{path} is missing; {advice}.") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ArtifactCorrupt(f"{path} is a symbolic link; {advice}.") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArtifactCorrupt(f"{path} is not a file; {advice}.")
    return os.fdopen(descriptor, "rb")
