"""Artifacts: files by the hash of their bytes."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from tapelab.common.errors import ConfigError, RegistryError


class ArtifactStore:
    """A folder in which a file's name is the sha256 of its bytes.

    Writing the same bytes twice is one file. Files appear whole or not at all, so a reader on the same
    folder never sees half of one.

    Args:
        root: the folder; it is created on the first write.

    Raises:
        ConfigError: ``root`` is a URL.
    """

    def __init__(self, root: str | Path) -> None:
        if "://" in str(root):
            raise ConfigError(
                "artifacts cannot be kept there",
                expected="a local folder",
                actual=str(root),
                remedy="set TAPELAB_ARTIFACTS to a folder that every service sees",
            )
        self._root = Path(root)

    def put(self, data: bytes) -> str:
        """Store bytes; their sha256 as 64 hex digits.

        Raises:
            RegistryError: the disk is full, or may not be written to.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path(sha256)
        if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256:
            return sha256
        try:
            self._write(target, data)
        except OSError as error:
            raise RegistryError(
                f"an artifact of {len(data):,} bytes cannot be written",
                expected=f"room and rights in {target.parent}",
                actual=f"{type(error).__name__}: {error}",
                remedy="make room, then start the experiment again; nothing of the artifact was left behind",
            ) from error
        return sha256

    def _write(self, target: Path, data: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp files are private to their user; services may run as different ones.
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name, too, outlives a power cut
        finally:
            os.close(folder)

    def put_file(self, path: str | Path) -> str:
        """Store a file's bytes; see :meth:`put`."""
        return self.put(Path(path).read_bytes())

    def get(self, sha256: str) -> bytes:
        """The bytes of a digest.

        Raises:
            RegistryError: there is no such file, or its bytes have another digest.
        """
        target = self.path(sha256)
        try:
            data = target.read_bytes()
        except FileNotFoundError as error:
            raise RegistryError(
                "an artifact is missing",
                expected=f"a file with sha256 {sha256} at {target}",
                actual="no such file",
                remedy="check that TAPELAB_ARTIFACTS is the folder the trainer writes to, or train the model again",
            ) from error
        actual = hashlib.sha256(data).hexdigest()
        if actual != sha256:
            raise RegistryError(
                f"an artifact is damaged: {target}",
                expected=f"sha256 {sha256}",
                actual=f"sha256 {actual} over {len(data)} bytes",
                remedy="restore the file, or train the model again",
            )
        return data

    def path(self, sha256: str) -> Path:
        """Where the bytes of a digest are, or would be.

        Raises:
            RegistryError: not 64 lower-case hex digits.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise RegistryError(
                "not an artifact's address",
                expected="a sha256 as 64 lower-case hex digits",
                actual=repr(sha256),
                remedy="take it from the model's manifest",
            )
        return self._root / sha256[:2] / sha256
