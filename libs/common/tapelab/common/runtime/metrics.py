"""Counters and histograms that every stage exports.

Labels are the stage and, where it matters which one is behind, the partition: nothing grows with symbols,
models or offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from tapelab.common.clock import Clock, SystemClock
from tapelab.common.runtime.headers import stamps
from tapelab.common.runtime.histogram import Distribution, FastHistogram
from tapelab.common.runtime.stage import Record, Step
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.schemas.signals import Signal

_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
#: Around the usual micro-batches of 100 to 200 ms, fine enough to see them stretch.
_WINDOWS: Final = (0.01, 0.05, 0.1, 0.14, 0.15, 0.155, 0.16, 0.17, 0.18, 0.2, 0.205, 0.21, 0.225, 0.25, 0.3, 0.5, 1.0)

#: Event time of a record that a stage produces.
_EVENT_NS: Final[dict[type, Callable[[Any], int]]] = {
    Bar: attrgetter("ts_close_ns"),
    FeatureVector: attrgetter("ts_event_ns"),
    Signal: attrgetter("ts_event_ns"),
}


def watermark_gauge(registry: CollectorRegistry) -> Gauge:
    """Event time by stage and partition; the differences between stages say how far they are apart."""
    return Gauge(
        "tapelab_watermark_seconds",
        "Event time of the newest record produced, seconds since the Unix epoch.",
        ("stage", "partition"),
        registry=registry,
    )


def hop_histogram(stage: str, registry: CollectorRegistry) -> Distribution:
    """Time from the previous hop's preparing messages to this one's; ingest, bars, features, inference, api in turn."""
    return FastHistogram(
        "tapelab_hop_seconds",
        "Time from the previous hop's preparing a record to this stage's preparing its output.",
        ("stage",),
        bounds=_SECONDS,
        registry=registry,
    ).labels(stage)


class StageMetrics:
    """Metrics of one stage.

    The host calls :meth:`recovered` and :meth:`lost` as partitions come and go, and :meth:`step` for every step.
    """

    def __init__(self, stage: str, registry: CollectorRegistry, clock: Clock | None = None) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"tapelab_{name}", text, ("stage", *labels), registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"tapelab_{name}", text, ("stage", *labels), registry=registry)

        def histogram(name: str, text: str, bounds: tuple[float, ...] = _SECONDS) -> Distribution:
            return FastHistogram(f"tapelab_{name}", text, ("stage",), bounds=bounds, registry=registry).labels(stage)

        self.stage = stage
        self.clock: Clock = clock or SystemClock()
        self.records = counter("records_in", "Records read.").labels(stage)
        self.outputs = counter("records_out", "Records produced by the step.").labels(stage)
        self.seen = counter("records_seen", "Records dropped as seen before.").labels(stage)
        self.gaps = counter("gaps", "Gaps that a dead letter explains.").labels(stage)
        self.refused = counter("records_halted", "Records of symbols that are halted.").labels(stage)
        self.dead = counter("records_dead", "Records sent to the dead-letter topic.").labels(stage)
        self._adopted = counter("records_adopted", "Outputs found in the log after a restart.").labels(stage)
        self._events = counter("stage_events", "What the step counted, by kind.", "kind")
        self._halted = gauge("halted_symbols", "Symbols the stage has halted.", "partition")
        self._lag = gauge("lag_records", "Records not yet read.", "partition")
        self._watermark = watermark_gauge(registry)
        self._delay = gauge(
            "watermark_delay_seconds", "Age since ingest of the newest record when it was processed.", "partition"
        )
        self._age = gauge(
            "snapshot_age_seconds", "Age of the oldest change in no snapshot; 0 where none is.", "partition"
        )
        self._size = gauge("snapshot_bytes", "Size of the last snapshot.", "partition")
        self._skipped = counter("snapshots_skipped", "Snapshots too large to be written.").labels(stage)
        self._snapshot_s = histogram("snapshot_seconds", "Time a snapshot took, acknowledgement included.")
        self._recovery = gauge("recovery_seconds", "Time the last recovery took.").labels(stage)
        self._recoveries = counter("recoveries", "Recoveries of partitions.").labels(stage)
        self._replayed = counter("replayed_records", "Records between snapshot and log end at recovery.").labels(stage)
        self._paused = gauge("paused_partitions", "Partitions that wait for a slow output.").labels(stage)
        self._in_flight = gauge("in_flight_bytes", "Bytes read or written that wait to be done with.").labels(stage)
        self.hop = hop_histogram(stage, registry)
        self.since_ingest = histogram(
            "since_ingest_seconds", "Time from ingest's stamp on a print to this stage's preparing its output."
        )
        self.batch = histogram("step_seconds", "Time one step took; acknowledgement included where a stage decides.")
        self.window = histogram(
            "batch_window_seconds", "From the beat before to the end of a micro-batch's collection.", _WINDOWS
        )
        self._kinds: dict[str, Counter] = {}
        self._places: dict[int, tuple[Gauge, Gauge]] = {}
        self._unsaved_ns: dict[int, int | None] = {}

    def gained(self, partition: int) -> None:
        """A partition is recovered: its snapshot holds all of its state so far."""
        self._unsaved_ns[partition] = None
        self._age.labels(self.stage, str(partition)).set_function(lambda: self._age_s(partition))

    def begin(self) -> None:
        """A session with the broker begins: nothing is owned."""
        for partition in list(self._unsaved_ns):
            self.lost(partition)

    def lost(self, partition: int) -> None:
        """A partition is somebody else's: what was said of it no longer holds."""
        self._places.pop(partition, None)
        self._unsaved_ns.pop(partition, None)
        for gauge in (self._halted, self._lag, self._watermark, self._delay, self._age, self._size):
            gauge.remove_by_labels({"stage": self.stage, "partition": str(partition)})

    def recovered(self, partition: int, took_s: float, replayed: int) -> None:
        """A partition was recovered; ``replayed`` of its records lie between snapshot and log end."""
        self.gained(partition)
        self._recoveries.inc()
        self._recovery.set(took_s)
        self._replayed.inc(replayed)

    def snapshot(self, partition: int, n_bytes: int, took_s: float, unsaved_ns: int | None = None) -> None:
        """A snapshot was acknowledged; what came after ``unsaved_ns``, monotonic, if anything did, is not in it."""
        self._unsaved_ns[partition] = unsaved_ns
        self._size.labels(self.stage, str(partition)).set(n_bytes)
        self._snapshot_s.observe(took_s)

    def snapshot_skipped(self, partition: int, n_bytes: int) -> None:
        """A snapshot was too large to be written."""
        self._size.labels(self.stage, str(partition)).set(n_bytes)
        self._skipped.inc()

    def step(self, records: Sequence[Record], step: Step, now_ns: int, adopted: int = 0) -> None:
        """Count one step whose messages were prepared at ``now_ns``, apart from those found in the log."""
        self.records.inc(len(records))
        if step.outputs:
            self.outputs.inc(len(step.outputs))
        if step.dead:
            self.dead.inc(len(step.dead))
        if adopted:
            self._adopted.inc(adopted)
        if step.counts:
            self._count(step.counts)
        if not records:
            return
        partition = records[-1].partition
        if self._unsaved_ns.get(partition) is None:
            self._unsaved_ns[partition] = self.clock.monotonic_ns()
        watermark, delay = self._place(partition)
        at = stamps(records[-1].headers)
        if at[0] is not None:
            delay.set(max(0, now_ns - at[0]) / 1e9)
        if step.outputs:
            produced = step.outputs[-1].record
            watermark.set(_EVENT_NS[type(produced)](produced) / 1e9)
            if not adopted:  # what a recovery writes again was not waited for
                self._latencies(records, step, now_ns, at)

    def halted(self, partition: int, count: int) -> None:
        """Say how many symbols of a partition are halted."""
        self._halted.labels(self.stage, str(partition)).set(count)

    def lag(self, partition: int, records: int) -> None:
        """Say how far a partition is behind."""
        self._lag.labels(self.stage, str(partition)).set(records)

    def waiting(self, paused: int, in_flight_bytes: int) -> None:
        """Say how much waits for a slow output."""
        self._paused.set(paused)
        self._in_flight.set(in_flight_bytes)

    def _age_s(self, partition: int) -> float:
        since_ns = self._unsaved_ns.get(partition)
        return 0.0 if since_ns is None else (self.clock.monotonic_ns() - since_ns) / 1e9

    def _latencies(
        self, records: Sequence[Record], step: Step, now_ns: int, newest: tuple[int | None, int | None]
    ) -> None:
        # Outputs of one record have its stamps: they are read once and counted together.
        last = len(records) - 1
        cause, times = step.outputs[0].cause, 0
        for output in step.outputs:
            if output.cause != cause:
                self._latency(stamps(records[cause].headers), now_ns, times)
                cause, times = output.cause, 0
            times += 1
        self._latency(newest if cause == last else stamps(records[cause].headers), now_ns, times)

    def _latency(self, at: tuple[int | None, int | None], now_ns: int, times: int) -> None:
        ingest_ns, last_ns = at
        if ingest_ns is not None:
            self.since_ingest.observe(max(0, now_ns - ingest_ns) / 1e9, times)
        if last_ns is not None:
            self.hop.observe(max(0, now_ns - last_ns) / 1e9, times)

    def _count(self, counts: dict[str, int]) -> None:
        for kind, count in counts.items():
            child = self._kinds.get(kind)
            if child is None:
                child = self._kinds[kind] = self._events.labels(self.stage, kind)
            child.inc(count)
            if kind.endswith("_dropped") or kind == "duplicates":
                self.seen.inc(count)
            elif kind == "gaps":
                self.gaps.inc(count)
            elif kind.endswith("_halted"):
                self.refused.inc(count)

    def _place(self, partition: int) -> tuple[Gauge, Gauge]:
        place = self._places.get(partition)
        if place is None:
            labels = (self.stage, str(partition))
            place = self._places[partition] = (self._watermark.labels(*labels), self._delay.labels(*labels))
        return place
