"""Decide every micro-batch again, offline, under the context its state record names."""

from __future__ import annotations

import logging
from bisect import bisect_left

import msgspec
from prometheus_client import CollectorRegistry

from tapelab.cli.up.collected import DECISIONS, Collected
from tapelab.common import topics
from tapelab.common.clock import SystemClock
from tapelab.common.codec import Identity, encode, identity
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.snapshots import Snapshot
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.redis import connect
from tapelab.inference.context import costs_of
from tapelab.inference.live import live_pairs
from tapelab.inference.models import Models
from tapelab.inference.scorer import InferenceScorer
from tapelab.inference.source import ContextSource
from tapelab.inference.stage import InferenceStage


async def replay_decisions(
    settings: CommonSettings, found: Collected, pipeline: Pipeline, instruments: Instruments
) -> dict[Identity, list[bytes]]:
    """Signals that follow from the feature vectors on the topic: bytes in order, by identity.

    Each partition is decided from its first vector on with a fresh stage, whatever restarts the live one
    has seen; only models and halts are taken from the state records.
    """
    models = Models(ArtifactStore(settings.artifacts), live_pairs(pipeline))
    redis = connect(settings.redis_url)
    clock = SystemClock()
    source = ContextSource(
        redis, settings.namespace, models, costs_of(instruments), logging.getLogger("tapelab.verify"), clock, _quiet
    )
    scorer = InferenceScorer(models, source, clock, CollectorRegistry())
    signals: dict[Identity, list[bytes]] = {}
    batches: dict[int, list[Record]] = {}
    for record in found.raw[DECISIONS]:
        batches.setdefault(record.partition, []).append(record)
    vectors: dict[int, list[Record]] = {}
    for record in found.raw[topics.FEATURES]:
        vectors.setdefault(record.partition, []).append(record)
    try:
        for partition, states in batches.items():
            stage = InferenceStage(partition)
            log = sorted(vectors.get(partition, []), key=lambda record: record.offset)
            offsets = [record.offset for record in log]
            for state in sorted(states, key=lambda record: record.offset):
                snapshot = msgspec.msgpack.decode(state.value or b"", type=Snapshot)
                first, end = snapshot.offsets[topics.FEATURES], snapshot.batch_end[topics.FEATURES]
                records = log[bisect_left(offsets, first) : bisect_left(offsets, end)]
                await scorer.prepare(snapshot.context)
                admitted = stage.admit(records)
                step = stage.decide(admitted, scorer.score(snapshot.context, [admitted])[0], snapshot.context)
                for output in step.outputs:
                    signals.setdefault(identity(output.record), []).append(encode(output.record))
    finally:
        await redis.aclose()
    return signals


def _quiet(detail: str) -> None:
    """Nobody watches the readiness of a recomputation."""
