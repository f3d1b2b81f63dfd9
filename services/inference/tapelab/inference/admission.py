"""Reading feature vectors: the reader's rule, the lineage that is followed, and what cannot be a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tapelab.common import topics
from tapelab.common.codec import identity
from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.sequence import Sequencer, Verdict
from tapelab.common.runtime.stage import Dead, Record
from tapelab.common.schemas.features import FeatureVector
from tapelab.inference.lineages import first_followed
from tapelab.inference.state import State, slot


class Item(NamedTuple):
    """One vector to decide. ``broken``: what came before it is void; ``stopped``: why its symbol stopped."""

    vector: FeatureVector
    cause: int
    offset: int
    broken: bool
    stopped: str


class Admitted(NamedTuple):
    """The vectors of a batch in the log's order, and what was not admitted."""

    items: list[Item]
    dead: list[Dead]
    halts: dict[str, str]
    counts: dict[str, int]


def admit(records: Sequence[Record], state: State) -> Admitted:
    """Decode vectors, drop what was seen or is not followed, set aside what cannot be one."""
    sequencer = Sequencer(topics.FEATURES, state.sequence)
    admitted = Admitted([], [], {}, {"duplicates": 0, "gaps": 0, "vectors_halted": 0, "vectors_not_active": 0})
    for cause, record in enumerate(records):
        try:
            vector: FeatureVector = decode_keyed(record)
            _check(vector)
        except PoisonRecord as error:
            sequencer.note_dead(record.key, record.offset)
            admitted.dead.append(Dead(cause, str(error)))
            continue
        verdict = sequencer.admit(
            identity(vector), vector.seq, vector.seq + 1, partition=record.partition, offset=record.offset
        )
        if verdict.verdict is Verdict.DROP:
            admitted.counts["duplicates"] += 1
            continue
        if not _is_followed(vector, state, halted=verdict.verdict is Verdict.HALT):
            admitted.counts["vectors_not_active"] += 1
            continue
        if verdict.verdict is Verdict.HALT:
            admitted.halts[vector.symbol] = verdict.message
            admitted.counts["vectors_halted"] += 1
        admitted.counts["gaps"] += verdict.verdict is Verdict.RESET
        broken = verdict.verdict is Verdict.RESET or verdict.new_stream
        admitted.items.append(Item(vector, cause, record.offset, broken, verdict.message))
    return admitted


def _is_followed(vector: FeatureVector, state: State, *, halted: bool) -> bool:
    key = slot(vector.symbol, vector.bar_spec, vector.feature_set_id)
    followed = state.followed.get(key)
    if followed is None:
        state.followed[key] = first_followed(vector)
        return True
    return followed.takes(vector, halted=halted)


def poison(vector: FeatureVector, expected: str, actual: str) -> PoisonRecord:
    """The error of a vector that cannot be used."""
    return PoisonRecord(
        f"feature vector {vector.seq} of {vector.symbol} cannot be used",
        expected=expected,
        actual=actual,
        remedy="fix the producer; the record went to the dead-letter topic",
    )


def _check(vector: FeatureVector) -> None:
    if not vector.values or len(vector.values) % 4:
        raise poison(vector, "float32 values", f"{len(vector.values)} bytes")
    if not np.isfinite(vector.array()).all():
        raise poison(vector, "finite values", f"{np.count_nonzero(~np.isfinite(vector.array()))} that are not")
    if not (np.isfinite(vector.ref_price) and vector.ref_price > 0):
        raise poison(vector, "a price above 0", f"ref_price {vector.ref_price}")
