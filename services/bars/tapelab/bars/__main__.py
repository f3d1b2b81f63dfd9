"""``python -m tapelab.bars``: the bars service."""

from __future__ import annotations

import os

from tapelab.bars.settings import BarsSettings
from tapelab.bars.stage import BarsStage
from tapelab.common import topics
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.runtime.host import Host
from tapelab.common.runtime.service import ServiceContext, run_service
from tapelab.common.settings import load


async def bars_main(ctx: ServiceContext) -> None:
    """Run the bars stage over the partitions this process owns until it is told to stop."""
    load(BarsSettings, ctx.environ, service="bars")
    pipeline = load_pipeline(ctx.settings.config_dir)
    instruments = load_instruments(ctx.settings.config_dir)

    def stage(partition: int) -> BarsStage:
        return BarsStage(partition, pipeline, instruments)

    ctx.ready("compiling the kernels, or loading them from their cache")
    stage(0).warm_up()
    await Host("bars", [topics.TICKS], [topics.BARS], stage, ctx).run()


def main() -> None:
    """Entry point of the process."""
    run_service("bars", os.environ, bars_main)


if __name__ == "__main__":
    main()
