"""Computation beside the event loop, so that heartbeats, fetches and acknowledgements never wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Compute:
    """One thread for all stages of a process.

    The kernels release the interpreter, everything else in a stage shares it with the loop a few milliseconds
    at a time. One thread, because a second would only take turns with the first.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"compute-{name}")

    async def run(self, function: Callable[[Unpack[Args]], T], *args: *Args) -> T:
        """The function's result; when the caller is cancelled, a function that has begun ends unheard."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
