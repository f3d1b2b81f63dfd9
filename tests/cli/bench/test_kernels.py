"""The benchmark's contestants compute the same bars, and its result has the published shape."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapelab.cli.bench import kernel_peers_apart, kernels, kernels_scaling
from tapelab.cli.bench.kernel_peers import PythonBars, pandas_bars, polars_bars
from tapelab.cli.bench.kernel_peers_agree import bars_agree
from tapelab.common.errors import ConfigError
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.plain import compute_plain_bars
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


WORKS = ["tick_bars", "volume_bars", "dollar_bars", "volume_bars_full", "volume_bars_stream_512"]
WORKS += ["volume_bars_full_stream_512"]


def _run_short(monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, Any]:
    monkeypatch.setattr(kernels, "synthetic_tape", lambda: TAPE)
    monkeypatch.setattr(kernels, "feature_rows", lambda *_, **__: [])
    monkeypatch.setattr(kernels.label_kernels, "rows", lambda **_: [])
    monkeypatch.setattr(kernels_scaling, "LENGTHS", (1_000, 30_000, 100_000))
    monkeypatch.setattr(kernels_scaling, "SYMBOLS", (1, 2))
    return kernels.run(None, **options)


@pytest.mark.slow
def test_the_result_has_the_published_shape(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = _run_short(monkeypatch, peers_env=tmp_path)
    assert set(result) == {"bench", "machine", "rows"}
    assert [row["work"] for row in result["rows"]][: len(WORKS)] == WORKS
    for row in result["rows"]:
        assert set(row) == {"work", "unit", "higher_is_better", "tapelab", "peers", "floor", "note"}
        assert row["tapelab"] > 0
    for row in result["rows"][:4]:
        assert set(row["peers"]) == {"pandas", "polars", "nautilus", "mlfinpy"}
        assert row["peers"]["polars"] > 0
        assert row["peers"]["nautilus"] is None
        assert f"nautilus not installed below {tmp_path}: run once with --install-peers" in row["note"]
    (cold,) = [row for row in result["rows"] if row["work"] == "cold_start"]
    assert cold["unit"] == "s"
    assert not cold["higher_is_better"]
    short, long = (row["tapelab"] for row in result["rows"] if "memory" in row["work"])
    assert long < 1.5 * short


def test_a_tape_of_any_length_comes_in_order_and_in_pieces() -> None:
    pieces = list(kernels_scaling._pieces(TAPE, 50_001))
    assert [first_seq for _, first_seq in pieces] == np.cumsum([0, *(piece.n for piece, _ in pieces[:-1])]).tolist()
    whole = kernels.Ticks.concatenate([piece for piece, _ in pieces])
    assert whole.n == 50_001
    assert (np.diff(whole.ts_event_ns) >= 0).all()
    assert (whole.price[20_000:40_000] == TAPE.price).all()


@pytest.mark.parametrize("spec", [SPEC, BarSpec("volume", 900.0), BarSpec("dollar", 1e8)])
def test_bars_are_compared_before_they_are_timed(spec: BarSpec) -> None:
    ours = compute_plain_bars(TAPE, spec, kernels._ALWAYS, kernels._EVERY_TYPE)
    theirs: dict[str, Any] = {"pandas": pandas_bars(TAPE, spec)(), "polars": polars_bars(TAPE, spec)()}
    assert bars_agree(ours, theirs, TAPE, spec) == "outputs compared"
    for name in ("close", "volume"):
        other = ours.copy()
        other[name][3] += 1
        with pytest.raises(RuntimeError, match=rf"computes another {name} of {spec.kind}"):
            bars_agree(other, theirs, TAPE, spec)
    split = ours.copy()
    split["day"][5:] += 1
    assert bars_agree(split, theirs, TAPE, spec).startswith("outputs not compared: several days")


def test_the_plain_python_peer_computes_the_same_bars() -> None:
    ours = compute_plain_bars(TAPE, BarSpec("volume", 900.0), kernels._ALWAYS, kernels._EVERY_TYPE, tape_ended=False)
    theirs = np.array(PythonBars(900.0).update(TAPE))
    fields = ("ts_open_ns", "ts_close_ns", "open", "high", "low", "close", "volume", "dollar", "vwap", "n")
    for at, name in enumerate((*fields, "buy_n", "sell_n", "buy_volume", "sell_volume")):
        np.testing.assert_array_equal(theirs[:, at], ours[name].astype(np.float64), err_msg=name)


def test_a_peer_that_fails_is_null_with_its_last_word(tmp_path: Path) -> None:
    for peer in kernel_peers_apart.PACKAGES:
        (tmp_path / peer / "bin").mkdir(parents=True)
        python = tmp_path / peer / "bin" / "python"
        python.write_text("#!/bin/sh\necho 'no such module' >&2\nexit 1\n")
        python.chmod(0o755)
    found, note = kernel_peers_apart.rates(TAPE, SPEC, tmp_path)
    assert found == {"nautilus": None, "mlfinpy": None}
    assert note == "nautilus failed: no such module; mlfinpy failed: no such module"


def test_an_environment_is_made_once_and_again_after_it_was_cut_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True, exist_ok=True)
        failed = "mlfinpy==0.1.2" in command and len(commands) < 5
        return subprocess.CompletedProcess(command, int(failed), "", "no such host")

    monkeypatch.setattr(kernel_peers_apart.subprocess, "run", run)
    with pytest.raises(ConfigError, match=r"peer mlfinpy.*no such host"):
        kernel_peers_apart.install(tmp_path)
    kernel_peers_apart.install(tmp_path)
    assert sum("venv" in command for command in commands) == 3
    said = capsys.readouterr().err
    assert "peers 1/2: nautilus: making an environment" in said
    assert " for nautilus_trader==" in said
    assert f"peers 1/2: nautilus is there, in {tmp_path / 'nautilus'}" in said
    kernel_peers_apart.install(tmp_path)
    assert len(commands) == 6


def _without_polars(name: str) -> Any:
    return None if name == "polars" else find_spec(name)


def test_a_missing_peer_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", _without_polars)
    with pytest.raises(ConfigError, match=r"no polars; install the extra .*\[bench\].* --without-peers"):
        kernels.run(None)


def test_peers_that_are_left_out_are_null_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", _without_polars)
    monkeypatch.setattr(kernels, "_peers", lambda *_, **__: pytest.fail("a peer was asked for"))
    monkeypatch.setattr(kernels_scaling, "rows", lambda *_: [])
    result = _run_short(monkeypatch, with_peers=False)
    for row in result["rows"][: len(WORKS)]:
        assert all(figure is None for name, figure in row["peers"].items() if name != "python")
        assert row["note"].endswith("peers left out by --without-peers")
        assert row["tapelab"] > 0
