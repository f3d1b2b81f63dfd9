"""Computation beside the event loop, or in it for a short time, so that acknowledgements and heartbeats get through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Args = TypeVarTuple("Args")

#: What is expected to take no longer is computed in the loop, which may be held for 20 ms. Beside a thread that
#: computes, the loop waits for the interpreter after every call of the system, and passing prints from one core to the
#: other and back costs a fifth of all the work there is.
SHORT_NS: Final = 8_000_000


class Compute:
    """One thread for all stages of a process, one for their snapshots, and turns in the loop for what is short.

    The kernels release the interpreter, everything else in a stage shares it with the loop a few milliseconds
    at a time. One computing thread, because a second would only take turns with the first.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"compute-{name}")
        self._turn = asyncio.Lock()
        self._packer = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"pack-{name}")
        #: The turn to save a snapshot.
        self.saving = asyncio.Lock()

    async def turn(self, function: Callable[[Unpack[Args]], T], *args: *Args) -> T:
        """The result of a function that is expected to take ``SHORT_NS`` at most; one in a round of the loop."""
        async with self._turn:
            result = function(*args)
            await asyncio.sleep(0)
            return result

    async def run(self, function: Callable[[Unpack[Args]], T], *args: *Args) -> T:
        """The function's result; when the caller is cancelled, a function that has begun ends unheard."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def pack(self, function: Callable[[Unpack[Args]], T], *args: *Args) -> T:
        """The result of a function that packs a snapshot, beside whatever is computed meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._packer, function, *args)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._packer.shutdown(wait=False, cancel_futures=True)
