"""``tapelab backtest``: a trained folder on a tape, with the trainer's own figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tapelab.common.serving.load import load_model
from tapelab.common.serving.manifest import decode_manifest
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.trainer.cli import train_local
from tapelab.trainer.strategy import Strategy, backtest_period
from tests.services.trainer.data import CONFIG_DIR, SMALL, TAPE, config, symbols

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "experiment.yaml").write_text(yaml.safe_dump(SMALL))
    train_local(folder / "experiment.yaml", folder / "out", settings=CommonSettings(config_dir=str(CONFIG_DIR)))
    return folder / "out"


def words(model: Path, out: Path, *more: str) -> list[str]:
    where = ["--format", "simulator", "--config-dir", str(CONFIG_DIR), "--out", str(out), "--json"]
    return ["backtest", str(model), "--tape", TAPE, *where, *more]


def test_the_figures_are_those_of_the_trainers_own_backtest(command: Any, model: Path, tmp_path: Path) -> None:
    report = json.loads(command(*words(model, tmp_path / "report")).out)
    manifest = decode_manifest((model / "manifest.json").read_bytes())
    served = load_model(manifest, ArtifactStore(model / "artifacts"))

    class Served:
        def scores(self, x: Any) -> Any:
            return served.predict(x)

    strategy = Strategy(Served(), manifest.calibration, manifest.decision.threshold)
    periods = backtest_period(symbols(), strategy, config(), 0, 2**62)
    assert [item["symbol"] for item in report["symbols"]] == [period.symbol for period in periods]
    assert sum(item["kpis"]["n_trades"] for item in report["symbols"]) > 0
    equity = pq.read_table(tmp_path / "report" / "equity.parquet")
    trades = pq.read_table(tmp_path / "report" / "trades.parquet")
    for item, period in zip(report["symbols"], periods, strict=True):
        for name, value in period.result.kpis._asdict().items():
            assert item["kpis"][name] == (value if np.isfinite(value) else None)
        of_symbol = equity.filter(np.array(equity["symbol"]) == period.symbol)
        assert of_symbol["equity"].to_numpy().tobytes() == period.result.equity.tobytes()
        written = trades.filter(np.array(trades["symbol"]) == period.symbol)
        assert written["net"].to_numpy().tobytes() == period.result.trades["net"].tobytes()
        picture = (tmp_path / "report" / f"equity-{period.symbol}.svg").read_text()
        assert picture.startswith("<svg")
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert told["symbols"] == report["symbols"]


def test_profit_on_the_bars_of_the_training_is_called_in_sample(command: Any, model: Path, tmp_path: Path) -> None:
    said = [word for word in words(model, tmp_path / "seen", "--symbol", "WINZ26") if word != "--json"]
    assert "WARNING: in sample, no evidence of profit: the model was trained on these bars (WINZ26 100%)" in (
        command(*said).out
    )
    told = json.loads((tmp_path / "seen" / "report.json").read_text())
    assert told["symbols"][0]["in_sample"] == 1.0
    assert ", 100% in sample" in (tmp_path / "seen" / "equity-WINZ26.svg").read_text()

    fresh = [*said, "--out", str(tmp_path / "fresh"), "--tape", "seed=5,days=1,hours=1,start=2031-03-03"]
    assert "WARNING" not in command(*fresh).out
    told = json.loads((tmp_path / "fresh" / "report.json").read_text())
    assert told["symbols"][0]["in_sample"] == 0.0
    assert "in sample" not in (tmp_path / "fresh" / "equity-WINZ26.svg").read_text()


def test_every_setting_tried_on_a_tape_counts_once(command: Any, model: Path, tmp_path: Path) -> None:
    def tried(*more: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(command(*words(model, tmp_path, "--symbol", "WINZ26", *more)).out)["trials"]
        return found

    alone = tried()
    assert (alone["n_trials"], alone["counted_in"]) == (1, "trials.jsonl beside the result")
    assert alone["deflated_sharpe"] == alone["probabilistic_sharpe"]
    # What the model says anyway is its own setting.
    assert tried("--latency-ms", "200", "--lots", "1")["n_trials"] == 1
    changes = [("--threshold", "0.0001"), ("--latency-ms", "90"), ("--spread", "roll"), ("--max-short", "0")]
    for number, change in enumerate(changes, start=2):
        assert tried(*change)["n_trials"] == number
    again = tried()
    assert again["n_trials"] == 5
    assert again["deflated_sharpe"] <= again["probabilistic_sharpe"] == alone["probabilistic_sharpe"]
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 7
    # Another time of the same symbol is other data.
    assert tried("--tape", "seed=5,days=1,hours=1,start=2031-03-03")["n_trials"] == 1
    said = [word for word in words(model, tmp_path, "--symbol", "WINZ26") if word != "--json"]
    (line,) = (line for line in command(*said).out.splitlines() if line.startswith("tried on"))
    assert line.startswith("tried on this data: 5, this one included (trials.jsonl beside the result); probability")


def test_settings_change_what_they_name(command: Any, model: Path, tmp_path: Path) -> None:
    latencies = tmp_path / "latencies.txt"
    latencies.write_text("5\n80\n700.5\n")
    more = ["--symbol", "WINZ26", "--lots", "4", "--max-short", "0", "--latencies", str(latencies), "--seed", "3"]
    first = json.loads(command(*words(model, tmp_path / "a", *more)).out)
    again = json.loads(command(*words(model, tmp_path / "b", *more)).out)
    assert [item["symbol"] for item in first["symbols"]] == ["WINZ26"]
    assert first["symbols"] == again["symbols"]
    assert first["latency_ms"] == {"samples": 3, "median": 80.0}
    trades = pq.read_table(tmp_path / "a" / "trades.parquet")
    assert set(trades["side"].to_pylist()) == {1}
    assert set(trades["lots"].to_pylist()) == {4.0}
    assert (first["lots"], first["max_long"], first["max_short"], first["spread"]) == (4.0, None, 0.0, "fixed")
    wider = json.loads(command(*words(model, tmp_path / "d", *more, "--spread", "effective")).out)
    assert wider["spread"] == "effective"
    paid, fixed = (report["symbols"][0]["kpis"] for report in (wider, first))
    assert (paid["n_trades"], paid["gross_pnl"], paid["fees"]) == tuple(
        fixed[k] for k in ("n_trades", "gross_pnl", "fees")
    )
    assert paid["spread"] >= fixed["spread"] > 0.0
    refused = command(*words(model, tmp_path / "e", "--spread", "guessed"))
    assert refused.code == 1
    assert "backtest.spread: one of corwin_schultz, effective, fixed, roll" in refused.err
    assert "backtest.lots" in command(*words(model, tmp_path / "f", "--lots", "0")).err
    never = json.loads(command(*words(model, tmp_path / "c", "--threshold", "1")).out)
    assert [item["kpis"]["n_trades"] for item in never["symbols"]] == [0, 0, 0]


def test_orders_print_by_print(command: Any, model: Path, tmp_path: Path) -> None:
    bars = json.loads(command(*words(model, tmp_path / "bars")).out)
    assert bars["trading"] == {"orders": "market", "fills": "bars", "queue": None, "patience_s": None, "then": None}
    ticks = json.loads(command(*words(model, tmp_path / "ticks", "--fills", "ticks")).out)
    for left, right in zip(bars["symbols"], ticks["symbols"], strict=True):
        assert left["orders"] is None
        assert right["orders"]["maker_share"] in (0.0, None)
        assert left["kpis"]["net_pnl"] == pytest.approx(right["kpis"]["net_pnl"])
    trades = [(tmp_path / name / "trades.parquet").read_bytes() for name in ("bars", "ticks")]
    assert trades[0] == trades[1]
    asked = ["--orders", "limit", "--queue", "2x", "--patience-s", "5", "--then", "market"]
    limit = json.loads(command(*words(model, tmp_path / "limit", *asked)).out)
    assert limit["trading"] == {
        "orders": "limit",
        "fills": "ticks",
        "queue": "2x",
        "patience_s": 5.0,
        "then": "market",
    }
    assert "fills.parquet" in limit["files"]
    fills = pq.read_table(tmp_path / "limit" / "fills.parquet")
    assert set(fills["maker"].to_pylist()) == {0, 1}
    for item in limit["symbols"]:
        of_symbol = fills.filter(np.array(fills["symbol"]) == item["symbol"])
        assert len(of_symbol) == item["orders"]["n_fills"]
        assert np.sum(of_symbol["fee"].to_numpy()) == pytest.approx(item["kpis"]["fees"])
    shares = {item["symbol"]: item["orders"]["maker_share"] for item in limit["symbols"] if item["orders"]["n_fills"]}
    assert shares
    assert all(0.0 < share < 1.0 for share in shares.values())
    picture = (tmp_path / "limit" / f"equity-{min(shares)}.svg").read_text()
    assert "of the lots passive" in picture
    shown = [word for word in words(model, tmp_path / "table", *asked) if word != "--json"]
    assert "of the lots traded passively" in command(*shown).out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--latency-ms", "1", "--latencies", "x"], "two latencies"),
        (["--latencies", "{bad}"], "got '-1' in line 2"),
        (["--seed", "3"], "--seed draws nothing"),
        (["--fills", "foo"], "expected backtest.fills: one of bars, ticks, got 'foo'"),
        (["--threshold", "nan"], "--threshold: expected a finite number"),
        (["--symbol", "NONE9"], "NONE9"),
        (["--orders", "stop"], "expected backtest.orders: one of limit, market, got 'stop'"),
        (
            ["--queue", "5x"],
            "fields that market orders read, got queue",
        ),
        (
            ["--orders", "limit", "--fills", "bars"],
            "fields that limit orders read, got fills",
        ),
    ],
)
def test_mistakes_are_one_clear_line(command: Any, model: Path, tmp_path: Path, more: list[str], said: str) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_text("5\n-1\n")
    done = command(*words(model, tmp_path / "out", *(word.format(bad=bad) for word in more)))
    assert done.code == 1
    assert said in done.err
    assert len(done.err.strip().splitlines()) <= 2  # progress, then the mistake


def test_a_path_that_is_not_there_is_no_stack_that_does_not_run(command: Any, tmp_path: Path) -> None:
    done = command(*words(tmp_path / "nowhere", tmp_path / "out"))
    assert done.code == 1
    assert f"no model {tmp_path / 'nowhere'}" in done.err


def test_a_folder_without_a_model_is_said(command: Any, tmp_path: Path) -> None:
    done = command(*words(tmp_path, tmp_path / "out"))
    assert (done.code, "holds no model" in done.err) == (1, True)
