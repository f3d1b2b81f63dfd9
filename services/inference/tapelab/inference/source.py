"""The context from Redis: pointers and halts, followed for as long as the service runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tapelab.common.clock import Clock
from tapelab.common.errors import TapelabError
from tapelab.common.storage.halts import read_halts
from tapelab.common.storage.pointers import Pointer, changes_channel, missing_pointer_error, read_pointers
from tapelab.inference.context import Bound, Context, SymbolCosts, bind, encode_context
from tapelab.inference.models import Models

_LOST: Final = (RedisError, OSError, TimeoutError)
NO_MODEL: Final = "waiting for a model"


class ContextSource:
    """Keeps ``current``, the context that holds from now on.

    A pointer is taken over only once its model is loaded and fits; until then, and where it does not, the
    one before stays, and halts pass all the same. While Redis is away, or came back empty, the last
    context stays.

    Args:
        redis: the client.
        namespace: of the keys.
        models: loads what pointers name.
        costs: of all instruments, part of every context.
        log: says once what goes wrong, and what changed.
        clock: waits between two attempts at a lost Redis.
        tell: told what readiness should show: nothing, or what is missing.
    """

    def __init__(
        self,
        redis: Redis,
        namespace: str,
        models: Models,
        costs: tuple[SymbolCosts, ...],
        log: logging.Logger,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self._redis = redis
        self._namespace = namespace
        self._models = models
        self._log = log
        self._clock = clock
        self._tell = tell
        self._context = Context(costs=costs)
        self._run_id = ""
        self._told: dict[str, str] = {}
        self.current = encode_context(self._context)

    async def follow(self, poll_ms: int) -> None:
        """Read whenever a change is announced, and every ``poll_ms`` (halts are not announced)."""
        while True:
            try:
                async with self._redis.pubsub() as announced:
                    await announced.subscribe(changes_channel(self._namespace))
                    while await self.refresh():
                        await announced.get_message(ignore_subscribe_messages=True, timeout=poll_ms / 1e3)
            except _LOST as error:
                self._lost(error)
            await self._clock.sleep(poll_ms / 1e3)

    async def refresh(self) -> bool:
        """Read Redis once and take over what can be; False if Redis did not answer."""
        try:
            run_id = str((await self._redis.info("server"))["run_id"])
            pointers = await self._read_pointers()
            # Models are retired while Redis runs; one that was restarted and has none has lost them.
            emptied = pointers == [] and bool(self._context.pointers) and run_id != self._run_id
            if not emptied:
                await self._take_halts()
        except _LOST as error:
            self._lost(error)
            return False
        self._say("redis", "")
        if emptied:
            self._say("pointers", f"Redis came back empty, staying with the last models and halts: {self._missing()}")
        elif pointers is not None:
            self._run_id = run_id
            self._say("pointers", "" if pointers else f"{NO_MODEL}: {self._missing()}", level=logging.WARNING)
            await self._take_pointers(pointers)
        self._tell("; ".join(text for text in self._told.values() if text))
        return True

    async def _read_pointers(self) -> list[Pointer] | None:
        """The pointers; None where they cannot be read and the last ones must stay."""
        try:
            return await read_pointers(self._redis, self._namespace)
        except TapelabError as error:
            self._say("pointers", f"staying with the models in use: {error}")
            return None

    async def _take_halts(self) -> None:
        try:
            halts = await read_halts(self._redis, self._namespace)
        except TapelabError as error:
            self._say("halts", f"staying with the halts in force: {error}")
            return
        self._say("halts", "")
        self._change(msgspec.structs.replace(self._context, halts={s: halt.reason for s, halt in halts.items()}))

    async def _take_pointers(self, pointers: list[Pointer]) -> None:
        before = {(bound.role, bound.symbol): bound for bound in self._context.pointers}
        bounds: list[Bound] = []
        for pointer in pointers:
            name = _name(pointer)
            held = before.get((pointer.role, pointer.symbol))
            try:
                bounds.append(bind(pointer, await self._models.load_for(pointer)))
                self._say(name, "")
            except TapelabError as error:
                stays = f"staying with {held.model_id}" if held is not None else "no model takes its place"
                self._say(name, f"{stays} as {name}: {error}")
                if held is not None:
                    bounds.append(held)
        for gone in self._told.keys() - {"redis", "pointers", "halts"} - {_name(p) for p in pointers}:
            del self._told[gone]
        self._change(msgspec.structs.replace(self._context, pointers=tuple(bounds)))

    def _change(self, context: Context) -> None:
        encoded = encode_context(context)
        if encoded == self.current:
            return
        models = {_name(bound): f"{bound.model_id} ({bound.mode})" for bound in context.pointers}
        self._log.info("context changed", extra={"fields": {"models": models, "halts": context.halts}})
        self._models.trim(len({bound.digest for bound in context.pointers}))
        self._context = context
        self.current = encoded

    def _lost(self, error: BaseException) -> None:
        if not self._told.get("redis"):  # one outage fails in several ways; the first of them says enough
            self._say("redis", f"Redis does not answer, staying with the last models and halts: {error}")
        self._tell("; ".join(text for text in self._told.values() if text))

    def _say(self, about: str, text: str, level: int = logging.ERROR) -> None:
        """Log a trouble when it begins and when it ends."""
        if self._told.get(about, "") == text:
            return
        if text:
            self._log.log(level, text)
        else:
            self._log.info(f"{about}: as it should be again")
        self._told[about] = text

    def _missing(self) -> TapelabError:
        return missing_pointer_error(self._namespace)


def _name(pointer: Pointer | Bound) -> str:
    return f"{pointer.role} of {pointer.symbol}"
