"""Settings of the inference service, read from ``TAPELAB_INFERENCE_*``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tapelab.common.errors import ConfigError
from tapelab.common.settings import load


class InferenceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set.

    Vectors are collected up to the next beat, every ``batch_ms``, and one model call decides them all.
    ``poll_ms`` is how often Redis is read for halts and pointers; a changed pointer is announced and read
    at once besides.
    """

    batch_ms: int = 150
    poll_ms: int = 500


def load_settings(environ: Mapping[str, str]) -> InferenceSettings:
    """Read and check them.

    Raises:
        ConfigError: an unknown key, a value out of its range, or a track.
    """
    settings = load(InferenceSettings, environ, service="inference")
    for name, value, low, high in (
        ("BATCH_MS", settings.batch_ms, 1, 5000),
        ("POLL_MS", settings.poll_ms, 50, 60_000),
    ):
        if not low <= value <= high:
            raise ConfigError(
                f"TAPELAB_INFERENCE_{name} is out of range",
                expected=f"milliseconds from {low} to {high}",
                actual=str(value),
                remedy="correct the setting; 100 to 200 is usual for BATCH_MS",
            )
    if environ.get("TAPELAB_TRACK"):
        raise ConfigError(
            "inference does not run side by side with another one: each vector would be traded twice",
            expected="no TAPELAB_TRACK",
            actual=environ["TAPELAB_TRACK"],
            remedy="replace the running inference by the new release: its positions carry over",
        )
    return settings
