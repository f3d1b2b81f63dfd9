"""A backtest as a trial: a setting that was looked at on a tape is one that could have been chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np

from tapelab.common.experiments.config import SECOND_NS, ExperimentConfig
from tapelab.common.serving.manifest import Manifest
from tapelab.common.storage.ledger import Trial
from tapelab.trainer.backtest import Backtested, Settings
from tapelab.trainer.etl import data_digest
from tapelab.trainer.evaluation import block_returns
from tapelab.trainer.sources import SymbolTicks
from tapelab.trainer.strategy import SymbolPeriod
from tapelab.trainer.trials import make_trial


def backtest_trial(
    manifest: Manifest,
    config: ExperimentConfig,
    settings: Settings,
    loaded: Sequence[SymbolTicks],
    done: Sequence[Backtested],
    *,
    now_ns: int,
) -> Trial:
    """The ledger's record of a backtest: the model and everything about it that was set otherwise.

    Settings that say what the model says anyway are the model's own, and the same settings count once.

    Args:
        config: of the model.
        loaded, done: symbol by symbol.
    """
    trading = config.backtest if settings.trading is None else settings.trading
    latency = settings.latency
    drawn = [config.latency_ns] if latency is None else latency.samples_ns.tolist()
    tried = {
        "model": manifest.digest,
        "threshold": manifest.decision.threshold if settings.threshold is None else settings.threshold,
        "latency_ns": drawn,
        "seed": latency.seed if latency is not None and len(drawn) > 1 else 0,
        "trading": msgspec.to_builtins(trading),
        "symbols": sorted(item.symbol for item in done),
    }
    ts_ns = np.concatenate([item.ts_ns for item in done])
    block_ns = round(config.gate.block_s * SECOND_NS)
    periods = [SymbolPeriod(item.symbol, item.ts_ns, item.day, item.result) for item in done]
    trial = make_trial(
        config,
        [item.span for item in loaded],
        data_digest(loaded),
        block_returns(periods, block_ns),
        block_ns,
        (int(ts_ns.min()), int(ts_ns.max())),
        experiment_id=None,
        now_ns=now_ns,
    )
    digest = hashlib.sha256(msgspec.json.encode(tried, order="deterministic")).hexdigest()
    return msgspec.structs.replace(trial, name=manifest.model_id[:100], config_digest=digest)
