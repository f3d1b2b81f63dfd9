"""numba's ``njit`` with a type a strict checker understands; compiled code is cached on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def _cache_folder() -> Path:
    """A folder per state of the sources.

    numba looks only at the file of the function that is called, so a kernel would go on running the old
    code of a helper in another file after an edit.
    """
    here = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=8)
    for source in sorted(here.rglob("*.py")):
        digest.update(source.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or here / "__pycache__"
    return Path(base) / f"tapelab-{digest.hexdigest()}"


numba.config.CACHE_DIR = str(_cache_folder())


def njit(function: F) -> F:
    """Compile without Python objects, with strict IEEE arithmetic, caching the machine code."""
    compiled: F = numba.njit(cache=True, fastmath=False, error_model="numpy")(function)
    return compiled


@intrinsic
def borrowed(typing: Any, array: Any) -> Any:
    """A view that does not count references, so that slicing it in a hot loop costs no atomic instructions.

    Only for an array that outlives the view: an argument of a kernel that Python code calls.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, value=args[0])
        view.meminfo = context.get_constant_null(types.MemInfoPointer(types.voidptr))
        view.parent = context.get_constant_null(types.pyobject)
        return view._getvalue()

    return array(array), codegen
