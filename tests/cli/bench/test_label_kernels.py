"""The barriers' contestants find the same touches as the reference, and their rows have the published shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapelab.cli.bench import label_kernels
from tapelab.quant.labels.first_touch import Touches
from tapelab.quant.labels.reference_paths import reference_first_touch

N = 3_000


@pytest.mark.parametrize("sigmas", label_kernels.WIDTHS)
def test_all_find_what_the_reference_finds(sigmas: int) -> None:
    high, low, close = label_kernels.walk(N)
    width = sigmas * label_kernels.SIGMA
    start = np.arange(1, N + 1)
    stop = np.minimum(start + label_kernels.HORIZON, N)
    expected = reference_first_touch(high, low, start, stop, close * (1.0 + width), close * (1.0 - width))
    for compute in (label_kernels.ours, label_kernels.numpy_windows):
        touches = compute(high, low, close, width)
        assert list(zip(touches.row.tolist(), touches.side.tolist(), strict=True)) == expected


def test_rows_have_the_published_shape(tmp_path: Path) -> None:
    table = label_kernels.rows(with_peers=True, peers_env=tmp_path, n=N)
    assert [row["work"] for row in table] == ["triple_barrier_2s", "triple_barrier_5s", "triple_barrier_10s"]
    for row in table:
        assert set(row) == {"work", "unit", "higher_is_better", "tapelab", "peers", "floor", "note"}
        assert row["peers"]["numpy_windows"] > 0
        assert row["peers"]["mlfinpy"] is None
        assert f"mlfinpy not installed below {tmp_path}: run once with --install-peers" in row["note"]
    for row in label_kernels.rows(with_peers=False, n=N):
        assert row["peers"] == {"numpy_windows": None, "mlfinpy": None}
        assert row["note"].endswith("peers left out by --without-peers")


def test_a_peer_that_finds_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Touches(np.zeros(N, np.int64), np.zeros(N, np.int8))
    monkeypatch.setattr(label_kernels, "numpy_windows", lambda *_: other)
    with pytest.raises(RuntimeError, match="finds other touches"):
        label_kernels.rows(with_peers=True, n=N)


def test_an_interpreter_without_mlfinpy_is_an_error(tmp_path) -> None:
    _, _, close = label_kernels.walk(50)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No module named mlfinpy >&2; exit 1\n")
    python.chmod(0o755)
    with pytest.raises(RuntimeError, match="fails: No module named mlfinpy"):
        label_kernels.mlfinpy_rate(str(python), close, 1e-3)
