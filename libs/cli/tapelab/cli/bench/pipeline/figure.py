"""Where the time from tick to signal goes: a bar for each broker and rate, its hops stacked, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

import numpy as np

from tapelab.cli.bench.pipeline.latency import HOPS, Latency

_COLOURS: Final = ("#4e79a7", "#59a14f", "#f28e2b", "#b07aa1")
_LEFT, _WIDTH, _HIGH, _TOP = 175, 575, 22, 56


def draw(measured: Mapping[str, Latency]) -> str:
    """Two bars each: the median of every hop, and the mean of every hop over the slowest hundredth of the signals.

    The second one tells where the 99th percentile comes from; percentiles of single hops would not add up.
    """
    bars = []
    for name, found in measured.items():
        slowest = found.hops[found.total >= found.percentile(99)]
        bars += [(f"{name} p50", np.median(found.hops, axis=0)), (f"{name} slowest 1 %", slowest.mean(axis=0))]
    longest = max((float(hops.sum()) for _, hops in bars), default=1.0) or 1.0
    high = _TOP + len(bars) * (_HIGH + 6) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 90} {high}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_LEFT + _WIDTH + 90}" height="{high}" fill="white"/>',
        '<text x="10" y="18" font-size="14">From tick to signal, by hop</text>',
    ]
    for at, (hop, colour) in enumerate(zip(HOPS, _COLOURS, strict=True)):
        left = 10 + at * 180
        lines += [
            f'<rect x="{left}" y="28" width="12" height="12" fill="{colour}"/>',
            f'<text x="{left + 17}" y="38">{escape(hop)}</text>',
        ]
    for row, (name, hops) in enumerate(bars):
        y, x = _TOP + row * (_HIGH + 6), float(_LEFT)
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        for hop, colour in zip(hops.tolist(), _COLOURS, strict=True):
            wide = max(0.0, hop) / longest * _WIDTH
            lines.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{_HIGH}" fill="{colour}"/>')
            x += wide
        lines.append(f'<text x="{x + 5:.1f}" y="{y + 15}">{hops.sum():.0f} ms</text>')
    return "\n".join([*lines, "</svg>", ""])
