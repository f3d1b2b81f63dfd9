"""``/ml/data/status``: the flow, the models, the processes, at one moment."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Final

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tapelab.api import schemas
from tapelab.api.convert import pointer_item
from tapelab.api.live import Live, SymbolState
from tapelab.common.clock import Clock
from tapelab.common.errors import ConfigError, RegistryError
from tapelab.common.instruments import Instruments
from tapelab.common.storage.halts import Halt, halt_of, read_halts
from tapelab.common.storage.pointers import DEFAULT, Pointer, read_pointers
from tapelab.common.topics import BARS, FEATURES, SIGNALS, TICKS
from tapelab.quant.calendar import SessionCalendar

_PROBE_TIMEOUT_S: Final = 1.0


class StatusBoard:
    """Keeps what changes slowly (models, halts, health) and joins it with the live state on request.

    Args:
        readiness: whether the gateway itself can do its work, and what there is to say.
        services: base address of every other process by name.
    """

    def __init__(
        self,
        live: Live,
        instruments: Instruments,
        pool: asyncpg.Pool,
        redis: Redis,
        clock: Clock,
        readiness: Callable[[], tuple[bool, str]],
        services: Mapping[str, str],
        namespace: str = "",
    ) -> None:
        self._live = live
        self._instruments = instruments
        self._pool = pool
        self._redis = redis
        self._clock = clock
        self._readiness = readiness
        self._addresses = dict(services)
        self._namespace = namespace
        self._calendars: dict[str, SessionCalendar | None] = {}
        self._services = {name: _state(name, False, False, "not asked yet") for name in self._addresses}
        self._stores = {name: _state(name, False, False, "not asked yet") for name in ("postgres", "redis")}
        self.pointers: list[Pointer] = []
        self.halts: dict[str, Halt] = {}

    async def refresh_stores(self) -> None:
        """Read pointers and halts, and see whether PostgreSQL answers. What cannot be read stays as it was."""
        try:
            self.halts = await read_halts(self._redis, self._namespace)
            self.pointers = await read_pointers(self._redis, self._namespace)
            self._stores["redis"] = _state("redis", True, True, "")
        except RegistryError as error:
            self._stores["redis"] = _state("redis", True, False, str(error))
        except (RedisError, OSError) as error:
            self._stores["redis"] = _state("redis", False, False, _why(error))
        try:
            await self._pool.fetchval("SELECT 1", timeout=2)
            self._stores["postgres"] = _state("postgres", True, True, "")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            self._stores["postgres"] = _state("postgres", False, False, _why(error))

    async def refresh_services(self) -> None:
        """Ask every process whether it is ready."""
        states = await asyncio.gather(
            *(asyncio.to_thread(_probe, name, address) for name, address in self._addresses.items())
        )
        self._services = {state.name: state for state in states}

    def build(self) -> schemas.DataStatus:
        """The status now."""
        now_ns = self._clock.now_ns()
        live = self._live
        default = {pointer.role: pointer_item(pointer) for pointer in self.pointers if pointer.symbol == DEFAULT}
        ready, detail = self._readiness()
        summary = live.latencies.summary()
        return schemas.DataStatus(
            server_ns=str(now_ns),
            services=[_state("api", True, ready, detail), *self._services.values(), *self._stores.values()],
            symbols=[self._symbol(state, now_ns) for _, state in sorted(live.symbols.items())],
            totals=schemas.Totals(
                ticks=live.totals[TICKS],
                bars=live.totals[BARS],
                features=live.totals[FEATURES],
                signals=live.totals[SIGNALS],
                dead=sum(live.dead.values()),
            ),
            rates=schemas.Rates(
                ticks_per_s=live.rates[TICKS].per_s(now_ns),
                bars_per_s=live.rates[BARS].per_s(now_ns),
                features_per_s=live.rates[FEATURES].per_s(now_ns),
                signals_per_s=live.rates[SIGNALS].per_s(now_ns),
            ),
            latency_ms=schemas.LatencyMs(**summary._asdict()),
            champion=default.get("champion"),
            challenger=default.get("challenger"),
            pointers=[pointer_item(pointer) for pointer in self.pointers],
            dlq=[schemas.DlqCount(topic=topic, count=count) for topic, count in live.dead.items()],
            problems=[message for _, message in sorted(live.problems.items())],
        )

    def _symbol(self, state: SymbolState, now_ns: int) -> schemas.SymbolStatus:
        halt = halt_of(self.halts, state.symbol)
        published_ns = state.last_published_ns
        return schemas.SymbolStatus(
            symbol=state.symbol,
            exchange=state.exchange,
            stream=str(state.stream),
            ticks=state.ticks,
            bars=state.bars,
            features=state.features,
            signals=state.signals,
            last_price=state.last_price,
            last_ts_event_ns=None if state.last_ts_event_ns is None else str(state.last_ts_event_ns),
            ticks_per_s=state.tick_rate.per_s(now_ns),
            lag_s=None if published_ns is None else max(0, now_ns - published_ns) / 1e9,
            halted=halt is not None,
            halt_reason=halt.reason if halt else "",
            session_open=self._session_open(state),
        )

    def _session_open(self, state: SymbolState) -> bool:
        if state.last_ts_event_ns is None:
            return False
        if state.symbol not in self._calendars:
            try:
                self._calendars[state.symbol] = self._instruments.calendar(state.symbol)
            except ConfigError:
                self._calendars[state.symbol] = None  # bars dead-letters a symbol that no instrument describes
        calendar = self._calendars[state.symbol]
        session = calendar.session_at(state.last_ts_event_ns) if calendar else None
        return session is not None and session.close_ns > state.session_ended_ns


def _probe(name: str, address: str) -> schemas.ServiceState:
    """A service's readiness, over HTTP."""
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=_PROBE_TIMEOUT_S) as response:
            ready, body = True, response.read(65_536)
    except urllib.error.HTTPError as error:
        with error:
            ready, body = False, error.read(65_536)
    except OSError as error:
        return _state(name, False, False, f"no answer at {address}: {_why(error)}")
    try:
        detail = str(json.loads(body).get("detail", ""))
    except (ValueError, AttributeError):
        return _state(name, True, False, f"expected JSON at {address}/readyz, got {body[:60]!r}")
    return _state(name, True, ready, detail)


def _state(name: str, up: bool, ready: bool, detail: str) -> schemas.ServiceState:
    return schemas.ServiceState(name=name, up=up, ready=ready, detail=detail)


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return f"{type(reason).__name__}: {reason}"
