"""The feature rows of the kernel benchmark compare like with like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapelab.cli.bench import feature_kernels
from tapelab.cli.bench.feature_peers import CORE, bottleneck_features, pandas_features, polars_features
from tapelab.cli.bench.kernel_peers_agree import features_agree
from tapelab.quant.features import compute_features

BARS = feature_kernels.synthetic_bars(2_000)


@pytest.mark.parametrize("peer", ["pandas", "polars", "bottleneck"])
def test_peers_compute_the_same_thirty_features(peer: str) -> None:
    pytest.importorskip(peer)
    contestant = {"pandas": pandas_features, "polars": polars_features, "bottleneck": bottleneck_features}[peer]
    ours, theirs = compute_features(BARS, CORE, feature_kernels.TICK).values, contestant(BARS, feature_kernels.TICK)()
    features_agree(ours, theirs, peer, CORE.names)
    theirs[np.flatnonzero(ours[:, 7] == 0.0), 7] = np.nan
    features_agree(ours, theirs, peer, CORE.names)
    theirs[::50, 7] += 1.0
    with pytest.raises(RuntimeError, match=f"{peer} computes another {CORE.names[7]}: expected within 0.002, got 1 "):
        features_agree(ours, theirs, peer, CORE.names)


def test_the_rows_have_the_published_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_kernels, "synthetic_bars", lambda: BARS)
    rows: list[dict[str, Any]] = feature_kernels.feature_rows(1, with_peers=False)
    assert [row["work"] for row in rows] == ["rolling_features_30", "feature_step"]
    for row in rows:
        assert set(row) == {"work", "unit", "higher_is_better", "tapelab", "peers", "floor", "note"}
        assert row["tapelab"] > 0
    assert rows[0]["peers"] == {"pandas": None, "polars": None, "bottleneck": None}
    assert rows[0]["note"].endswith("peers left out by --without-peers")
