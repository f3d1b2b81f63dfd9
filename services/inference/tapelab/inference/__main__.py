"""``python -m tapelab.inference``: vectors in, signals out."""

from __future__ import annotations

import asyncio
import os

from tapelab.common import topics
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.runtime.decision_host import DecisionHost
from tapelab.common.runtime.service import ServiceContext, run_service
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.redis import connect
from tapelab.inference.context import costs_of
from tapelab.inference.live import live_pairs
from tapelab.inference.models import Models
from tapelab.inference.scorer import InferenceScorer
from tapelab.inference.settings import load_settings
from tapelab.inference.source import ContextSource
from tapelab.inference.stage import InferenceStage
from tapelab.quant.backtest.decision import DecisionParams, DecisionState, step


async def inference_main(ctx: ServiceContext) -> None:
    """Decide until told to stop."""
    settings = load_settings(ctx.environ)
    _compile()
    models = Models(ArtifactStore(ctx.settings.artifacts), live_pairs(load_pipeline(ctx.settings.config_dir)))
    redis = connect(ctx.settings.redis_url)
    source = ContextSource(
        redis,
        ctx.settings.namespace,
        models,
        costs_of(load_instruments(ctx.settings.config_dir)),
        ctx.log,
        ctx.clock,
        # The host says when there is work that can be done; what is missing is shown beside it.
        lambda detail: ctx.ready(detail=detail) if ctx.readiness[0] else None,
    )
    try:
        # Held positions of a recovered state must meet the real halts and models, so Redis comes first.
        while not await source.refresh():
            if await ctx.stopped_within(settings.poll_ms / 1e3):
                return
        scorer = InferenceScorer(models, source, ctx.clock, ctx.registry)
        host = DecisionHost(
            "inference", topics.FEATURES, (topics.SIGNALS,), InferenceStage, scorer, ctx, batch_ms=settings.batch_ms
        )
        follow = asyncio.create_task(source.follow(settings.poll_ms))
        # Without its source the service would go on under old halts: its failure ends the service.
        follow.add_done_callback(lambda _: ctx.stopping.set())
        try:
            await host.run()
        finally:
            if follow.done():
                follow.result()
            follow.cancel()
            await asyncio.gather(follow, return_exceptions=True)
    finally:
        await redis.aclose()


def _compile() -> None:
    """The first call of a compiled function is slow; it must not be a live one."""
    params = DecisionParams(0.0, 0, 0, 0)
    step(
        DecisionState(),
        ts_ns=0,
        session_close_ns=1,
        expected_return=0.0,
        cost=0.0,
        usable=True,
        session_end=False,
        halted=False,
        params=params,
    )


def main() -> None:
    """Run the service."""
    run_service("inference", os.environ, inference_main)


if __name__ == "__main__":
    main()
