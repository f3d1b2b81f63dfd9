"""Counters and histograms that every stage exports."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tapelab.common.runtime.headers import INGEST, read_stamp
from tapelab.common.runtime.stage import Record, Step

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)


class StageMetrics:
    """Metrics of one stage, all partitions together where they carry no label."""

    def __init__(self, stage: str, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"tapelab_{name}", text, ("stage", *labels), registry=registry)

        self._stage = stage
        self.records = counter("records_in", "Records read.").labels(stage)
        self.outputs = counter("records_out", "Records produced by the step.").labels(stage)
        self.dead = counter("records_dead", "Records sent to the dead-letter topic.").labels(stage)
        self.adopted = counter("records_adopted", "Outputs found in the log after a restart.").labels(stage)
        self.snapshots_skipped = counter("snapshots_skipped", "Snapshots too large to be written.").labels(stage)
        self._events = counter("stage_events", "What the step counted, by kind.", "kind")

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"tapelab_{name}", text, ("stage", *labels), registry=registry)

        self._halted = gauge("halted", "Symbols the stage has halted.", "partition")
        self._lag = gauge("lag_records", "Records not yet read.", "partition")
        self.recovery = gauge("recovery_seconds", "Time the last recovery took.").labels(stage)
        self.snapshot_bytes = gauge("snapshot_bytes", "Size of the last snapshot.").labels(stage)
        self.hop = Histogram(
            "tapelab_since_ingest_seconds",
            "Time from ingest's publishing a print to this stage's output.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        ).labels(stage)
        self.batch = Histogram(
            "tapelab_step_seconds", "Time one step took.", ("stage",), buckets=_SECONDS, registry=registry
        ).labels(stage)

    def step(self, records: Sequence[Record], step: Step, now_ns: int) -> None:
        """Count one step."""
        self.records.inc(len(records))
        self.outputs.inc(len(step.outputs))
        self.dead.inc(len(step.dead))
        for kind, count in step.counts.items():
            self._events.labels(self._stage, kind).inc(count)
        for output in step.outputs:
            ingest_ns = read_stamp(records[output.cause].headers, INGEST)
            if ingest_ns is not None:
                self.hop.observe(max(0, now_ns - ingest_ns) / 1e9)

    def halted(self, partition: int, count: int) -> None:
        """Say how many symbols of a partition are halted."""
        self._halted.labels(self._stage, str(partition)).set(count)

    def lag(self, partition: int, records: int) -> None:
        """Say how far a partition is behind."""
        self._lag.labels(self._stage, str(partition)).set(records)
