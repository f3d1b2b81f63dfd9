"""Models, folds and the final fit."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tapelab.common.errors import SourceError
from tapelab.trainer import gbdt, linear
from tapelab.trainer.evaluation import block_returns, discount, evaluate, plain
from tapelab.trainer.progress import Stopped
from tapelab.trainer.train import fit_final, run_fold, split
from tests.services.trainer.data import config, samples, symbols


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


def test_a_fold_never_sees_its_test_period() -> None:
    pooled = samples()
    fold = split(pooled, config())[0]
    outcome = run_fold(pooled, symbols(), fold, config(), 1, lambda: False)
    # Whatever comes from the test period on may be anything at all: nothing that was fitted changes.
    later = pooled.ts_end_ns >= fold.test_start_ns
    x, ret = pooled.x.copy(), pooled.ret.copy()
    x[later], ret[later] = -x[later], 1.0
    other = run_fold(pooled._replace(x=x, ret=ret), symbols(), fold, config(), 1, lambda: False)
    assert other.model.calibration == outcome.model.calibration
    assert other.model.threshold == outcome.model.threshold
    assert other.baseline.calibration == outcome.baseline.calibration
    probe = pooled.x[:50]
    assert np.array_equal(other.model.model.scores(probe), outcome.model.model.scores(probe))


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
    for name in ("by_hour_utc", "by_weekday_utc"):
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
    with pytest.raises(
        SourceError, match=r"a trading day for each part of each fold, got .* samples of 2 trading days"
    ):
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
