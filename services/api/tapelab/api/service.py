"""The gateway as a process: stores, topics and HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from tapelab.api.app import create_app
from tapelab.api.auth import Sessions
from tapelab.api.channels import Hub
from tapelab.api.deps import Deps
from tapelab.api.experiments import EventLog, ExperimentsBoard
from tapelab.api.gateway import Gateway
from tapelab.api.letters import DeadLetters
from tapelab.api.live import READ, Live
from tapelab.api.metrics import ApiMetrics
from tapelab.api.settings import ApiSettings, check_exposure
from tapelab.api.status import StatusBoard
from tapelab.common.errors import TapelabError
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.runtime.outage import Outage, Stopped
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.settings import load
from tapelab.common.storage.halts import Halts
from tapelab.common.storage.jobs import Jobs
from tapelab.common.storage.postgres import apply_schema, close_pool, create_pool, is_away
from tapelab.common.storage.redis import connect
from tapelab.common.storage.registry import Registry


async def api_main(ctx: ServiceContext) -> None:
    """Serve until told to stop.

    Raises:
        TapelabError: a setting is wrong or the port is taken.
    """
    settings = load(ApiSettings, ctx.environ, service="api")
    check_exposure(settings)
    with contextlib.suppress(Stopped):
        await _serve(ctx, settings)


async def _serve(ctx: ServiceContext, settings: ApiSettings) -> None:
    common = ctx.settings
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings))
        database = Outage("postgres", ctx.clock, ctx.log, ctx)
        pool = await database.through(lambda: create_pool(common.postgres_dsn), is_away)
        stack.push_async_callback(close_pool, pool)
        await database.through(lambda: apply_schema(pool), is_away)
        redis = connect(common.redis_url)
        stack.push_async_callback(redis.aclose)
        broker = Outage("broker", ctx.clock, ctx.log, ctx)
        publisher = await stack.enter_async_context(Publisher(common, broker))
        instruments, pipeline = load_instruments(common.config_dir), load_pipeline(common.config_dir)
        jobs = Jobs(pool, ctx.clock)
        live = Live(pipeline, ctx.clock.now_ns())
        hub = Hub(secrets.token_hex(8))
        deps = Deps(
            settings=settings,
            namespace=common.namespace,
            clock=ctx.clock,
            log=ctx.log,
            instruments=instruments,
            pipeline=pipeline,
            pool=pool,
            redis=redis,
            jobs=jobs,
            registry=Registry(pool, redis, ctx.clock, common.namespace),
            halts=Halts(pool, redis, common.namespace),
            live=live,
            hub=hub,
            status=StatusBoard(
                live,
                instruments,
                pool,
                redis,
                ctx.clock,
                lambda: ctx.readiness,
                settings.service_addresses,
                common.namespace,
            ),
            experiments=ExperimentsBoard(jobs, hub),
            events=EventLog(jobs, publisher.send, ctx.log),
            sessions=Sessions(settings.token, ctx.clock),
        )
        gateway = Gateway(
            deps,
            ApiMetrics(ctx.registry),
            lambda: TopicReader(common, READ, start="earliest", outage=broker),
            ctx.ready,
            DeadLetters(live, publisher.send),
        )
        server = Server(create_app(deps))
        ctx.log.info("listening", extra={"fields": {"url": url_of(listener)}})
        await run_until_stopped(ctx.stopping, server, listener, gateway)


class Server(uvicorn.Server):
    """uvicorn without signal handlers (the service has its own) and without log files of its own."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="websockets-sansio",
                ws_max_size=65_536,
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def listen(settings: ApiSettings) -> socket.socket:
    """A listening socket.

    Raises:
        TapelabError: the address cannot be bound.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _not_listening(settings, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise _not_listening(settings, error) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where the gateway is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def run_until_stopped(stopping: asyncio.Event, server: Server, listener: socket.socket, gateway: Gateway) -> None:
    """Serve and work in the background until asked to stop; a failure of either ends both."""
    serving = asyncio.create_task(server.serve([listener]))
    working = asyncio.create_task(gateway.run())
    asked = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({serving, working, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        gateway.stop()
        working.cancel()
        asked.cancel()
        results = await asyncio.gather(serving, working, asked, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


def _not_listening(settings: ApiSettings, error: OSError) -> TapelabError:
    return TapelabError(
        f"the gateway cannot listen on {settings.host}:{settings.port}",
        expected="a free port of this machine",
        actual=str(error),
        remedy="end what uses it, or set TAPELAB_API_HOST and TAPELAB_API_PORT",
    )
