"""``python -m tapelab.features``: the features service."""

from __future__ import annotations

import os

import numpy as np

from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.runtime.host import Host
from tapelab.common.runtime.service import ServiceContext, run_service
from tapelab.common.settings import load
from tapelab.common.topics import BARS, FEATURES
from tapelab.features.settings import FeaturesSettings
from tapelab.features.stage import FeaturesStage
from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.features import FEATURE_SETS, compute_features


async def features_main(ctx: ServiceContext) -> None:
    """Host the stage until told to stop."""
    settings = load(FeaturesSettings, ctx.environ, service="features")
    pipeline = load_pipeline(ctx.settings.config_dir)
    instruments = load_instruments(ctx.settings.config_dir)
    # A wrong pipeline fails here, before any partition is taken.
    FeaturesStage(0, pipeline, instruments)
    if settings.warm_kernels:
        ctx.ready("compiling the kernels, or loading them from their cache")
        for pair in pipeline.features:
            compute_features(np.zeros(1, dtype=BAR_DTYPE), FEATURE_SETS[pair.feature_set], 1.0)
    host = Host("features", [BARS], [FEATURES], lambda partition: FeaturesStage(partition, pipeline, instruments), ctx)
    await host.run()


def main() -> None:
    """Run the service."""
    run_service("features", os.environ, features_main)


if __name__ == "__main__":
    main()
