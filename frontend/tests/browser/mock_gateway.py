"""A stand-in for the gateway while the page is being made: the same protocol over an invented tape.

    .venv/bin/python frontend/tests/browser/mock_gateway.py --port 18500 --scenario live

The page itself is served by the gateway's own class, with its content security policy. Scenarios: ``live`` (a
champion), ``shadow`` (a refused model is watched, one experiment runs, one failed), ``empty`` (nothing yet).
``POST /mock/faults {"ws": bool, "http": bool, "skip": n}`` refuses sockets, fails calls, or skips n numbers of
the signals channel, as lost messages would.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from tapelab.api.page import Page

OUT = Path(__file__).resolve().parents[2] / "out"
DAY_OPEN_NS = 1_795_435_200_000_000_000 + 4 * 3600 * 10**9  # a Monday at 09:00 in Sao Paulo
SYMBOLS = {
    "PETR4": ("B3", 38.42, 0.01, 0.0004),
    "WDOZ26": ("B3", 5412.5, 0.5, 0.00025),
    "WINZ26": ("B3", 131240, 5, 0.0003),
}
MODEL = "default-20261121-gbdt-7f3a"


def rules(good: bool) -> list[dict[str, Any]]:
    p = 0.0031 if good else 0.3127
    return [
        {
            "id": "net_vs_flat",
            "passed": good,
            "value": p,
            "limit": 0.05,
            "evidence": {},
            "reason": f"net of costs {'+84.2' if good else '-12.7'} bps of one lot's price over always flat in 212 "
            f"blocks of 300 s: {'more than noise' if good else 'no profit'} (p {p}, limit 0.05)",
        },
        {
            "id": "net_vs_linear",
            "passed": True,
            "value": 0.0214,
            "limit": 0.05,
            "evidence": {},
            "reason": "net of costs +31.0 bps of one lot's price over the linear baseline in 212 blocks of 300 s: "
            "more than noise",
        },
        {
            "id": "periods",
            "passed": good,
            "value": 4,
            "limit": 3,
            "evidence": {},
            "reason": f"{3 if good else 1} of 4 test periods earn net of costs; at least 3 periods are needed, "
            "and more than half of them must earn",
        },
        {
            "id": "trades",
            "passed": True,
            "value": 412,
            "limit": 30,
            "evidence": {},
            "reason": "412 trades in the test periods, at least 30 are needed",
        },
        {
            "id": "deflated_sharpe",
            "passed": good,
            "value": 0.9871 if good else 0.4412,
            "limit": 0.95,
            "evidence": {},
            "reason": f"probability {0.9871 if good else 0.4412} that the Sharpe ratio is above zero, as the best of 12 "
            "trials on this data, worth 5 independent ones (counted in the table trials), at least 0.95 is needed",
        },
        {
            "id": "parity_model",
            "passed": True,
            "value": 1.2e-9,
            "limit": 1e-6,
            "evidence": {},
            "reason": "treelite differs from the trained model by at most 1.2e-09 (limit 1e-06)",
        },
        {
            "id": "parity_features",
            "passed": True,
            "value": 0,
            "limit": 0,
            "evidence": {},
            "reason": "0 of 48211 bars and vectors differ between prints taken in pieces and all at once",
        },
        {
            "id": "parity_live",
            "passed": True,
            "value": 0,
            "limit": 0,
            "evidence": {},
            "reason": "0 of 9120 vectors computed live differ from the trainer's",
        },
        {
            "id": "latency",
            "passed": True,
            "value": 143.2,
            "limit": 20000,
            "evidence": {},
            "reason": "treelite takes 143.2 us (p99) for 64 rows, limit 20000 us",
        },
        {
            "id": "pair_live",
            "passed": True,
            "value": 1.0,
            "limit": 1.0,
            "evidence": {},
            "reason": "tick:50 with core is among the live pairs: tick:50 with core",
        },
        {
            "id": "policy",
            "passed": True,
            "value": 0.0,
            "limit": 0.0,
            "evidence": {},
            "reason": "judged by the policy",
        },
    ]


class Tape:
    """The invented market and everything the gateway would know of it."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.random = random.Random(7)
        self.epoch = f"{random.getrandbits(64):x}"
        self.seqs: dict[str, int] = {}
        self.sent: dict[str, list[dict[str, Any]]] = {}
        self.clients: set[Client] = set()
        self.faults: dict[str, Any] = {"ws": False, "http": False}
        self.now_ns = DAY_OPEN_NS
        self.bars: dict[str, list[dict[str, Any]]] = {s: [] for s in SYMBOLS}
        self.signals: list[dict[str, Any]] = []
        self.sides = dict.fromkeys(SYMBOLS, 0)
        self.prices = {s: price for s, (_, price, _, _) in SYMBOLS.items()}
        self.counts = {"ticks": 0, "bars": 0, "features": 0, "signals": 0}
        self.experiments = self._experiments()
        if scenario != "empty":
            for _ in range(900):
                self.step(publish=False)

    @property
    def mode(self) -> str:
        return "shadow" if self.scenario == "shadow" else "live"

    def _experiments(self) -> list[dict[str, Any]]:
        if self.scenario == "empty":
            return []
        now = time.time_ns()
        good = self.scenario == "live"
        base = {"progress": 1.0, "stage": "done", "model_id": None, "gate": None, "error": None}
        done = {
            **base,
            "id": "exp-2",
            "name": "default",
            "status": "done",
            "created_ns": str(now - 240 * 10**9),
            "updated_ns": str(now - 171 * 10**9),
            "model_id": MODEL,
            "gate": {"passed": good, "rules": rules(good)},
        }
        failed = {
            **base,
            "id": "exp-1",
            "name": "winz26-h5",
            "status": "failed",
            "stage": "reading ticks_raw",
            "progress": 0.02,
            "created_ns": str(now - 900 * 10**9),
            "updated_ns": str(now - 893 * 10**9),
            "error": "ticks_raw of WINZ26 has a hole: expected seq 18400 after 18399, got 18612 (let the tick "
            "sink catch up, then run the experiment again)",
        }
        running = {
            **base,
            "id": "exp-3",
            "name": "horizon-60s",
            "status": "running",
            "stage": "fold 3 of 4",
            "progress": 0.46,
            "created_ns": str(now - 21 * 10**9),
            "updated_ns": str(now),
        }
        return [running, done, failed]

    def step(self, *, publish: bool = True) -> None:
        if self.scenario == "empty":
            return
        self.now_ns += int(self.random.uniform(3, 9) * 1e9)
        symbol = self.random.choice(list(SYMBOLS))
        exchange, _, tick, vol = SYMBOLS[symbol]
        path = [self.prices[symbol]]
        for _ in range(6):
            drift = 0.00006 * math.sin(self.now_ns / 1e9 / 1700)
            path.append(path[-1] * (1 + drift + vol * self.random.gauss(0, 0.7)))
        path = [round(round(p / tick) * tick, 6) for p in path]
        self.prices[symbol] = path[-1]
        bars = self.bars[symbol]
        bar = {
            "symbol": symbol,
            "spec": "tick:50",
            "stream": "4",
            "seq": str(int(bars[-1]["seq"]) + 1 if bars else 0),
            "ts_open_ns": str(self.now_ns - 2 * 10**9),
            "ts_close_ns": str(self.now_ns),
            "day": 20261123,
            "flags": 0,
            "n": 50,
            "open": path[0],
            "high": max(path),
            "low": min(path),
            "close": path[-1],
            "volume": float(self.random.randint(80, 900)),
        }
        bars.append(bar)
        del bars[:-500]
        for name, n in (("ticks", 50), ("bars", 1), ("features", 1)):
            self.counts[name] += n
        if publish:
            self.push(f"bars:{symbol}", bar)
        if self.random.random() < 0.12:
            self._signal(symbol, exchange, path[-1], publish)

    def _signal(self, symbol: str, exchange: str, price: float, publish: bool) -> None:
        before = self.sides[symbol]
        side = self.random.choice([s for s in (-1, 0, 0, 1) if s != before])
        cost = {"PETR4": 0.00031, "WDOZ26": 0.00014, "WINZ26": 0.00009}[symbol]
        expected = side * cost * self.random.uniform(1.1, 2.8) if side else self.random.uniform(-0.6, 0.6) * cost
        reason = "flip" if side * before < 0 else "edge" if side else self.random.choice(["exit", "exit", "gap"])
        n = self.counts["signals"]
        self.counts["signals"] += 1
        self.sides[symbol] = side
        signal = {
            "signal_id": f"{symbol}-4-{n:08x}",
            "symbol": symbol,
            "exchange": exchange,
            "stream": "4",
            "lineage": "a1",
            "seq": str(n),
            "side": side,
            "previous_side": before,
            "reason": reason,
            "mode": self.mode,
            "score": 0.5 + expected * 800,
            "expected_return": expected,
            "expected_cost": cost,
            "threshold": 0.00002,
            "ref_price": price,
            "ts_event_ns": str(self.now_ns),
            "valid_until_ns": str(self.now_ns + 2 * 10**9),
            "model_id": MODEL,
            "model_digest": "7f3a" * 16,
            "role": "champion" if self.mode == "live" else "challenger",
            "feature_set_id": "9d1c2b3a4f5e6071",
            "feature_lineage": "b2",
            "feature_seq": str(n),
            "input_topic": "ml.features.v1",
            "input_partition": 3,
            "input_offset": str(n),
            "components": {},
            "weights": {},
            "halted": False,
            "halt_reason": "",
            "schema": 1,
        }
        self.signals.append(signal)
        del self.signals[:-500]
        if publish:
            self.push("signals", signal)

    def status(self) -> dict[str, Any]:
        empty = self.scenario == "empty"
        services = [
            {"name": name, "up": True, "ready": True, "detail": ""}
            for name in ("api", "ingest", "bars", "features", "inference", "trainer", "postgres", "redis")
        ]
        if self.scenario == "shadow":
            services[5] = {"name": "trainer", "up": True, "ready": False, "detail": "training: fold 3 of 4"}
            services[4] = {
                "name": "inference",
                "up": False,
                "ready": False,
                "detail": "no answer at http://127.0.0.1:8815: ConnectionRefusedError",
            }
        pointer = {
            "role": "champion" if self.mode == "live" else "challenger",
            "symbol": "default",
            "model_id": MODEL,
            "digest": "7f3a" * 16,
            "mode": self.mode,
            "version": 3,
            "set_ns": str(time.time_ns() - 170 * 10**9),
        }
        jitter = 1 + 0.08 * self.random.uniform(-1, 1)
        symbols = (
            []
            if empty
            else [
                {
                    "symbol": s,
                    "exchange": e,
                    "stream": "4",
                    "ticks": 50 * len(self.bars[s]) * 41,
                    "bars": len(self.bars[s]),
                    "features": len(self.bars[s]),
                    "signals": sum(x["symbol"] == s for x in self.signals),
                    "last_price": self.prices[s],
                    "last_ts_event_ns": str(self.now_ns),
                    "ticks_per_s": 340.2 * jitter,
                    "lag_s": 0.08 if s != "PETR4" else (64.0 if self.scenario == "shadow" else 0.4),
                    "halted": s == "WDOZ26" and self.scenario == "shadow",
                    "halt_reason": "fat finger watch",
                    "session_open": True,
                }
                for s, (e, _, _, _) in SYMBOLS.items()
            ]
        )
        dead = 2 if self.scenario == "shadow" else 0
        return {
            "server_ns": str(time.time_ns()),
            "services": services,
            "symbols": symbols,
            "totals": {**self.counts, "ticks": self.counts["ticks"] * 41, "dead": dead},
            "rates": {
                f"{k}_per_s": 0.0 if empty else v * jitter
                for k, v in (("ticks", 1020.4), ("bars", 20.4), ("features", 20.4), ("signals", 0.6))
            },
            "latency_ms": {"p50": None, "p95": None, "p99": None, "n": 0}
            if empty
            else {"p50": 118.2 * jitter, "p95": 204.9, "p99": 287.4, "n": self.counts["signals"]},
            "champion": pointer if not empty and self.mode == "live" else None,
            "challenger": pointer if not empty and self.mode == "shadow" else None,
            "pointers": [] if empty else [pointer],
            "dlq": [
                {"topic": f"{t}.dlq", "count": dead if t == "md.ticks.v1" else 0}
                for t in ("md.ticks.v1", "md.bars.v1", "ml.features.v1", "ml.signals.v1")
            ],
            "problems": [],
        }

    def data(self, ch: str) -> Any:
        if ch == "data":
            return self.status()
        if ch == "signals":
            return {"items": self.signals[-200:]}
        if ch == "experiments":
            return {"items": self.experiments}
        return {"items": self.bars.get(ch.removeprefix("bars:"), [])}

    def push(self, ch: str, data: Any) -> None:
        seq = self.seqs.get(ch, 0) + 1
        self.seqs[ch] = seq
        message = {"type": "delta", "ch": ch, "seq": str(seq), "prev": str(seq - 1), "data": data}
        kept = self.sent.setdefault(ch, [])
        kept.append(message)
        del kept[:-256]
        if ch == "signals" and self.faults.get("skip", 0) > 0:
            self.faults["skip"] -= 1
            return
        for client in self.clients:
            if ch in client.channels:
                client.out.put_nowait(message)

    async def run(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(0.25)
            self.step()
            beat += 1
            if beat % 4 == 0:
                self.push("data", self.status())
                self.progress()
            if beat % 8 == 0:
                for client in self.clients:
                    seqs = {ch: str(self.seqs.get(ch, 0)) for ch in client.channels}
                    client.out.put_nowait({"type": "hb", "server_ns": str(time.time_ns()), "seqs": seqs})

    def progress(self) -> None:
        for n, item in enumerate(self.experiments):
            if item["status"] == "running" and item["progress"] < 0.95:
                item = {**item, "progress": item["progress"] + 0.004, "updated_ns": str(time.time_ns())}
                self.experiments[n] = item
                self.push("experiments", item)


class Client:
    def __init__(self) -> None:
        self.out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.channels: set[str] = set()


def make_app(tape: Tape) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        task = asyncio.create_task(tape.run())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.middleware("http")
    async def faults(request: Request, call_next: Any) -> Response:
        if tape.faults["http"] and request.url.path.startswith("/ml"):
            body = {
                "code": "store_unavailable",
                "title": "PostgreSQL or Redis does not answer",
                "expected": "both stores to be up",
                "actual": "ConnectionRefusedError",
                "remedy": "see the services in /ml/data/status",
                "status": 503,
            }
            return Response(json.dumps(body), 503, media_type="application/problem+json")
        return await call_next(request)

    @app.post("/mock/faults")
    async def set_faults(request: Request) -> dict[str, Any]:
        tape.faults.update(await request.json())
        if tape.faults["ws"]:
            for client in tape.clients:
                client.out.put_nowait({"type": "close"})
        return tape.faults

    @app.get("/ml/data/status")
    async def status() -> Any:
        return tape.status()

    @app.get("/ml/signals")
    async def signals(limit: int = 100) -> Any:
        return {"items": tape.signals[-limit:], "next": None, "seq": str(tape.seqs.get("signals", 0))}

    @app.get("/ml/bars")
    async def bars(symbol: str, limit: int = 500) -> Any:
        return {
            "items": tape.bars[symbol][-limit:],
            "next": None,
            "seq": str(tape.seqs.get(f"bars:{symbol}", 0)),
            "spec": "tick:50",
            "specs": ["tick:50"],
        }

    @app.get("/ml/experiments")
    async def experiments() -> Any:
        return {"items": tape.experiments, "next": None, "seq": str(tape.seqs.get("experiments", 0))}

    @app.post("/ml/experiments", status_code=201)
    async def create(request: Request) -> Any:
        config = (await request.json())["config"]
        if config["name"] == "bad":
            body = {
                "code": "invalid_request",
                "title": "config.name is not valid",
                "expected": "another name",
                "actual": "'bad'",
                "remedy": "correct the field",
                "status": 422,
                "field": "config.name",
            }
            return Response(json.dumps(body), 422, media_type="application/problem+json")
        if config["name"] == "elsewhere":
            body = {
                "code": "invalid_request",
                "title": "config.symbols[0] is not valid",
                "expected": "a symbol that matches one of WIN[FGHJKMNQUVXZ]\\d\\d",
                "actual": "'GONE'",
                "remedy": "correct the field",
                "status": 422,
                "field": "config.symbols[0]",
            }
            return Response(json.dumps(body), 422, media_type="application/problem+json")
        now = str(time.time_ns())
        item = {
            "id": f"exp-{len(tape.experiments) + 1}",
            "name": config["name"],
            "status": "queued",
            "created_ns": now,
            "updated_ns": now,
            "progress": 0.0,
            "stage": "",
            "model_id": None,
            "gate": None,
            "error": None,
        }
        tape.experiments.insert(0, item)
        tape.push("experiments", item)
        return {**item, "config": config, "result": None, "events": []}

    @app.post("/ml/experiments/{id}/actions", status_code=202)
    async def act(id: str, request: Request) -> Any:
        item = next(item for item in tape.experiments if item["id"] == id)
        item |= {"status": "stopped", "error": (await request.json())["reason"]}
        tape.push("experiments", item)
        return {**item, "config": {}, "result": None, "events": []}

    @app.get("/ml/models/{model_id}")
    async def model(model_id: str) -> Any:
        good = tape.mode == "live"
        return {
            "model_id": model_id,
            "digest": "7f3a" * 16,
            "experiment_id": "exp-2",
            "created_ns": str(time.time_ns()),
            "kind": "lightgbm",
            "architecture": "gbdt",
            "feature_set": "core",
            "bar_spec": "tick:50",
            "backend": "treelite",
            "metrics": {},
            "gate": {"passed": good, "rules": rules(good)},
            "pointers": [],
            "manifest": {},
            "history": [],
        }

    @app.websocket("/ws/ml")
    async def ws(socket: WebSocket) -> None:
        if tape.faults["ws"]:
            await socket.close(1011)
            return
        await socket.accept()
        client = Client()
        tape.clients.add(client)

        async def send() -> None:
            while True:
                message = await client.out.get()
                if message["type"] == "close":
                    await socket.close(1012)
                    return
                await socket.send_text(json.dumps(message))

        sending = asyncio.create_task(send())
        try:
            while True:
                message = json.loads(await socket.receive_text())
                if message["type"] == "hello":
                    client.out.put_nowait({"type": "welcome", "epoch": tape.epoch, "server_ns": str(time.time_ns())})
                elif message["type"] == "sub":
                    subscribe(tape, client, message)
                else:
                    client.channels.discard(message["ch"])
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            tape.clients.discard(client)
            sending.cancel()

    app.mount("/", Page(OUT))
    return app


def subscribe(tape: Tape, client: Client, message: dict[str, Any]) -> None:
    ch = message["ch"]
    client.channels.add(ch)
    seq = tape.seqs.get(ch, 0)
    if message.get("epoch") == tape.epoch and message.get("after") is not None:
        after = int(message["after"])
        missed = [m for m in tape.sent.get(ch, []) if int(m["seq"]) > after]
        if after + len(missed) == seq:
            for m in missed:
                client.out.put_nowait(m)
            return
    snapshot = {"type": "snapshot", "ch": ch, "epoch": tape.epoch, "seq": str(seq), "data": tape.data(ch)}
    client.out.put_nowait(snapshot)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=18500)
    parser.add_argument("--scenario", choices=("live", "shadow", "empty"), default="live")
    given = parser.parse_args()
    uvicorn.run(make_app(Tape(given.scenario)), host="127.0.0.1", port=given.port, log_level="warning")
