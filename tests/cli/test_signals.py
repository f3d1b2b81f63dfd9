"""Following signals."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tapelab.cli.commands import signals
from tapelab.common import topics
from tapelab.common.codec import encode
from tapelab.common.runtime.stage import Record
from tests.contracts.records import signal


class _Reader:
    """Three signals on the topic."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    async def __aenter__(self) -> _Reader:
        return self

    async def __aexit__(self, *_: Any) -> None: ...

    async def read_to_end(self) -> list[Record]:
        values = [encode(msgspec.structs.replace(signal(), signal_id=f"{n:032x}")) for n in range(3)]
        return [Record(topics.SIGNALS, 0, n, b"WINZ26", value, (), 0) for n, value in enumerate(values)]


@pytest.mark.parametrize(("last", "shown"), [("0", []), ("2", [1, 2]), ("9", [0, 1, 2])])
def test_as_many_of_the_newest_are_shown_as_asked(
    last: str, shown: list[int], command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "TopicReader", _Reader)
    monkeypatch.setenv("TAPELAB_BROKER", "127.0.0.1:1")
    done = command("signals", "tail", "--no-follow", "--json", "--last", last)
    assert [int(json.loads(line)["signal_id"], 16) for line in done.out.splitlines()] == shown


def test_a_negative_number_is_refused(command) -> None:
    done = command("signals", "tail", "--last", "-5")
    assert done.code == 2
    assert "--last" in done.err


def test_a_broker_that_is_not_there_is_one_line(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELAB_BROKER", "127.0.0.1:1")
    done = command("signals", "tail")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "127.0.0.1" in line
