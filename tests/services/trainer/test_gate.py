"""The promotion gate, rule by rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapelab.common.experiments.reading import load_config
from tapelab.common.pipeline import Pair, Pipeline
from tapelab.common.serving.candidate import Candidate
from tapelab.common.storage.ledger import History
from tapelab.trainer import gate
from tapelab.trainer.evaluation import Evaluation
from tapelab.trainer.export import Exported
from tapelab.trainer.parity import Parity
from tapelab.trainer.trials import deflate
from tests.services.trainer.data import CONFIG_DIR, config, pipeline

LIMITS = config().gate


def candidate(
    backend: str = "lightgbm", *, diff: float | None = 0.0, p99: float = 90.0, refused: str = ""
) -> Candidate:
    return Candidate(
        backend=backend,
        p50_us={"1": 5.0, "64": 60.0},
        p99_us={"1": 9.0, "64": p99},
        max_abs_diff=diff,
        batch_invariant=True,
        refused=refused,
    )


def exported(**changes: object) -> Exported:
    return Exported({}, {"lightgbm": candidate(**changes)}, "lightgbm", 1e-6)


def evaluation(mean: float, over_linear: float, n: int = 200) -> Evaluation:
    noise = np.random.default_rng(5).normal(0.0, 1.0, (2, n)) * 1e-4
    model = noise[0] + mean
    return Evaluation(model, model - over_linear - noise[1], 120, [1e-3, 2e-3, -1e-4, 1e-3], {})


def verdicts(**changes: object) -> dict[str, bool]:
    arguments: dict = {
        "evaluation": evaluation(5e-5, 4e-5),
        "exported": exported(),
        "streaming": Parity(1_000, 0),
        "live": Parity(800, 0),
        "pipeline": pipeline(),
        "config": config(),
    }
    rules = gate.judge(**(arguments | changes))
    assert gate.passed(rules) == all(rule.passed for rule in rules)
    assert all(rule.reason for rule in rules)
    return {rule.id: rule.passed for rule in rules}


def test_a_sound_model_passes_every_rule() -> None:
    assert list(verdicts()) == [
        "net_vs_flat",
        "net_vs_linear",
        "periods",
        "trades",
        "deflated_sharpe",
        "parity_model",
        "parity_features",
        "parity_live",
        "latency",
        "pair_live",
        "policy",
    ]
    assert all(verdicts().values())


def failed(**changes: object) -> list[str]:
    return [id for id, good in verdicts(**changes).items() if not good]


def test_profit_that_may_be_noise_is_refused() -> None:
    assert failed(evaluation=evaluation(2e-6, 4e-5)) == ["net_vs_flat", "deflated_sharpe"]
    assert failed(evaluation=evaluation(5e-5, 0.0)) == ["net_vs_linear"]
    assert failed(evaluation=evaluation(-5e-5, -5e-5)) == ["net_vs_flat", "net_vs_linear", "deflated_sharpe"]


def test_a_profit_rule_shows_its_numbers() -> None:
    rule = gate.profit_rule("net_vs_flat", "always flat", evaluation(5e-5, 0).model_blocks, LIMITS, 1)
    assert rule.value is not None
    assert rule.value <= rule.limit == 0.05
    assert rule.evidence["low"] < rule.evidence["mean_per_block"] < rule.evidence["high"]
    assert rule.evidence["n_blocks"] == 200
    assert "always flat" in rule.reason


def test_a_profit_in_a_few_blocks_is_no_proof_however_large() -> None:
    few = evaluation(5e-5, 0).model_blocks[:29]
    rule = gate.profit_rule("net_vs_flat", "always flat", abs(few) + 1.0, LIMITS, 1)
    assert rule.value is not None
    assert rule.value <= rule.limit
    assert not rule.passed
    assert "too few blocks to tell from noise, at least 30 are needed" in rule.reason
    assert gate.profit_rule("net_vs_flat", "always flat", np.ones(30), LIMITS, 1).passed


def test_many_trials_on_the_same_data_raise_the_bar_and_the_rule_shows_them() -> None:
    alone = evaluation(2.5e-5, 4e-5)
    rule = gate.deflated_rule(deflate(alone.model_blocks), LIMITS)
    assert rule.passed
    assert "as 1 trial on this data (nothing counts trials here)" in rule.reason
    assert "not applicable" in rule.reason
    among = History(200, [(0.1, 1), (-0.1, 1)], [], "the table trials")
    many = alone._replace(deflation=deflate(alone.model_blocks, 1, among))
    rule = gate.deflated_rule(many.deflation, LIMITS)
    assert not rule.passed
    assert rule.value is not None
    assert rule.value < rule.limit == 0.95
    assert rule.evidence["n_trials"] == 200
    assert "as the best of 200 trials on this data, worth 200.0 independent ones (counted in" in rule.reason
    assert failed(evaluation=many) == ["deflated_sharpe"]


def test_without_a_trade_there_is_no_ratio_and_no_promotion() -> None:
    rule = gate.deflated_rule(deflate(np.zeros(50)), LIMITS)
    assert (rule.passed, rule.value) == (False, None)
    assert rule.reason.startswith("probability undefined")


@pytest.mark.parametrize(
    ("period_net", "good"),
    [([1.0, 1.0, 1.0], True), ([1.0, 1.0], False), ([1.0, 1.0, -1.0, -1.0], False), ([1.0, 1.0, -9.0], True)],
)
def test_several_periods_are_needed_and_most_of_them_must_earn(period_net: list[float], good: bool) -> None:
    assert gate.periods_rule(period_net, LIMITS).passed is good


def test_too_few_trades_are_no_evidence() -> None:
    assert failed(evaluation=evaluation(5e-5, 4e-5)._replace(n_trades=29)) == ["trades"]


def test_an_export_that_scores_otherwise_is_refused() -> None:
    assert failed(exported=exported(diff=1e-3)) == ["parity_model"]
    assert failed(exported=exported(refused="scores a row differently")) == ["parity_model"]


def test_a_single_row_that_differs_is_refused() -> None:
    assert failed(streaming=Parity(1_000, 1)) == ["parity_features"]
    assert failed(live=Parity(800, 1)) == ["parity_live"]


def test_live_rows_are_needed_where_the_experiment_says_so_and_the_rule_is_absent_outside_a_stack() -> None:
    assert failed(live=Parity(0, 0)) == ["parity_live"]
    assert failed(live=Parity(0, 0), config=config(gate={"require_live": False})) == ["policy"]
    assert "parity_live" not in verdicts(live=None)


def test_a_slow_runtime_is_refused() -> None:
    assert failed(exported=exported(p99=20_001.0)) == ["latency"]
    nothing = Exported({}, {"lightgbm": candidate()}, "lightgbm", 1e-6)
    nothing.candidates["lightgbm"].p99_us.clear()
    assert "latency" in failed(exported=nothing)


def test_a_pair_that_is_not_computed_live_is_refused() -> None:
    other = Pipeline(bars=("volume:2000",), features=(Pair(bars="volume:2000", feature_set="core"),))
    assert failed(pipeline=other) == ["pair_live"]


def test_an_experiment_may_tighten_the_gate_and_one_that_loosens_it_is_refused() -> None:
    assert failed(config=config(gate={"p_value": 0.01, "min_trades": 40})) == []
    for limits in (
        {"p_value": 0.9},
        {"min_trades": 1},
        {"max_latency_us": 1e6},
        {"block_s": 1.0},
        {"min_deflated_sharpe": 0.5},
        {"n_boot": 1_999},
    ):
        assert failed(config=config(gate=limits)) == ["policy"]
    assert failed(config=config(latency_ms=199.0)) == ["policy"]
    assert failed(config=config(validation={"embargo_s": 4.0})) == ["policy"]
    assert failed(config=config(latency_ms=500.0, validation={"embargo_s": 9.0})) == []
    assert "policy" in failed(config=config(costs={"spread_ticks": 0}))
    assert "policy" in failed(config=config(backtest={"orders": "limit"}))
    # Signals know no limits: a model that is judged long only would be followed short as well.
    assert "policy" in failed(config=config(backtest={"max_short": 0.0}))
    assert not failed(config=config(backtest={"lots": 2.0, "max_long": 2.0, "spread": "effective"}))


def test_no_latency_embargo_or_resamples_to_speak_of_are_named() -> None:
    rule = gate.policy_rule(config(latency_ms=0, validation={"embargo_s": 0}, gate={"n_boot": 100}))
    assert (rule.passed, rule.value) == (False, 3.0)
    for reason in ("n_boot 100 below 2000", "latency_ms 0 below 200", "embargo_s 0 below 5"):
        assert reason in rule.reason


@pytest.mark.parametrize("path", sorted((CONFIG_DIR / "experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_experiments_that_come_along_are_judged_by_the_policy(path: Path) -> None:
    assert gate.policy_rule(load_config(path)).passed
