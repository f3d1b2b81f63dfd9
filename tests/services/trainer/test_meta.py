"""Experiments in two stages: a rule takes a side, and a model says which of its bets to take."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import yaml

from tapelab.common.errors import ConfigError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.reading import parse_config
from tapelab.common.serving.load import load_manifest, load_model
from tapelab.common.serving.normaliser import FittedNormaliser
from tapelab.common.serving.primary import PrimaryRule
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.quant.labels.meta import directed
from tapelab.trainer.cli import train_local
from tapelab.trainer.dataset import Samples, pool
from tapelab.trainer.etl import SymbolData, compute
from tapelab.trainer.evaluation import evaluate
from tapelab.trainer.strategy import Strategy
from tapelab.trainer.train import run_fold, split
from tests.services.trainer.data import SMALL, config, instruments, loaded

LABEL: dict[str, Any] = {"kind": "meta", "horizon_s": 30, "primary": {"feature": "flow_ewma_20", "threshold": 0.3}}


def asked() -> ExperimentConfig:
    return config(label=LABEL)


@functools.cache
def symbols() -> tuple[SymbolData, ...]:
    return tuple(compute(item, asked(), instruments()) for item in loaded())


@functools.cache
def samples() -> Samples:
    return pool(symbols(), asked())


def test_the_rule_is_the_sign_of_a_feature_beyond_a_threshold() -> None:
    x = np.array([[0.0, 0.5], [0.0, -0.5], [0.0, 0.3], [9.0, 0.0], [9.0, -0.30001]], np.float32)
    rule = PrimaryRule(feature="b", threshold=0.3)
    assert rule.side(x, ("a", "b")).tolist() == [1, -1, 1, 0, -1]  # 0.3 in float32 is a little more
    assert PrimaryRule(feature="b", threshold=0.4, against=True).side(x, ("a", "b")).tolist() == [-1, 1, 0, 0, 0]


def test_a_probability_moves_the_score_to_the_bets_side_or_not_at_all() -> None:
    probability, side = np.array([0.7, 0.7, 0.7, 0.4, 0.4]), np.array([1, -1, 0, 1, -1], np.int8)
    assert directed(probability, side) == pytest.approx([0.7, 0.3, 0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="one side per probability"):
        directed(probability, side[:2])


def test_samples_are_the_bets_and_their_label_says_whether_they_earned() -> None:
    pooled = samples()
    assert (np.abs(pooled.side) == 1).all()
    assert np.array_equal(pooled.up == 1, pooled.side * pooled.ret > 0.0)
    assert len(pooled.learnable(np.arange(pooled.n))) == pooled.n
    plain = pool([compute(item, config(), instruments()) for item in loaded()])
    assert 0 < pooled.n < plain.n
    # The returns are the price's, whichever side was taken.
    known = {(s, r): ret for s, r, ret in zip(plain.symbol, plain.row, plain.ret, strict=True)}
    assert all(known[s, r] == ret for s, r, ret in zip(pooled.symbol, pooled.row, pooled.ret, strict=True))


@pytest.mark.parametrize("steps", [{}, {"horizon_trades": 400}, {"horizon_bars": 12}])
def test_a_bet_may_end_at_its_own_profit_or_at_its_own_stop(steps: dict[str, int]) -> None:
    far = {"bet": "barriers", "unit": "bps"} | steps
    for upper, lower, sign in ((4.0, 1_000.0, 1.0), (1_000.0, 4.0, -1.0)):
        label = LABEL | far | {"upper": upper, "lower": lower}
        pooled = pool([compute(item, config(label=label), instruments()) for item in loaded()], config(label=label))
        gain = pooled.side * pooled.ret
        assert np.array_equal(pooled.up == 1, gain > 0.0)
        # Whatever reached the near barrier won (or lost) by it, on either side; the rest ran out of time.
        reached = sign * gain >= np.log1p(4e-4) * 0.99
        assert {-1, 1} == set(pooled.side[reached].tolist())
        if not steps:
            early = pooled.ts_end_ns - pooled.ts_start_ns < config().horizon_ns + config().latency_ns
            assert early.any()
            assert reached[early].all()
        if "horizon_bars" in steps:
            # A profit over bars earns its barrier; nothing else can be as near to it.
            near = np.abs(np.abs(gain[reached]) - 4e-4) < 1e-6
            assert near.mean() > 0.5


def test_barriers_of_bets_are_trained_on_and_idle_fields_are_refused() -> None:
    label = LABEL | {"bet": "barriers", "upper": 3.0, "lower": 3.0}
    data = [compute(item, config(label=label), instruments()) for item in loaded()]
    pooled = pool(data, config(label=label))
    assert run_fold(pooled, data, split(pooled, config(label=label))[0], config(label=label), 1, lambda: False).rounds
    for idle in (
        LABEL | {"upper": 3.0},
        LABEL | {"horizon_bars": 5},
        {"bet": "barriers"},
        {"horizon_bars": 5},
        {"kind": "triple_barrier", "horizon_bars": 5, "horizon_trades": 9},
        label | {"timeout": "sign"},
    ):
        with pytest.raises(ConfigError, match="label: fields that kind"):
            config(label=idle)


def test_only_bets_are_traded_and_never_against_their_side() -> None:
    pooled = samples()
    fold = split(pooled, asked())[-1]
    outcome = run_fold(pooled, symbols(), fold, asked(), 1, lambda: False)
    traded = 0
    for data in symbols():
        expected = outcome.model.expected_return(data, slice(0, len(data.bars)))
        assert data.side is not None
        assert (expected * data.side >= 0.0).all()
        assert not expected[data.side == 0].any()
        traded += int((expected != 0.0).sum())
    assert traded > 0
    metrics = evaluate([outcome], pooled, asked()).metrics
    assert metrics["pooled"]["model"]["auc"] > 0.5
    assert metrics["deciles"][0]["mean_return"] < 0 < metrics["deciles"][-1]["mean_return"]


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ({"kind": "meta"}, "label.primary: the rule whose side a meta-label judges, got none"),
        ({"kind": "meta", "primary": {"feature": "mine"}}, "label.primary.feature: a feature of core, got 'mine'"),
        ({"kind": "meta", "primary": {"feature": "ret_5s", "threshold": -1}}, "label.primary.threshold >= 0, got -1"),
        ({"primary": {"feature": "ret_5s"}}, "fields that kind sign_return with events all reads, got primary"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(label: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_config({"label": label})


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True])
def test_both_stages_decide_live_as_they_were_judged(raw: bool, tmp_path) -> None:
    fields: dict[str, Any] = {"label": LABEL}
    if raw:
        fields |= {"feature_set": "core_raw", "normaliser": {"min_rows": 50}}
        fields["label"] = LABEL | {"primary": {"feature": "momentum_10", "against": True}}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(SMALL | fields))
    result = train_local(tmp_path / "x.yaml", tmp_path)
    store = ArtifactStore(tmp_path / "artifacts")
    manifest = load_manifest(result["digest"], store)
    assert manifest.digest == result["digest"]
    assert manifest.label.kind == "meta"
    assert manifest.label.primary == config(**fields).label.primary
    assert isinstance(manifest.normaliser, FittedNormaliser) == raw
    model = load_model(manifest, store)
    for item in loaded():
        data = compute(item, config(**fields), instruments())
        x, name = data.features.values[:600], data.span.symbol
        scores = model.predict(x, [name])
        assert data.side is not None
        assert ((scores - 0.5) * data.side[:600] >= 0.0).all()
        assert (scores[data.side[:600] == 0] == 0.5).all()
        assert [model.predict(x[i : i + 1], [name])[0] for i in range(0, 600, 11)] == scores[::11].tolist()
        # What the backtest of a served model expects is what the live rule does.
        served = Strategy(_Served(model, name), manifest.calibration).expected_return(
            data._replace(side=None), slice(0, 600)
        )
        assert served.tolist() == [manifest.calibration.expected_return(float(score), 1.0) for score in scores]


class _Served:
    """A served model as a scorer of one symbol."""

    def __init__(self, model: Any, symbol: str) -> None:
        self._model, self._symbol = model, symbol

    def scores(self, x: np.ndarray) -> np.ndarray:
        return self._model.predict(x, [self._symbol])
