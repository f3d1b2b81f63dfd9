"""What a Sharpe ratio is worth after counting everything that was tried on the same data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import BacktestConfig, Span
from tapelab.common.storage.ledger import History, Trial
from tapelab.quant.validation.effective_trials import correlation_of, effective_trials
from tapelab.quant.validation.pbo import Overfitting, overfitting_probability
from tapelab.quant.validation.sharpe import (
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record_length,
    moments,
    probabilistic_sharpe,
    sharpe,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What says where the data is, who asked and how strictly it is judged, but not what was tried.
_NOT_TRIED: Final = ("name", "symbols", "roots", "source", "spans", "cut_ts_ns", "gate", "wait_s")
#: Blocks of a trial that the ledger keeps; longer spans are kept in longer blocks.
MAX_BLOCKS: Final = 4_096


class Deflation(NamedTuple):
    """A Sharpe ratio per block, held against the trials it was chosen from.

    Args:
        deflated: probability that the true ratio is positive, given the trials.
        probabilistic: the same for a single trial.
        n_trials: configurations tried on shared data, this one included.
        effective_trials: independent ones that they are worth; the ratio is deflated by this many, rounded up.
        trials_variance: variance of the trials' ratios per block: what they show, at least that of luck.
        expected_maximum: the ratio that the best of as many trials without skill would show.
        track_record: blocks after which the ratio would exceed zero at 95 %.
        overfitting: PBO, or why it does not apply.
        where: where trials are counted; empty where they are not.
    """

    deflated: float
    probabilistic: float
    n_trials: int
    effective_trials: float
    trials_variance: float
    expected_maximum: float
    track_record: float
    overfitting: Overfitting
    where: str

    def described(self, n_blocks: int) -> dict[str, Any]:
        """The report's section ``trials``."""
        return {
            "n_trials": self.n_trials,
            "effective_trials": self.effective_trials,
            "counted_in": self.where or None,
            "deflated_sharpe": self.deflated,
            "probabilistic_sharpe": self.probabilistic,
            "expected_maximum_sharpe": self.expected_maximum,
            "trials_variance": self.trials_variance,
            "min_track_record_blocks": self.track_record,
            "n_blocks": n_blocks,
            "pbo": self.overfitting.pbo,
            "pbo_trials": self.overfitting.n_trials,
            "pbo_splits": self.overfitting.n_splits,
            "pbo_loss": self.overfitting.loss,
            "pbo_note": self.overfitting.reason,
        }


def config_digest(config: ExperimentConfig, spans: Sequence[Span]) -> str:
    """What was tried: bars, features, label, model, validation, decision, costs and symbols; 64 hex digits."""
    tried = msgspec.to_builtins(config)
    for field in _NOT_TRIED:
        del tried[field]
    # What an experiment does not ask for is not there, so that older trials keep their digests.
    if config.normaliser is None:
        del tried["normaliser"]
    if config.label.primary is None:
        del tried["label"]["primary"]
    for field, default in (("bet", "horizon"), ("horizon_bars", None)):
        if tried["label"][field] == default:
            del tried["label"][field]
    if config.backtest == BacktestConfig():
        del tried["backtest"]
    # More figures about the same model are no other model.
    del tried["validation"]["combinatorial"]
    tried |= {"feature_set_id": config.features.id, "symbols": sorted(span.symbol for span in spans)}
    return hashlib.sha256(msgspec.json.encode(tried, order="deterministic")).hexdigest()


def make_trial(
    config: ExperimentConfig,
    spans: Sequence[Span],
    data_digest: str,
    blocks: tuple[Ints, Floats],
    block_ns: int,
    test_ns: tuple[int, int],
    *,
    experiment_id: str | None,
    now_ns: int,
) -> Trial:
    """The ledger's record of an experiment.

    Args:
        blocks: numbers of the test periods' blocks and their net returns.
        test_ns: event times of the first and last test sample.
    """
    numbers, returns = blocks
    ratio = sharpe(returns)
    while len(numbers) > MAX_BLOCKS:
        block_ns *= 2
        numbers, returns = _coarser(numbers, returns, 2)
        ratio = sharpe(returns)
    return Trial(
        experiment_id=experiment_id,
        name=config.name,
        config_digest=config_digest(config, spans),
        data_digest=data_digest,
        symbols=tuple(sorted(span.symbol for span in spans)),
        first_ns=test_ns[0],
        last_ns=test_ns[1],
        sharpe=ratio if math.isfinite(ratio) else None,
        block_ns=block_ns,
        blocks=tuple(numbers.tolist()),
        returns=tuple(returns.tolist()),
        recorded_ns=now_ns,
    )


