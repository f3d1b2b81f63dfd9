"""The promotion gate: rules with their numbers. A model is promoted only where every one holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import GateConfig
from tapelab.common.pipeline import Pipeline
from tapelab.common.storage.registry import GateRule
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.validation.bootstrap import stationary_bootstrap_mean_ci
from tapelab.trainer.evaluation import Evaluation, plain
from tapelab.trainer.export import Exported
from tapelab.trainer.parity import Parity
from tapelab.trainer.trials import Deflation, deflate

#: Mean runs of joined blocks that a bootstrap of profits must have to draw from.
_RUNS = 5
#: Rows of a busy micro-batch: the batch size whose latency counts.
BATCH = 64


def judge(
    evaluation: Evaluation,
    exported: Exported,
    streaming: Parity,
    live: Parity | None,
    pipeline: Pipeline,
    config: ExperimentConfig,
) -> list[GateRule]:
    """Every rule of the gate.

    Args:
        live: comparison with vectors computed live; None outside a stack, where the rule does not apply.
    """
    gate, seed = config.gate, config.model.seed
    rules = [
        profit_rule("net_vs_flat", "always flat", evaluation.model_blocks, gate, seed),
        profit_rule(
            "net_vs_linear",
            "the linear baseline",
            evaluation.model_blocks - evaluation.baseline_blocks,
            gate,
            seed,
        ),
        periods_rule(evaluation.period_net, gate),
        trades_rule(evaluation.n_trades, gate),
        deflated_rule(evaluation.deflation or deflate(evaluation.model_blocks), gate),
        parity_model_rule(exported),
        parity_features_rule(streaming),
        latency_rule(exported, gate),
        pair_rule(config, pipeline),
        policy_rule(config),
    ]
    if live is not None:
        rules.insert(7, parity_live_rule(live, gate))
    return rules


#: What every promoted model is held to, whatever its experiment asked for.
POLICY = GateConfig()
#: The delay that its fills had at least, and the gap between what it learnt from and what it was judged on.
JUDGED = ExperimentConfig()


def policy_rule(config: ExperimentConfig) -> GateRule:
    """The experiment judged by limits no looser than the policy's, and by the instruments' own costs."""
    gate = config.gate
    looser = [
        *(
            f"{name} {getattr(gate, name):g} above {getattr(POLICY, name):g}"
            for name in ("p_value", "max_latency_us", "max_abs_diff")
            if getattr(gate, name) > getattr(POLICY, name)
        ),
        *(
            f"{name} {getattr(gate, name):g} below {getattr(POLICY, name):g}"
            for name in ("min_periods", "min_trades", "min_deflated_sharpe", "block_s", "mean_block", "n_boot")
            if getattr(gate, name) < getattr(POLICY, name)
        ),
        *(
            f"{name} {asked:g} below {least:g}"
            for name, asked, least in (
                ("latency_ms", config.latency_ms, JUDGED.latency_ms),
                ("embargo_s", config.validation.embargo_s, JUDGED.validation.embargo_s),
            )
            if asked < least
        ),
        *(["no live vectors required"] if POLICY.require_live and not gate.require_live else []),
        *(["costs other than those of instruments.yaml"] if config.costs is not None else []),
        *(["passive orders"] if config.backtest.orders != "market" else []),
        *(
            f"{name} {limit:g} below the {config.backtest.lots:g} lots that signals are for"
            for name, limit in (("max_long", config.backtest.max_long), ("max_short", config.backtest.max_short))
            if limit is not None and limit < config.backtest.lots
        ),
    ]
    reason = f"judged more leniently than promotion allows: {'; '.join(looser)}" if looser else "judged by the policy"
    return GateRule(id="policy", passed=not looser, value=float(len(looser)), limit=0.0, reason=reason)


def passed(rules: Sequence[GateRule]) -> bool:
    """Whether every rule holds."""
    return all(rule.passed for rule in rules)


def profit_rule(id: str, rival: str, blocks: npt.NDArray[np.float64], gate: GateConfig, seed: int) -> GateRule:
    """The net return over a rival, pooled over the test periods, exceeds zero by more than noise.

    Args:
        blocks: net return over the rival's, per block of time.
    """
    result = stationary_bootstrap_mean_ci(blocks, seed=seed, n_boot=gate.n_boot, mean_block=gate.mean_block)
    total, n = float(blocks.sum()), len(blocks)
    # Resamples of a few runs of blocks are little else than the sample itself, and would call any profit certain.
    least = math.ceil(_RUNS * gate.mean_block)
    good = result.p_value <= gate.p_value and n >= least
    verdict = "more than noise" if good else "no more than noise" if total > 0 else "no profit"
    if n < least:
        verdict = f"too few blocks to tell from noise, at least {least} are needed"
    return GateRule(
        id=id,
        passed=good,
        value=result.p_value,
        limit=gate.p_value,
        reason=f"net of costs {_bps(total)} over {rival} in {n} blocks of {gate.block_s:g} s: {verdict} "
        f"(p {result.p_value:.4f}, limit {gate.p_value:g})",
        evidence={
            "net_return": total,
            "mean_per_block": result.mean,
            "low": result.low,
            "high": result.high,
            "n_blocks": n,
            "n_boot": gate.n_boot,
            "mean_block": gate.mean_block,
        },
    )


def periods_rule(period_net: Sequence[float], gate: GateConfig) -> GateRule:
    """There are several test periods, and most of them earn."""
    n, positive = len(period_net), sum(net > 0 for net in period_net)
    return GateRule(
        id="periods",
        passed=n >= gate.min_periods and positive * 2 > n,
        value=n,
        limit=gate.min_periods,
        reason=f"{positive} of {n} test periods earn net of costs; at least {gate.min_periods} periods are needed, "
        "and more than half of them must earn",
        evidence={"net_return": list(period_net)},
    )


def trades_rule(n_trades: int, gate: GateConfig) -> GateRule:
    """There are trades enough to judge."""
    return GateRule(
        id="trades",
        passed=n_trades >= gate.min_trades,
        value=n_trades,
        limit=gate.min_trades,
        reason=f"{n_trades} trades in the test periods, at least {gate.min_trades} are needed",
    )


def deflated_rule(found: Deflation, gate: GateConfig) -> GateRule:
    """The Sharpe ratio is more than the luck of the best among everything tried on the same data.

    The probability of backtest overfitting stands in the evidence: it judges the choice among the trials,
    while the rule judges this one.
    """
    defined = not math.isnan(found.deflated)
    trials = "1 trial" if found.n_trials == 1 else f"the best of {found.n_trials} trials"
    worth = "" if found.n_trials == 1 else f", worth {found.effective_trials:.1f} independent ones"
    counted = f"counted in {found.where}" if found.where else "nothing counts trials here"
    pbo = found.overfitting
    overfitted = pbo.reason or f"{pbo.pbo:.2f} among {pbo.n_trials} trials"
    probability = f"{found.deflated:.4f}" if defined else "undefined"
    return GateRule(
        id="deflated_sharpe",
        passed=defined and found.deflated >= gate.min_deflated_sharpe,
        value=found.deflated if defined else None,
        limit=gate.min_deflated_sharpe,
        reason=f"probability {probability} that the Sharpe ratio is above zero, as {trials} on this data{worth} "
        f"({counted}), at least {gate.min_deflated_sharpe:g} is needed; probability of overfitting: {overfitted}",
        evidence=plain(
            {
                "n_trials": found.n_trials,
                "effective_trials": found.effective_trials,
                "probabilistic_sharpe": found.probabilistic,
                "expected_maximum_sharpe": found.expected_maximum,
                "pbo": pbo.pbo,
                "pbo_trials": pbo.n_trials,
            }
        ),
    )


def parity_model_rule(exported: Exported) -> GateRule:
    """The exported model scores real rows as the trained one does, in batches of any size."""
    chosen, limit = exported.chosen, exported.tolerance
    difference = chosen.max_abs_diff
    return GateRule(
        id="parity_model",
        passed=difference is not None and difference <= limit and not chosen.refused,
        value=difference,
        limit=limit,
        reason=f"{exported.backend} differs from the trained model by at most {difference} "
        f"(limit {limit:g})" + (f"; {chosen.refused}" if chosen.refused else ""),
        evidence={name: candidate.refused or "agrees" for name, candidate in exported.candidates.items()},
    )


def parity_features_rule(streaming: Parity) -> GateRule:
    """Bars and vectors computed in pieces equal those computed at once, bit for bit."""
    return GateRule(
        id="parity_features",
        passed=streaming.mismatches == 0 and streaming.compared > 0,
        value=streaming.mismatches,
        limit=0,
        reason=f"{streaming.mismatches} of {streaming.compared} bars and vectors differ between prints taken in pieces "
        "and all at once",
        evidence={"compared": streaming.compared},
    )


def parity_live_rule(live: Parity, gate: GateConfig) -> GateRule:
    """Vectors computed live equal the trainer's, bit for bit."""
    there = live.compared > 0 or not gate.require_live
    return GateRule(
        id="parity_live",
        passed=live.mismatches == 0 and there,
        value=live.mismatches,
        limit=0,
        reason=f"{live.mismatches} of {live.compared} vectors computed live differ from the trainer's"
        + ("" if there else "; there must be some to compare"),
        evidence={"compared": live.compared, "required": gate.require_live},
    )


