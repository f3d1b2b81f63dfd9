"""What the gateway exports to Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tapelab.common.runtime.metrics import hop_histogram

_SECONDS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)


class ApiMetrics:
    """Counters, gauges and the latency histogram of one gateway."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("tapelab_api_records", "Records read.", ("topic",), registry=registry)
        self.clients = Gauge("tapelab_api_ws_clients", "Open WebSockets.", registry=registry)
        self.latency = Histogram(
            "tapelab_tick_to_signal_seconds",
            "From ingest's publishing a print to the signal's arrival at the gateway.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.hop = hop_histogram("api", registry)
