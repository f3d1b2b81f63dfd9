"""The leakage check finds every planted leak, names it, and says nothing where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tapelab.trainer.etl as etl
import tapelab.trainer.paths as paths
import tapelab.trainer.strategy as strategy
import tapelab.trainer.train as train
from tapelab.cli.check import orders, subjects
from tapelab.cli.check.module import check_module, load_module
from tapelab.common.errors import ConfigError
from tapelab.quant.features import FeatureRows, compute_features
from tapelab.quant.validation.combinatorial import combinatorial_purged
from tapelab.quant.validation.walk_forward import purged_tune_split, purged_walk_forward
from tests.quant.features.bars import make_bars
from tests.services.trainer.data import config, instruments, loaded
from tests.services.trainer.data import symbols as trainer_symbols

LEAKS = Path(__file__).parents[1] / "fixtures" / "leaks"
BARS = make_bars(3, 150, days=2)
ENDS = BARS["ts_close_ns"] + 30_000_000_000


def checked(name: str) -> dict[str, list[str]]:
    """Columns that leak, by function of a planted module."""
    found = check_module(load_module(LEAKS / f"{name}.py"), name, BARS, ENDS)
    return {subject.removeprefix(f"{name} "): [leak.column for leak in leaks] for subject, leaks in found.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("centred_window", {"features": ["smooth"]}),
        ("full_sample_normalisation", {"features": ["column 1"]}),
        ("label_bleeding", {"labels": [], "splits": [""]}),
        ("dishonest_label_end", {"labels": ["label"]}),
        ("same_bar_fill", {"fills": [""]}),
        ("rare_same_bar_fill", {"fills": [""]}),
        ("clean", {"features": [], "labels": [], "splits": [], "fills": []}),
    ],
)
def test_planted_leaks_are_found_and_nothing_else(name: str, expected: dict[str, list[str]]) -> None:
    assert checked(name) == expected


@pytest.mark.parametrize("seed", range(4))
def test_the_clean_module_is_clean_on_other_tapes_and_short_ones(seed: int) -> None:
    clean = load_module(LEAKS / "clean.py")
    for per_day in (3, 40, 133):
        bars = make_bars(seed, per_day, days=2)
        assert not any(check_module(clean, "clean", bars, bars["ts_close_ns"]).values())


@pytest.mark.slow
def test_tapelab_itself_is_clean_and_a_planted_leak_is_one_line(command, repository, monkeypatch) -> None:
    monkeypatch.chdir(repository)
    done = command("check", "leakage", "--json")
    report = json.loads(done.out)
    assert (done.code, report["clean"], report["leaks"]) == (0, True, [])
    tested = " ".join(entry["subject"] for entry in report["checked"])
    for subject in (
        "features core",
        "bars of",
        "labels of",
        "fills of",
        "decisions of",
        "orders of",
        "folds",
        "final fit",
        "combinatorial",
        "triple_barrier",
    ):
        assert subject in tested
    experiment = "config/experiments/leak.yaml"
    assert "no such file" in command("check", "leakage", "--features", experiment).err
    done = command("check", "leakage", "--features", str(LEAKS / "centred_window.py"))
    (line,) = done.out.splitlines()
    assert done.code == 1
    assert line.startswith("LEAK centred_window.py features on WINZ26: smooth: changes when the bars from row ")


@pytest.mark.slow
def test_an_experiment_of_ones_own_is_tested_on_its_tape(command, repository, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(repository)
    (tmp_path / "x.yaml").write_text(
        "name: x\nbars: dollar:1e6\nvalidation: {n_folds: 2}\n"
        "source: {kind: file, format: simulator, path: 'seed=5,days=1,hours=2,symbols=WDOZ26'}\n"
        "label: {kind: triple_barrier, upper: 2, lower: 2, weights: uniqueness}\n"
    )
    done = command("check", "leakage", "--config", str(tmp_path / "x.yaml"))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("clean: ")


def leaking(found: dict[str, list[Any]]) -> set[str]:
    return {name.split(" ")[0] for name, leaks in found.items() if leaks}


def test_a_feature_set_that_looks_ahead_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def ahead(bars: Any, feature_set: Any, tick_size: float) -> FeatureRows:
        rows = compute_features(bars, feature_set, tick_size)
        values = rows.values.copy()
        values[:-1, 2] = values[1:, 2]
        return rows._replace(values=values)

    assert not any(subjects.check_feature_sets(BARS, 0.5).values())
    monkeypatch.setattr(subjects, "compute_features", ahead)
    found = subjects.check_feature_sets(BARS, 0.5)
    assert set(found) == {f"features {name}" for name in subjects.FEATURE_SETS}
    for name, feature_set in subjects.FEATURE_SETS.items():
        assert [leak.column for leak in found[f"features {name}"]] == [feature_set.names[2]]


def test_an_experiment_whose_parts_look_ahead_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    item, experiment = loaded()[0], config()
    assert leaking(subjects.check_tape(item, experiment, instruments())) == set()
    labelled = etl.label_bars

    def early(*args: Any) -> Any:
        result = labelled(*args)
        return result._replace(labels=result.labels._replace(ts_end_ns=args[0]["ts_close_ns"].copy()))

    with monkeypatch.context() as patch:
        patch.setattr(etl, "label_bars", early)
        assert leaking(subjects.check_tape(item, experiment, instruments())) == {"labels"}

    def fitted(*args: Any) -> Any:
        result, close = labelled(*args), args[0]["close"]
        return result._replace(events=close > close.mean())

    with monkeypatch.context() as patch:
        patch.setattr(etl, "label_bars", fitted)
        assert leaking(subjects.check_tape(item, experiment, instruments())) == {"events"}

    def same_bar(ts: Any, tick_ts: Any, tick_price: Any, latency: int, close: Any) -> Any:
        return tick_price[np.searchsorted(tick_ts, ts, side="right") - 1]

    with monkeypatch.context() as patch:
        patch.setattr(etl, "fills_after_latency", same_bar)
        assert leaking(subjects.check_tape(item, experiment, instruments())) == {"fills"}


@pytest.mark.parametrize("column", ["spread", "volatility", "volume"])
def test_costs_that_look_at_the_next_bar_are_found(monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    item, experiment = loaded()[0], config(backtest={"spread": "effective"})
    assert leaking(subjects.check_tape(item, experiment, instruments())) == set()
    honest = strategy.backtest_columns

    def ahead(*args: Any) -> Any:
        columns, named = honest(*args)
        return columns, named | {column: np.append(named[column][1:], named[column][-1])}

    for module in (subjects, orders):
        monkeypatch.setattr(module, "backtest_columns", ahead)
    found = subjects.check_tape(item, experiment, instruments())
    assert leaking(found) == {"fills"} or leaking(found) == {"fills", "orders"}
    assert column in {leak.column for leak in found[f"fills of {item.span.symbol}"]}


def test_costs_of_a_backtest_that_looks_ahead_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    item, experiment, honest = loaded()[0], config(), subjects.run_backtest

    def ahead(*columns: Any, **named: Any) -> Any:
        volatility = np.append(named["volatility"][5:], named["volatility"][-5:])
        return honest(*columns, **named | {"volatility": volatility})

    monkeypatch.setattr(subjects, "run_backtest", ahead)
    found = subjects.check_tape(item, experiment, instruments())
    assert [leak.column for leaks in found.values() for leak in leaks] == ["cost"]


def test_a_single_fill_at_a_print_that_was_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    item, experiment = loaded()[0], config()
    honest = etl.fills_after_latency

    def mostly(ts: Any, tick_ts: Any, tick_price: Any, latency: int, close: Any) -> Any:
        filled = honest(ts, tick_ts, tick_price, latency, close)
        filled[23] = tick_price[np.searchsorted(tick_ts, ts[23], side="right") - 1]
        return filled

    monkeypatch.setattr(etl, "fills_after_latency", mostly)
    found = subjects.check_tape(item, experiment, instruments())
    (leak,) = [leak for leaks in found.values() for leak in leaks]
    assert (leak.subject, leak.row) == (f"fills of {item.span.symbol}", 23)
    assert leak.how == "the fill is at a print that was out when the bar decided"


def test_fills_with_costs_in_them_are_no_leak() -> None:
    def after(bars: Any) -> Any:
        side = np.where(np.arange(len(bars)) % 2, 1.0, -1.0)
        worse = np.append(bars["open"][1:], np.nan) + side * 5.0
        return np.round(worse * 2.0) / 2.0

    def next_mean(bars: Any) -> Any:
        ahead = (bars["open"] + bars["close"]) / 2
        return np.append(ahead[1:], np.nan)

    def half(bars: Any) -> Any:
        return (bars["close"] + np.append(bars["open"][1:], bars["open"][-1])) / 2

    for honest in (after, next_mean):
        assert not any(check_module(SimpleNamespace(fills=honest), "x", BARS, ENDS).values())  # type: ignore[arg-type]
    assert len(check_module(SimpleNamespace(fills=half), "x", BARS, ENDS)["x fills"]) == 1  # type: ignore[arg-type]


def test_folds_that_are_not_purged_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(subjects.check_folds(trainer_symbols(), config()).values())

    def unpurged(start: Any, end: Any, **options: Any) -> Any:
        return purged_walk_forward(start, start, **options | {"embargo_ns": 0})

    monkeypatch.setattr(train, "purged_walk_forward", unpurged)
    # Of three folds the training part against tune, and tune against test; between training and test lies tune.
    assert len(subjects.check_folds(trainer_symbols(), config())["folds"]) == 6


def test_a_final_fit_and_paths_that_are_not_purged_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(validation={"n_folds": 3, "combinatorial": {"groups": 4, "test_groups": 2}})
    found = subjects.check_folds(trainer_symbols(), asked)
    assert {name: len(leaks) for name, leaks in found.items()} == {"folds": 0, "final fit": 0, "combinatorial": 0}
    assert "combinatorial" not in subjects.check_folds(trainer_symbols(), config())

    def unpurged(start: Any, end: Any, **options: Any) -> Any:
        return purged_tune_split(start, start, **options | {"embargo_ns": 0})

    with monkeypatch.context() as patch:
        patch.setattr(train, "purged_tune_split", unpurged)
        (leak,) = subjects.check_folds(trainer_symbols(), asked)["final fit"]
        assert leak.how.startswith("a training label is still open when a sample it is judged on begins")

    def unpurged_paths(start: Any, end: Any, **options: Any) -> Any:
        return combinatorial_purged(start, start, **options | {"embargo_ns": 0})

    monkeypatch.setattr(paths, "combinatorial_purged", unpurged_paths)
    found = subjects.check_folds(trainer_symbols(), asked)
    assert {name for name, leaks in found.items() if leaks} == {"combinatorial"}
    # Each of the six splits has groups that lie side by side.
    assert {leak.subject.partition("(")[0] for leak in found["combinatorial"]} == {"combinatorial split "}
    assert len({leak.subject for leak in found["combinatorial"]}) == 6


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ({"features": lambda bars: np.zeros(3)}, "x features gives something else"),
        ({"features": lambda bars: [["a"]] * len(bars)}, "x features gives something else"),
        ({"features": lambda bars: 1 / 0}, "x features fails: expected a result, got ZeroDivisionError"),
        ({"features": lambda bars: np.random.default_rng().random((len(bars), 1))}, "others at the second call"),
        ({"labels": lambda bars: (np.zeros(len(bars)),)}, "x labels gives something else"),
        ({"splits": lambda start, end: [([0], [10**6])]}, "x splits 1 gives something else"),
        ({"splits": lambda start, end: [1]}, "x splits fails"),
        ({"fills": lambda bars: None}, "x fills gives something else"),
    ],
)
def test_a_module_that_does_not_keep_to_the_protocol_is_one_clear_error(module: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_module(SimpleNamespace(**module), "x", BARS, ENDS)  # type: ignore[arg-type]


def test_a_file_that_is_no_module_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(ConfigError, match="at least one function of features, labels, splits, fills"):
        load_module(tmp_path / "empty.py")
    with pytest.raises(ConfigError, match=r"broken\.py fails.*SyntaxError"):
        load_module(tmp_path / "broken.py")
    with pytest.raises(ConfigError, match="no such file"):
        load_module(tmp_path / "missing.py")
