"""The benchmark's contestants compute the same bars, and its result has the published shape."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from tapelab.cli.bench import kernels
from tapelab.cli.bench.kernel_peers import pandas_bars, polars_bars
from tapelab.common.errors import ConfigError
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.spec import BarSpec

TAPE = kernels.synthetic_tape(20_000)
SPEC = BarSpec("tick", 200)
PEER_NAMES = {
    "high": ("max", "high"),
    "close": ("last", "close"),
    "dollar": ("dollar", "dollar"),
    "vwap": ("vwap", "vwap"),
    "buy_volume": ("buy_volume", "buy_volume"),
    "sell_n": ("sell", "sell"),
    "realised_var": ("square", "rv"),
    "up_ticks": ("up", "up"),
    "buy_agent_hhi": ("buy_agent", "buy_agent"),
    "ret_30s": ("ret_30000000000", "ret_30000000000"),
    "n_5m": ("n_300000000000", "n_300000000000"),
    "volume_5s": ("volume_5000000000", "c_volume_5000000000"),
    "rv_1s": ("rv_1000000000", "c_rv_1000000000"),
}


@pytest.mark.parametrize("peer", [0, 1])
def test_peers_compute_the_bars_they_are_compared_on(peer: int) -> None:
    ours = compute_bars(TAPE, SPEC, kernels._ALWAYS, kernels._EVERY_TYPE, tape_ended=False)
    theirs: Any = (pandas_bars, polars_bars)[peer](TAPE, SPEC, full=True)()
    # Their running sums lack the value before the first print; compare where every window is behind it.
    late = np.flatnonzero(ours["ts_close_ns"] > TAPE.ts_event_ns[0] + 301_000_000_000)
    assert len(late) > 50
    for name, names in PEER_NAMES.items():
        column = theirs[names[peer]].to_numpy()
        np.testing.assert_allclose(column[late], ours[name][late], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_result_has_the_published_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "synthetic_tape", lambda: TAPE)
    monkeypatch.setattr(kernels.label_kernels, "rows", lambda **_: [])
    result = kernels.run(None)
    assert set(result) == {"bench", "machine", "rows"}
    works = ["tick_bars", "volume_bars", "dollar_bars", "volume_bars_full", "volume_bars_stream_512"]
    assert [row["work"] for row in result["rows"]] == works
    for row in result["rows"]:
        assert set(row) == {"work", "unit", "higher_is_better", "tapelab", "peers", "floor", "note"}
        assert set(row["peers"]) == {"pandas", "polars"}
        assert row["tapelab"] > 0


def _without_polars(name: str) -> Any:
    return None if name == "polars" else find_spec(name)


def test_a_missing_peer_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", _without_polars)
    with pytest.raises(ConfigError, match=r"no polars; install the extra .*\[bench\].* --without-peers"):
        kernels.run(None)


def test_peers_that_are_left_out_are_null_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", _without_polars)
    monkeypatch.setattr(kernels, "_peers", lambda *_, **__: pytest.fail("a peer was asked for"))
    monkeypatch.setattr(kernels, "synthetic_tape", lambda: TAPE)
    monkeypatch.setattr(kernels.label_kernels, "rows", lambda **_: [])
    result = kernels.run(None, with_peers=False)
    for row in result["rows"]:
        assert row["peers"] == {"pandas": None, "polars": None}
        assert row["note"].endswith("peers left out by --without-peers")
        assert row["tapelab"] > 0
