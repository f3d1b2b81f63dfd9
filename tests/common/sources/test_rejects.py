"""The list of malformed rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapelab.common.sources.rejects import Rejects


@pytest.mark.parametrize("path", [Path("/dev/full"), Path("/proc/none/rejects.csv")])
def test_a_list_that_cannot_be_written_is_said_once_and_the_reading_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # /dev/full stays
    with Rejects(path) as rejects:
        for line in range(20_000):
            rejects.add("tape.csv", line, "no positive price")
        rejects.flush()
    assert rejects.count == 20_000
    assert rejects.first == "tape.csv line 0: no positive price"
    assert rejects.unlisted > 0
    said = [record for record in caplog.records if "cannot be written" in record.message]
    assert len(said) == 1
