"""Settings of the bars service."""

from __future__ import annotations

import msgspec


class BarsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """There are none besides the common ones: what is built is in ``config/pipeline.yaml``.

    Loading it makes a stray ``TAPELAB_BARS_*`` key an error at start.
    """
