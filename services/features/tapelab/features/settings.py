"""Settings of the features service."""

from __future__ import annotations

import msgspec


class FeaturesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings beside the common ones, read from ``TAPELAB_FEATURES_*``.

    ``warm_kernels`` loads or compiles the kernels before the service says that it is ready, so that the
    first bar does not wait for it.
    """

    warm_kernels: bool = True
