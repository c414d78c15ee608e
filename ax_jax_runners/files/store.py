"""A folder of files named by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ax_jax_runners.errors import ArtifactCorrupt, ResultNotStorable
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays
from ax_jax_runners.files.atomic import remove_leftovers, write_atomically

Kind = Literal["npz", "parquet", "json", "text"]
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class StoredFile:
    """What a database needs to know of a file: its name, its length and how to read it.

    Attributes:
        sha256: 64 lower-case hexadecimal digits; the file's name.
        size: Length in bytes.
        kind: "npz", "parquet", "json" or "text".
    """

    sha256: str
    size: int
    kind: Kind


@dataclass(frozen=True)
class FileStore:
    """Files below one folder, found by digest and checked on every read.

    No name comes from a user: a file is ``<folder>/<first two digits>/<digest>``. Writing the
    same content twice writes it once.

    Attributes:
        folder: Where the files live; made on the first write.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    def write_arrays(self, arrays: Mapping[str, Any]) -> StoredFile:
        """Store named arrays as one npz archive; see `encode_arrays` for what it may hold.

        Raises:
            ResultNotStorable: A name or an array that has no place in an archive.
            OSError: The folder cannot be written.
        """
        return self.write_bytes(encode_arrays(arrays), "npz")

    def read_arrays(self, sha256: str) -> dict[str, Any]:
        """Return the arrays of one archive, by name.

        Raises:
            ArtifactCorrupt: The file is missing or does not have its digest.
        """
        return decode_arrays(self.read_bytes(sha256))

    def write_json(self, value: Any) -> StoredFile:
        """Store a value as JSON, with sorted keys and full precision.

        Raises:
            ResultNotStorable: The value holds NaN, infinity or something that is not JSON.
        """
        try:
            text = json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise ResultNotStorable(
                f"The value is not plain finite JSON ({error}); "
                "convert arrays to lists and drop non-finite numbers."
            ) from error
        return self.write_bytes(text.encode("utf-8"), "json")

    def read_json(self, sha256: str) -> Any:
        """Return a value that `write_json` stored.

        Raises:
            ArtifactCorrupt: The file is missing, does not have its digest, or is not JSON.
        """
        try:
            return json.loads(self.read_bytes(sha256))
        except ValueError as error:
            raise ArtifactCorrupt(
                f"File {sha256} is not JSON ({error}); read it with the method of its kind."
            ) from error

    def write_text(self, text: str) -> StoredFile:
        """Store a text as UTF-8."""
        return self.write_bytes(text.encode("utf-8"), "text")

    def read_text(self, sha256: str) -> str:
        """Return a text that `write_text` stored.

        Raises:
            ArtifactCorrupt: The file is missing, does not have its digest, or is not UTF-8.
        """
        try:
            return self.read_bytes(sha256).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactCorrupt(
                f"File {sha256} is not text ({error}); read it with the method of its kind."
            ) from error

    def write_bytes(self, data: bytes, kind: Kind) -> StoredFile:
        """Store bytes under their digest and return what names them."""
        stored = StoredFile(hashlib.sha256(data).hexdigest(), len(data), kind)
        path = self.path(stored.sha256)
        if not self._holds(path, data):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        return stored

    def read_bytes(self, sha256: str) -> bytes:
        """Return the bytes of a file after checking its digest.

        Raises:
            ArtifactCorrupt: The file is missing, is a link, or does not have its digest.
        """
        path = self.path(sha256)
        try:
            # A link planted in the folder must not lead the reader out of it.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError as error:
            raise ArtifactCorrupt(
                f"File {sha256} cannot be read from {self.folder} ({error.strerror}); "
                "restore the folder from a copy or run the trial again."
            ) from error
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read()
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise ArtifactCorrupt(
                f"File {sha256} in {self.folder} has the digest {found}: its content changed; "
                "restore it from a copy or run the trial again."
            )
        return data

    def path(self, sha256: str) -> Path:
        """Return where the file of that digest is, or would be.

        Raises:
            ArtifactCorrupt: Not 64 lower-case hexadecimal digits, or the place holds a link.
        """
        if not isinstance(sha256, str) or not _DIGEST.match(sha256):
            raise ArtifactCorrupt(
                f"{sha256!r} is not the name of a stored file; "
                "a name is 64 lower-case hexadecimal digits."
            )
        path = self.folder / sha256[:2] / sha256
        if path.is_symlink() or path.parent.is_symlink():
            raise ArtifactCorrupt(
                f"{path} is a symbolic link; remove it and restore the file itself."
            )
        return path

    def sweep(self) -> int:
        """Remove temporary files left by killed writers; return how many there were."""
        return remove_leftovers(self.folder) if self.folder.is_dir() else 0

    @staticmethod
    def _holds(path: Path, data: bytes) -> bool:
        # Compared in full, so that writing again heals a damaged file.
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except FileNotFoundError:
            return False
