"""Trials: what makes another one, what is kept of it, and what many of them do to a ratio."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from tapelab.common.experiments.parts import Span
from tapelab.common.storage.ledger import History, Trial, history_of
from tapelab.quant.validation.pbo import overfitting_probability
from tapelab.quant.validation.sharpe import deflated_sharpe, probabilistic_sharpe, sharpe
from tapelab.trainer.trials import MAX_BLOCKS, config_digest, deflate, make_trial, overfitting
from tests.services.trainer.data import config

SPANS = [Span(symbol="WINZ26", stream=1, first_seq=0, last_seq=9)]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"gate": {"p_value": 0.01}},
        {"wait_s": 1},
        {"cut_ts_ns": 5},
        {"source": {"kind": "ticks_raw"}},
        {"symbols": ["WINZ26"]},
    ],
)
def test_who_asked_and_how_strictly_makes_no_other_trial(changes: dict[str, Any]) -> None:
    assert config_digest(config(**changes), SPANS) == config_digest(config(), SPANS)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"seed": 8}},
        {"bars": "tick:51"},
        {"label": {"horizon_s": 31}},
        {"validation": {"n_folds": 4}},
        {"latency_ms": 201},
        {"decision": {"cooldown_s": 2}},
        {"backtest": {"orders": "limit"}},
    ],
)
def test_whatever_changes_the_result_is_another_trial(changes: dict[str, Any]) -> None:
    assert config_digest(config(**changes), SPANS) != config_digest(config(), SPANS)
    other = [Span(symbol="WDOZ26", stream=1, first_seq=0, last_seq=9)]
    assert config_digest(config(), SPANS) != config_digest(config(), other)


def trial(name: str, returns: np.ndarray, *, first: int = 0, block_ns: int = 10) -> Trial:
    numbers = np.arange(first, first + len(returns))
    test_ns = (first * block_ns, (first + len(returns)) * block_ns - 1)
    made = make_trial(
        config(name=name), SPANS, "d", (numbers, returns), block_ns, test_ns, experiment_id=None, now_ns=1
    )
    fields = {field: getattr(made, field) for field in Trial.__struct_fields__}
    return Trial(**(fields | {"config_digest": name}))


def history(*trials: Trial) -> History:
    return history_of(trials[-1], trials, "here")


def test_a_long_span_is_kept_in_longer_blocks() -> None:
    returns = np.random.default_rng(1).standard_normal(3 * MAX_BLOCKS)
    kept = trial("a", returns)
    assert (kept.block_ns, len(kept.blocks)) == (40, 3 * MAX_BLOCKS // 4)
    assert sum(kept.returns) == pytest.approx(returns.sum())
    assert kept.sharpe == pytest.approx(sharpe(returns.reshape(-1, 4).sum(axis=1)))


def test_one_trial_is_the_probabilistic_ratio_and_overfitting_does_not_apply() -> None:
    returns = np.random.default_rng(2).standard_normal(100) + 0.2
    found = deflate(returns, 10, history(trial("a", returns)))
    assert found.deflated == found.probabilistic == probabilistic_sharpe(returns)
    assert found.n_trials == 1
    assert math.isnan(found.overfitting.pbo)
    assert found.overfitting.reason == "not applicable: 1 trial, so nothing was chosen"


def test_more_trials_deflate_by_their_number_and_by_how_far_apart_they_are() -> None:
    random = np.random.default_rng(3)
    returns = random.standard_normal(100) + 0.3
    # Near copies: their variance is below that of luck, which then counts, and they are worth little more than one.
    copies = [trial(str(k), returns + random.standard_normal(100) * 1e-3) for k in range(5)]
    found = deflate(returns, 10, history(*copies))
    assert (found.n_trials, found.trials_variance) == (5, 1 / 99)
    assert 1.0 < found.effective_trials < 1.001
    assert found.deflated == deflated_sharpe(returns, n_trials=2)
    apart = [trial(str(k), random.standard_normal(100) + k / 2) for k in range(5)]
    found = deflate(returns, 10, history(*apart))
    ratios = [one.sharpe for one in apart]
    assert 4.0 < found.effective_trials <= 5.0
    assert found.trials_variance == pytest.approx(np.var(ratios, ddof=1))
    assert found.deflated == pytest.approx(deflated_sharpe(returns, n_trials=5, trials_variance=np.var(ratios, ddof=1)))


def test_overfitting_compares_trials_on_the_blocks_they_share() -> None:
    random = np.random.default_rng(4)
    first, second, third = (random.standard_normal(200) for _ in range(3))
    trials = [trial("a", first), trial("b", second, first=20), trial("c", third, first=10)]
    found = overfitting(history(*trials))
    table = np.column_stack([third[10:190], second[:180], first[20:]])
    assert found == overfitting_probability(table, n_blocks=16)
    # One that covers less than half of the newest one's span is left out.
    found = overfitting(history(trial("short", first[:50]), *trials))
    assert found.n_trials == 3


def test_a_block_without_a_bar_is_one_without_a_profit_and_longer_blocks_are_joined() -> None:
    random = np.random.default_rng(5)
    x, y = random.standard_normal(128), random.standard_normal(128)
    gap = np.arange(128) != 7
    holed = Trial(
        **{
            **{field: getattr(trial("b", y), field) for field in Trial.__struct_fields__},
            "blocks": tuple(np.arange(128)[gap].tolist()),
            "returns": tuple(y[gap].tolist()),
        }
    )
    found = overfitting(history(holed, trial("a", x)))
    assert found == overfitting_probability(np.column_stack([x, np.where(gap, y, 0.0)]), n_blocks=16)
    coarse = trial("b", y.reshape(-1, 2).sum(axis=1), block_ns=20)
    found = overfitting(history(coarse, trial("a", x)))
    table = np.column_stack([x.reshape(-1, 2).sum(axis=1), y.reshape(-1, 2).sum(axis=1)])
    assert found == overfitting_probability(table, n_blocks=16)


def test_trials_whose_returns_are_not_known_count_whole() -> None:
    random = np.random.default_rng(6)
    returns = random.standard_normal(100) + 0.3
    copies = [trial(str(k), returns) for k in range(4)]
    bare = [msgspec.structs.replace(one, blocks=(), returns=()) for one in copies]
    assert deflate(returns, 10, history(*copies)).effective_trials == pytest.approx(1.0)
    none = History(4, [], bare, "here")
    assert deflate(returns, 10, none).effective_trials == 4.0
    # Older trials than the ledger gives back are counted, and count whole.
    many = history(*copies)._replace(n_trials=40)
    found = deflate(returns, 10, many)
    assert 39.0 < found.effective_trials < 40.0
    assert found.deflated == deflated_sharpe(returns, n_trials=40)
    # Two that never ran on the same blocks have nothing in common that could be seen.
    apart = [trial("a", returns), trial("b", returns, first=99)]
    assert deflate(returns, 10, history(*apart)).effective_trials == 2.0


def test_trials_on_blocks_of_other_lengths_and_with_gaps_are_compared_on_the_longest() -> None:
    random = np.random.default_rng(7)
    returns = random.standard_normal(200)
    coarse = trial("coarse", returns.reshape(-1, 2).sum(axis=1), block_ns=20)
    assert deflate(returns, 10, history(coarse, trial("fine", returns))).effective_trials == pytest.approx(1.0)
    odd = trial("odd", random.standard_normal(70), block_ns=30)
    assert deflate(returns, 10, history(coarse, odd)).effective_trials == 2.0
