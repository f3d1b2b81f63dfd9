"""One shape for every error a person reads: expected, actual, remedy."""

from __future__ import annotations


class TapelabError(Exception):
    """A failure told as what was expected, what came, and what to do about it."""

    def __init__(self, summary: str, *, expected: str, actual: str, remedy: str) -> None:
        self.summary = summary
        self.expected = expected
        self.actual = actual
        self.remedy = remedy
        super().__init__(f"{summary}: expected {expected}, got {actual}; {remedy}")


class ConfigError(TapelabError):
    """A setting or configuration file is wrong."""


class PoisonRecord(TapelabError):
    """A record on a topic cannot be processed and belongs in the dead-letter topic."""


class GapError(TapelabError):
    """Records of a sequence are missing and nothing explains why."""


class RecoveryError(TapelabError):
    """A stage cannot continue from the state it finds."""


class SourceError(TapelabError):
    """A tape cannot be read."""


class ModelMismatch(TapelabError):
    """A model does not fit what it is asked to run on."""


class RegistryError(TapelabError):
    """The model registry or a pointer in it is missing or wrong."""