def latency_rule(exported: Exported, gate: GateConfig) -> GateRule:
    """One model call of a busy micro-batch is fast enough."""
    p99 = exported.chosen.p99_us.get(str(BATCH))
    evidence: dict[str, Any] = {
        name: {"p50_us": dict(c.p50_us), "p99_us": dict(c.p99_us)} for name, c in exported.candidates.items()
    }
    return GateRule(
        id="latency",
        passed=p99 is not None and p99 <= gate.max_latency_us,
        value=p99,
        limit=gate.max_latency_us,
        reason=f"{exported.backend} takes {p99} us (p99) for {BATCH} rows, limit {gate.max_latency_us:g} us",
        evidence=evidence,
    )


def pair_rule(config: ExperimentConfig, pipeline: Pipeline) -> GateRule:
    """The model's bars and feature set are computed live."""
    live = [(str(BarSpec.parse(pair.bars)), pair.feature_set) for pair in pipeline.features]
    there = (config.bars, config.feature_set) in live
    shown = ", ".join(f"{bars} with {features}" for bars, features in live)
    return GateRule(
        id="pair_live",
        passed=there,
        value=float(there),
        limit=1.0,
        reason=f"{config.bars} with {config.feature_set} {'is' if there else 'is not'} among the live pairs: {shown}",
    )


def _bps(fraction: float) -> str:
    return f"{fraction * 1e4:+.1f} bps of one lot's price"
