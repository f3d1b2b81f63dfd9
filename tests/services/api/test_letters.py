"""Poison on the topics that the gateway reads first."""

from __future__ import annotations

import pytest

from tapelab.api.letters import DeadLetters
from tapelab.api.live import Live
from tapelab.common import topics
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.headers import ORIGIN, REASON, STAGE
from tapelab.common.runtime.stage import Record


@pytest.fixture
def sent() -> list[Record]:
    return []


def letters(live: Live, sent: list[Record]) -> DeadLetters:
    async def send(topic: str, key: str, value: bytes, *, partition: int | None, headers: object) -> None:
        sent.append(Record(topic, partition or 0, len(sent), key.encode(), value, tuple(headers)))  # type: ignore[call-overload]

    return DeadLetters(live, send)


def fresh_live() -> Live:
    return Live(Pipeline(bars=("tick:50",), features=()), 0)


async def test_poison_on_signals_is_sent_with_reason_stage_and_origin(sent: list[Record]) -> None:
    live = fresh_live()
    box = letters(live, sent)
    box.add(live.take([Record(topics.SIGNALS, 2, 9, b"WINZ26", b"garbage")], 0).poison)
    await box.flush()
    (letter,) = sent
    headers = dict(letter.headers)
    assert (letter.topic, letter.partition, letter.key, letter.value) == (
        topics.SIGNALS + topics.DLQ_SUFFIX,
        2,
        b"WINZ26",
        b"garbage",
    )
    assert b"cannot be decoded" in headers[REASON]
    assert headers[STAGE] == b"api"
    assert headers[ORIGIN] == b"ml.signals.v1[2]@9"


async def test_a_restarted_gateway_does_not_send_it_again(sent: list[Record]) -> None:
    poison = Record(topics.EVENTS, 0, 4, b"exp-1", b"garbage")
    first = fresh_live()
    box = letters(first, sent)
    box.add(first.take([poison], 0).poison)
    await box.flush()
    again = fresh_live()
    box = letters(again, sent)
    # Topics come in any order: the poison may be read before the letter that tells of it.
    box.add(again.take([poison], 0).poison)
    again.take(sent[:1], 0)
    await box.flush()
    assert len(sent) == 1


async def test_poison_of_other_topics_is_left_to_the_stage_behind_them(sent: list[Record]) -> None:
    live = fresh_live()
    box = letters(live, sent)
    box.add(live.take([Record(topics.TICKS, 0, 0, b"WINZ26", b"garbage")], 0).poison)
    await box.flush()
    assert sent == []
