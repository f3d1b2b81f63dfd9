"""How bars are compared: bit for bit, or with the slow reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapelab.quant.dtypes import BAR_DTYPE, TRAILING_WINDOWS


def assert_same(left: Any, right: Any) -> None:
    if left.tobytes() == right.tobytes():
        return
    for name in BAR_DTYPE.names or ():
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    raise AssertionError("equal values with different bits")


def assert_reference(got: Any, want: Any) -> None:
    """Bits of the reference, but for sums over trailing windows, which are within rounding of its exact ones."""
    got = got.copy()
    for suffix, _ in TRAILING_WINDOWS:
        for measure, scale in (("volume", "volume"), ("signed_volume", "volume"), ("rv", "rv")):
            name = f"{measure}_{suffix}"
            allowed = 4.0 * np.spacing(want[f"{scale}_{suffix}"])
            assert (np.abs(got[name] - want[name]) <= allowed).all(), name
            got[name] = want[name]
    assert_same(got, want)
