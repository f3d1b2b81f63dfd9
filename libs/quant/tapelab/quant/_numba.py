"""numba's ``njit`` with a type a strict checker understands; compiled code is cached on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

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
    """Compile without Python objects, with strict IEEE arithmetic, caching the machine code.

    The interpreter is released while it runs, so that a service's event loop goes on beside it.
    """
    # Said, as it is else taken over from a caller that is a leaf.
    compiled: F = numba.njit(cache=True, fastmath=False, nogil=True, error_model="numpy", _nrt=True)(function)
    return compiled


def leaf(function: F) -> F:
    """:func:`njit` for a function that allocates no array: views are not counted, so that slicing costs nothing.

    A reference count is an atomic instruction or two for every slice, which adds up in a loop that does little else.
    """
    compiled: F = numba.njit(cache=True, fastmath=False, nogil=True, error_model="numpy", _nrt=False)(function)
    return compiled
