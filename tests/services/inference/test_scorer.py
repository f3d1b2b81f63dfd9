"""One call per model and micro-batch."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from tapelab.common.clock import ManualClock
from tapelab.common.serving.load import ServingModel
from tapelab.common.serving.manifest import encode_manifest
from tapelab.common.serving.normaliser import Scaler
from tapelab.common.storage.redis import connect
from tapelab.inference.models import Models
from tapelab.inference.scorer import InferenceScorer
from tapelab.inference.source import ContextSource
from tapelab.inference.stage import InferenceStage
from tests.common.serving.models import MemoryStore, booster, manifest, model_txt
from tests.common.serving.test_normaliser import fitted
from tests.services.inference.vectors import COSTS, PAIR, bound, context, records, vector


class World:
    """A scorer over models in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.models = Models(self.store, {PAIR})
        self.registry = CollectorRegistry()
        source = ContextSource(
            connect("redis://127.0.0.1:1"), "", self.models, COSTS, logging.getLogger("test"), ManualClock(), print
        )
        self.scorer = InferenceScorer(self.models, source, ManualClock(), self.registry)

    def model(self, model_id: str, seed: int = 0) -> str:
        files = {"model.txt": self.store.put(model_txt(seed))}
        return self.store.put(encode_manifest(manifest(files, model_id=model_id)))

    def calls(self, model_id: str) -> float:
        return self.registry.get_sample_value("tapelab_model_call_seconds_count", {"model": model_id}) or 0.0

    def scored(self, model_id: str) -> float:
        return self.registry.get_sample_value("tapelab_scores_total", {"model": model_id}) or 0.0


def batch(*symbols: str, **changes):
    return InferenceStage(0).admit(records([vector(0, 0.3 * i, symbol=s, **changes) for i, s in enumerate(symbols)]))


@pytest.fixture
def world() -> World:
    return World()


async def test_all_symbols_and_partitions_are_scored_by_one_call_per_role(world: World) -> None:
    one, two = world.model("one"), world.model("two", seed=3)
    under = context(bound(digest=one), bound("challenger", digest=two))
    await world.scorer.prepare(under)
    batches = [batch("AAA", "BBB"), batch(), batch("CCC")]
    scores = world.scorer.score(under, batches)
    assert [world.calls("one"), world.calls("two"), world.scored("one")] == [1, 1, 3]
    assert scores[1] == {}
    rows = np.stack([item.vector.array() for b in batches for item in b.items])
    for digest, seed in ((one, 0), (two, 3)):
        found = np.concatenate([scores[0][digest], scores[2][digest]])
        assert np.array_equal(found, booster(seed).predict(rows))


async def test_a_normaliser_of_the_models_own_scales_each_row_by_its_symbol(world: World) -> None:
    own = fitted()
    files = {"model.txt": world.store.put(model_txt())}
    digest = world.store.put(encode_manifest(manifest(files, model_id="own", normaliser=own)))
    under = context(bound(digest=digest))
    await world.scorer.prepare(under)
    batches = [batch("AAA", "BBB"), batch("NEW", "AAA")]
    scores = world.scorer.score(under, batches)
    assert world.calls("own") == 1
    items = [item for b in batches for item in b.items]
    x = np.stack([item.vector.array() for item in items])
    scaled = Scaler(own, 4, "own").apply(x, [item.vector.symbol for item in items])
    assert np.array_equal(np.concatenate([found[digest] for found in scores]), booster().predict(scaled))
    assert not np.array_equal(scaled, x)


async def test_a_model_in_both_roles_is_called_once(world: World) -> None:
    one = world.model("one")
    under = context(bound(digest=one), bound("challenger", digest=one))
    await world.scorer.prepare(under)
    world.scorer.score(under, [batch("AAA", "BBB")])
    assert (world.calls("one"), world.scored("one")) == (1, 2)


async def test_a_symbols_own_model_scores_it_alone(world: World) -> None:
    one, own = world.model("one"), world.model("own", seed=3)
    under = context(bound(digest=one), bound(symbol="BBB", digest=own))
    await world.scorer.prepare(under)
    (scores,) = world.scorer.score(under, [batch("AAA", "BBB")])
    assert np.isnan(scores[one]).tolist() == [False, True]
    assert np.isnan(scores[own]).tolist() == [True, False]


async def test_vectors_of_another_feature_set_are_not_scored(world: World) -> None:
    under = context(bound(digest=world.model("one")))
    await world.scorer.prepare(under)
    assert world.scorer.score(under, [batch("AAA", feature_set_id="0" * 16)]) == [{}]
    assert world.calls("one") == 0


async def test_the_context_never_waits(world: World) -> None:
    assert b'"pointers":[]' in await world.scorer.context()


async def test_a_prepared_model_is_loaded_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    under = context(bound(digest=world.model("one")))
    await world.scorer.prepare(under)
    monkeypatch.setattr(ServingModel, "__init__", None)
    await world.scorer.prepare(under)
