"""Models, folds and the final fit."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tapelab.common.errors import SourceError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.quant.metrics.trading import by_key, hour_of_day
from tapelab.trainer import gbdt, linear
from tapelab.trainer.dataset import Samples, pool
from tapelab.trainer.etl import SymbolData, compute
from tapelab.trainer.evaluation import block_returns, by_local_time, discount, evaluate, plain
from tapelab.trainer.progress import Stopped
from tapelab.trainer.train import fit_final, run_fold, split
from tests.services.trainer.data import config, instruments, loaded, samples, symbols
from tests.services.trainer.unseen import other_samples, other_symbols


def fit(num_threads: int = 1, seed: int = 7) -> gbdt.Gbdt:
    pooled = samples()
    half = pooled.n // 2
    return gbdt.fit_arrays(
        (pooled.x[:half], pooled.up[:half]),
        (pooled.x[half:], pooled.up[half:]),
        config(model={"n_estimators": 20, "seed": seed}).model,
        num_threads,
        lambda: False,
    )


def test_the_same_seed_gives_the_same_trees_on_any_number_of_threads() -> None:
    def trees(model: gbdt.Gbdt) -> str:
        return model.text.partition("\nparameters:")[0]

    assert trees(fit(1)) == trees(fit(2)) == trees(fit(1))
    assert trees(fit(seed=8)) != trees(fit())


def test_training_ends_between_two_rounds_when_it_is_asked_to() -> None:
    pooled = samples()
    part = pooled.x[:500], pooled.up[:500]
    with pytest.raises(Stopped):
        gbdt.fit_arrays(part, part, config().model, 1, lambda: True)


def test_the_linear_baseline_is_a_logistic_regression_over_standardised_features() -> None:
    pooled = samples()
    ours = linear.fit(pooled.x, pooled.up, c=0.5).scores(pooled.x)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=500))
    x = pooled.x.astype(np.float64)
    assert ours == pytest.approx(theirs.fit(x, pooled.up).predict_proba(x)[:, 1], abs=1e-9)


#: Longer than any tape.
FOREVER_NS = 1 << 62


def asked_for(raw: bool) -> tuple[ExperimentConfig, tuple[SymbolData, ...], Samples]:
    """The small experiment, with a normaliser of its own or without."""
    if not raw:
        return config(), symbols(), samples()
    asked = config(feature_set="core_raw", normaliser={"min_rows": 50})
    data = tuple(compute(item, asked, instruments()) for item in loaded())
    return asked, data, pool(data)


def test_other_values_change_a_fit_that_may_see_them() -> None:
    pooled, data = samples(), symbols()
    fold = split(pooled, config())[0]
    start, end = int(pooled.ts_start_ns[fold.train].min()), fold.test_start_ns
    outcome = run_fold(pooled, data, fold, config(), 1, lambda: False)
    seen = other_samples(pooled, pooled.ts_start_ns < end)
    other = run_fold(seen, other_symbols(data, [(start, end)]), fold, config(), 1, lambda: False)
    assert other.model.calibration != outcome.model.calibration
    assert other.model.threshold != outcome.model.threshold


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("raw", [False, True])
def test_a_fold_never_sees_its_test_period(number: int, raw: bool) -> None:
    asked, data, pooled = asked_for(raw)
    fold = split(pooled, asked)[number]
    outcome = run_fold(pooled, data, fold, asked, 1, lambda: False)
    # Whatever comes from the test period on may be anything at all: nothing that was fitted changes.
    changed = other_samples(pooled, pooled.ts_end_ns >= fold.test_start_ns)
    others = other_symbols(data, [(fold.test_start_ns, FOREVER_NS)])
    other = run_fold(changed, others, fold, asked, 1, lambda: False)
    probe = pooled.x[:50]
    for ours, theirs in ((other.model, outcome.model), (other.baseline, outcome.baseline)):
        assert ours.calibration == theirs.calibration
        assert ours.threshold == theirs.threshold
        assert np.array_equal(ours.model.scores(probe), theirs.model.scores(probe))
    assert other.normaliser == outcome.normaliser
    assert (outcome.normaliser is not None) == raw
    # The change does reach what is tested.
    assert other.model_periods[0].result.kpis != outcome.model_periods[0].result.kpis


@pytest.mark.parametrize("raw", [False, True])
def test_the_final_fit_sees_nothing_after_its_samples(raw: bool, tmp_path: Path) -> None:
    asked, data, whole = asked_for(raw)
    cut = int(np.quantile(whole.ts_start_ns, 0.8))
    early = whole.ts_end_ns < cut
    pooled = Samples(*(column[early] for column in whole[:-1]))
    others = other_symbols(data, [(cut, FOREVER_NS)])
    ours, theirs = (
        fit_final(pooled, some, asked, tmp_path / name, 1, lambda: False)
        for name, some in (("a.bin", data), ("b.bin", others))
    )
    assert ours.strategy.calibration == theirs.strategy.calibration
    assert ours.strategy.threshold == theirs.strategy.threshold
    assert ours.normaliser == theirs.normaliser
    assert ours.train_slope == theirs.train_slope
    assert ours.model.text == theirs.model.text


def test_the_planted_edge_is_found_and_every_figure_is_json(tmp_path) -> None:
    pooled = samples()
    outcomes = [run_fold(pooled, symbols(), fold, config(), 1, lambda: False) for fold in split(pooled, config())]
    evaluation = evaluate(outcomes, pooled, config())
    pool_of = evaluation.metrics["pooled"]
    assert pool_of["model"]["auc"] > 0.56
    assert pool_of["model"]["net_return"] == pytest.approx(evaluation.model_blocks.sum())
    assert sum(evaluation.period_net) == pytest.approx(evaluation.model_blocks.sum())
    assert len(evaluation.model_blocks) == len(evaluation.baseline_blocks)
    assert sum(row["n_trades"] for row in evaluation.metrics["by_symbol"].values()) == evaluation.n_trades
    final = fit_final(pooled, symbols(), config(), tmp_path / "d.bin", 1, lambda: False)
    assert final.model.rounds >= 1
    assert final.strategy.calibration.slope > 0
    assert pooled.ts_end_ns[final.split.train].max() < final.split.tune_start_ns


def test_the_report_holds_every_figure_and_stays_small() -> None:
    pooled = samples()
    outcomes = [run_fold(pooled, symbols(), fold, config(), 1, lambda: False) for fold in split(pooled, config())]
    evaluation = discount(evaluate(outcomes, pooled, config()), config(), None)
    metrics = evaluation.metrics
    model = metrics["pooled"]["model"]
    assert model.keys() >= {
        *("auc", "pr_auc", "logloss", "brier", "calibration_error", "calibration_slope", "hit_rate", "lots_traded"),
        *("net_return", "sharpe_daily", "sortino_daily", "max_drawdown", "sharpe_block", "deflated_sharpe", "n_trials"),
    }
    tested = np.concatenate([outcome.fold.test for outcome in outcomes])
    moved = pooled.moved[tested]
    scores = np.concatenate([outcome.model_scores for outcome in outcomes])[moved]
    assert model["auc"] == pytest.approx(roc_auc_score(pooled.up[tested][moved], scores), rel=1e-12)
    assert model["logloss"] == pytest.approx(log_loss(pooled.up[tested][moved], scores), rel=1e-12)
    assert model["sharpe_block_low"] < model["sharpe_block"] < model["sharpe_block_high"]
    assert model["lots_traded"] == 2 * model["n_trades"]
    assert model["max_drawdown"] > 0
    assert sum(row["n"] for row in metrics["deciles"]) == len(tested)
    assert metrics["deciles"][0]["mean_return"] < 0 < metrics["deciles"][-1]["mean_return"]
    assert sum(row["n"] for row in metrics["calibration"]["bins"]) == moved.sum()
    # Sessions of the simulated tape open at 10:00 in Sao Paulo and last an hour and a half.
    assert {row["key"] for row in metrics["by_hour_local"]["slices"]} <= {9, 10, 11, 17, 18}
    for name in ("by_hour_local", "by_weekday_local"):
        assert sum(row["net_return"] for row in metrics[name]["slices"]) == pytest.approx(model["net_return"])
    assert metrics["trials"]["counted_in"] is None
    assert metrics["trials"]["n_trials"] == 1
    assert metrics["trials"]["pbo"] is None
    assert "not applicable" in metrics["trials"]["pbo_note"]
    assert len(msgspec.json.encode(metrics)) < 32_768


def test_folds_by_session_are_whole_trading_days_or_say_that_there_are_too_few() -> None:
    pooled = samples("seed=3,days=6,hours=0.6")
    by_day = config(validation={"by": "session", "n_folds": 3})
    days = [set(pooled.day[fold.test]) for fold in split(pooled, by_day)]
    assert [len(tested) for tested in days] == [1, 1, 2]
    assert not days[0] & days[1]
    assert not days[1] & days[2]
    with pytest.raises(SourceError, match=r"whole trading days for each part: .*, got .* samples of 2 trading days"):
        split(samples(), by_day)


def test_blocks_without_a_bar_are_left_out() -> None:
    pooled = samples()
    fold = split(pooled, config())[0]
    outcome = run_fold(pooled, symbols(), fold, config(), 1, lambda: False)
    _, blocks = block_returns(outcome.model_periods, 10**18)
    assert len(blocks) == 1
    assert blocks[0] == pytest.approx(sum(p.result.kpis.net_return for p in outcome.model_periods))


def test_a_span_too_short_for_its_folds_says_so() -> None:
    pooled = samples()
    few = type(pooled)(*(column[:20] for column in pooled[:-1]))
    with pytest.raises(SourceError, match="too short for the validation"):
        split(few, config(validation={"n_folds": 5}))


def test_undefined_figures_become_null() -> None:
    assert plain({"a": np.float64("nan"), 1: [np.int64(2), np.bool_(True)], "c": (0.5, "x", None)}) == {
        "a": None,
        "1": [2, True],
        "c": [0.5, "x", None],
    }


@pytest.mark.parametrize("hours", [0.3, 0.35])
def test_a_tape_too_short_for_its_folds_fails_before_any_training_with_the_counts(hours: float) -> None:
    short = samples(f"seed=3,days=1,hours={hours}")
    with pytest.raises(SourceError, match=rf"at least 20 samples for 3 folds, .* got {short.n} samples, and .*fold 1"):
        split(short, config())


def test_a_final_part_of_one_sign_is_found_before_any_training() -> None:
    pooled = samples()
    late = pooled.ts_start_ns >= np.quantile(pooled.ts_start_ns, 0.7)
    rising = pooled._replace(up=np.where(late, 1, pooled.up).astype(np.int8))
    with pytest.raises(SourceError, match=r"the tune part of .* 0 downs"):
        split(rising, config(validation={"n_folds": 1}))


@pytest.mark.parametrize(
    ("label", "bars", "says"),
    [
        (
            {"horizon_trades": 900_000},
            "tick:50",
            r"from bar 101 of a day on, when core is warm, and with a label \(900000 trades\) that ends within the "
            r"session .* got \d+ bars \(at most \d+ in a day\), \d+ of them warm, 0 with a known label, which makes "
            r"0 samples: 0 ups and 0 downs; ",
        ),
        ({}, "tick:100000", r"of a day on, .* got \d bars \(at most 1 in a day\), 0 of them warm, 0 with"),
        (
            {"kind": "triple_barrier", "upper": 900, "lower": 900},
            "tick:50",
            r"label \(up to 30 s\) .* 0 ups and 0 downs, and \d+ samples whose price did not move or touched no",
        ),
        (
            {"kind": "triple_barrier", "events": "cusum", "event_threshold": 900},
            "tick:50",
            r"\d+ with a known label, 0 of these events, which makes 0 samples",
        ),
        ({"kind": "regression", "horizon_trades": 900_000}, "tick:50", r"samples of different returns: .* 0 samples"),
    ],
)
def test_a_span_that_gives_no_samples_says_what_is_needed_and_what_became_of_its_bars(
    label: dict[str, Any], bars: str, says: str
) -> None:
    asked = config(label=label, bars=bars)
    with pytest.raises(SourceError, match=says) as raised:
        pool([compute(item, asked, instruments()) for item in loaded()], asked)
    assert "\n" not in str(raised.value)


def test_purging_that_leaves_nothing_names_the_labels_reach() -> None:
    asked = config(validation={"n_folds": 3, "embargo_s": 3_600})
    with pytest.raises(SourceError, match=r"within 3600\.2 s and a label's reach \(30 s\) before each cut is purged"):
        split(samples(), asked)


def test_hours_are_those_of_each_symbols_exchange_and_add_up_to_the_whole() -> None:
    pooled = samples()
    fold = split(pooled, config())[0]
    periods = run_fold(pooled, symbols(), fold, config(), 1, lambda: False).model_periods
    block_ns = 300 * 10**9
    moved = [periods[0]._replace(timezone="Asia/Tokyo"), *periods[1:]]
    for some, zones in ((periods, {"America/Sao_Paulo"}), (moved, {"America/Sao_Paulo", "Asia/Tokyo"})):
        assert {period.timezone for period in some} == zones
        found = by_local_time(some, block_ns, hour_of_day)
        wanted: dict[int, float] = {}
        for period in some:
            for ts_ns, net in zip(period.ts_ns.tolist(), period.result.net_return, strict=True):
                at = datetime.fromtimestamp(ts_ns // block_ns * 300, ZoneInfo(period.timezone))
                wanted[at.hour] = wanted.get(at.hour, 0.0) + net
        assert dict(zip(found.key.tolist(), found.total, strict=True)) == pytest.approx(wanted, abs=1e-12)
    same = by_key(
        hour_of_day(block_returns(periods, block_ns)[0] * block_ns, -3 * 3600 * 10**9),
        block_returns(periods, block_ns)[1],
    )
    assert by_local_time(periods, block_ns, hour_of_day).t == pytest.approx(same.t, nan_ok=True)
