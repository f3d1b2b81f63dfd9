"""LightGBM's own runtime through its C interface.

The shared library of the ``lightgbm`` wheel is called directly: importing the Python package would bring
pandas and scikit-learn into the service, and ``Booster.predict`` spends two thirds of a single row's time
on settings that its single-row fast path reads once. Source: LightGBM ``include/LightGBM/c_api.h``.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from tapelab.common.errors import ConfigError
from tapelab.common.serving.backend import Matrix, Scores, unreadable
from tapelab.common.serving.lightgbm_text import check_lightgbm_text

_FLOAT32: Final = 0
_NORMAL: Final = 0  # probabilities, not margins
_ROW_MAJOR: Final = 1
_ONE_THREAD: Final = b"num_threads=1"
#: Up to so many rows the fast path is called row by row; beyond, one call takes the matrix.
_ROWS_ONE_BY_ONE: Final = 4

_FUNCTIONS: Final = {
    "LGBM_BoosterLoadModelFromString": [ctypes.c_char_p, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_void_p)],
    "LGBM_BoosterFree": [ctypes.c_void_p],
    "LGBM_BoosterGetNumFeature": [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)],
    "LGBM_BoosterGetNumClasses": [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)],
    "LGBM_BoosterPredictForMat": [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.c_int, ctypes.c_int,
        ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_void_p,
    ],
    "LGBM_BoosterPredictForMatSingleRowFastInit": [
        ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int32, ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_void_p),
    ],
    "LGBM_BoosterPredictForMatSingleRowFast": [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_void_p,
    ],
    "LGBM_FastConfigFree": [ctypes.c_void_p],
}  # fmt: skip


@functools.cache
def _library() -> ctypes.CDLL:
    spec = find_spec("lightgbm")
    folders = [Path(p) for p in (spec.submodule_search_locations or ())] if spec is not None else []
    found = [path for folder in folders for path in sorted(folder.glob("**/lib_lightgbm.*"))]
    if not found:
        raise ConfigError(
            "LightGBM's library is missing",
            expected="lib_lightgbm in the lightgbm package",
            actual="lightgbm is not installed" if spec is None else f"nothing in {folders[0]}",
            remedy="install the serving extra: pip install 'tapelab[serving]'",
        )
    library = ctypes.CDLL(str(found[0]))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    return library


class LightGbmModel:
    """A LightGBM model with one output from the text of its ``model.txt``.

    Raises:
        ModelMismatch: the text is not such a model.
    """

    def __init__(self, raw: bytes, *, regression: bool = False) -> None:
        self._raw = raw
        self._library = library = _library()
        self._handle = handle = ctypes.c_void_p()
        self._out_len = ctypes.c_int64()
        check_lightgbm_text("LightGBM", raw, regression=regression)
        self._call("LGBM_BoosterLoadModelFromString", raw, ctypes.byref(ctypes.c_int()), ctypes.byref(handle))
        weakref.finalize(self, library.LGBM_BoosterFree, handle)
        self._n_features = self._count("LGBM_BoosterGetNumFeature")
        classes = self._count("LGBM_BoosterGetNumClasses")
        if classes != 1:
            raise unreadable("LightGBM", raw, f"{classes} classes")
        self._fast = fast = ctypes.c_void_p()
        self._call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            handle, _NORMAL, 0, -1, _FLOAT32, self._n_features, _ONE_THREAD, ctypes.byref(fast),
        )  # fmt: skip
        weakref.finalize(self, library.LGBM_FastConfigFree, fast)

    @property
    def n_features(self) -> int:
        """Columns it expects."""
        return self._n_features

    def scores(self, x: Matrix) -> Scores:
        """Scores, shape ``(n,)``; a row's score does not depend on its neighbours."""
        n = len(x)
        out = np.empty(n, np.float64)
        if n > _ROWS_ONE_BY_ONE:
            self._call(
                "LGBM_BoosterPredictForMat",
                self._handle, x.ctypes.data, _FLOAT32, n, self._n_features, _ROW_MAJOR, _NORMAL, 0, -1, _ONE_THREAD,
                ctypes.byref(self._out_len), out.ctypes.data,
            )  # fmt: skip
            return out
        source, target, stride = x.ctypes.data, out.ctypes.data, x.strides[0]
        predict, fast, length = (
            self._library.LGBM_BoosterPredictForMatSingleRowFast,
            self._fast,
            ctypes.byref(self._out_len),
        )
        for row in range(n):
            if predict(fast, source + row * stride, length, target + row * 8) != 0:
                raise self._error()
        return out

    def _count(self, function: str) -> int:
        number = ctypes.c_int()
        self._call(function, self._handle, ctypes.byref(number))
        return number.value

    def _call(self, function: str, *arguments: Any) -> None:
        if getattr(self._library, function)(*arguments) != 0:
            raise self._error()

    def _error(self) -> Exception:
        return unreadable("LightGBM", self._raw, self._library.LGBM_GetLastError().decode(errors="replace"))