def deflate(returns: Floats, block_ns: int = 1, history: History | None = None) -> Deflation:
    """Discount the ratio of some returns per block by everything tried on their data.

    What is discounted is the luck of the best of as many independent trials as the ledger's are worth. Their
    variance is the larger of what the ledger shows and what luck alone gives, so that a ledger full of near
    copies does not lower the bar.

    Args:
        history: of the ledger, this trial included; None where nothing counts trials.
    """
    n = len(returns)
    n_trials = 1 if history is None else history.n_trials
    variance = 1.0 / (n - 1) if n > 1 else math.nan
    if history is not None:
        # A ratio per block grows with the root of the block's length.
        ratios = [ratio * math.sqrt(block_ns / length) for ratio, length in history.sharpes]
        if len(ratios) > 1:
            variance = max(variance, float(np.var(ratios, ddof=1)))
    effective = effective_trials(n_trials, _correlations([] if history is None else history.recent))
    independent = math.ceil(effective)
    skew, kurtosis = moments(returns)
    return Deflation(
        deflated=deflated_sharpe(returns, n_trials=independent, trials_variance=variance),
        probabilistic=probabilistic_sharpe(returns),
        n_trials=n_trials,
        effective_trials=effective,
        trials_variance=variance,
        expected_maximum=expected_maximum_sharpe(independent, variance) if n > 1 else math.nan,
        track_record=minimum_track_record_length(sharpe(returns), skew=skew, kurtosis=kurtosis),
        overfitting=overfitting(history),
        where="" if history is None else history.where,
    )


def overfitting(history: History | None) -> Overfitting:
    """PBO of the trials that cover at least half of the newest one's test span, on what all of them share."""
    trials = [] if history is None else history.recent
    if not trials:
        return overfitting_probability(np.zeros((0, 1)))
    own = trials[0]
    half = (own.last_ns - own.first_ns) / 2
    kept = [
        one for one in trials if one.blocks and min(one.last_ns, own.last_ns) - max(one.first_ns, own.first_ns) >= half
    ]
    longest = max((one.block_ns for one in kept), default=1)
    kept = [one for one in kept if longest % one.block_ns == 0]
    series = [_coarser(np.array(one.blocks, np.int64), np.array(one.returns), longest // one.block_ns) for one in kept]
    if not series:
        return overfitting_probability(np.zeros((0, 1)))
    first, last = max(numbers[0] for numbers, _ in series), min(numbers[-1] for numbers, _ in series)
    # A block in which no bar of a trial closed is one in which it earned nothing.
    shared = np.unique(np.concatenate([numbers for numbers, _ in series]))
    shared = shared[(shared >= first) & (shared <= last)]
    table = np.zeros((len(shared), len(series)))
    for column, (numbers, returns) in enumerate(series):
        inside = (numbers >= first) & (numbers <= last)
        table[np.searchsorted(shared, numbers[inside]), column] = returns[inside]
    return overfitting_probability(table, n_blocks=16 if len(shared) >= 64 else 8)


def _correlations(trials: Sequence[Trial]) -> Floats:
    """Correlations of the trials' returns on the blocks that each pair shares; NaN where those are too few.

    Shape ``(k, k)``. Trials whose blocks cannot be joined into the longest one's are not known, and neither are
    those without returns.
    """
    longest = max((one.block_ns for one in trials), default=1)
    series = [
        _coarser(np.array(one.blocks, np.int64), np.array(one.returns), longest // one.block_ns)
        if one.blocks and longest % one.block_ns == 0
        else None
        for one in trials
    ]
    found = np.full((len(trials), len(trials)), np.nan)
    for i, left in enumerate(series):
        for j, right in enumerate(series[:i]):
            if left is not None and right is not None:
                found[i, j] = found[j, i] = correlation_of(*_shared(left, right))
    return found


def _shared(left: tuple[Ints, Floats], right: tuple[Ints, Floats]) -> tuple[Floats, Floats]:
    """Two trials' returns on the blocks between which both were looked at; 0 where one had no bar."""
    first, last = max(left[0][0], right[0][0]), min(left[0][-1], right[0][-1])
    blocks = np.union1d(left[0], right[0])
    blocks = blocks[(blocks >= first) & (blocks <= last)]
    columns = []
    for numbers, returns in (left, right):
        inside = (numbers >= first) & (numbers <= last)
        column = np.zeros(len(blocks))
        column[np.searchsorted(blocks, numbers[inside])] = returns[inside]
        columns.append(column)
    return columns[0], columns[1]


def _coarser(numbers: Ints, returns: Floats, times: int) -> tuple[Ints, Floats]:
    """Blocks joined into blocks ``times`` as long."""
    joined, of = np.unique(numbers // times, return_inverse=True)
    return joined, np.bincount(of, weights=returns, minlength=len(joined)).astype(np.float64)
