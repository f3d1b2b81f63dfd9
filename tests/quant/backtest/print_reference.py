"""The backtest print by print in plain Python, slow and readable: every print visited, every rule written out."""

from __future__ import annotations

import math
from typing import Any

from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams, DecisionState, Reason, step
from tapelab.quant.backtest.orders import OrderPolicy


class Venue:
    """Prints up to now, one resting order, and the fills."""

    def __init__(
        self,
        prints: list[dict[str, Any]],
        bars: list[dict[str, Any]],
        costs: CostModel,
        frictions: Frictions,
        policy: OrderPolicy,
        lots: float,
    ) -> None:
        self.prints, self.bars, self.costs = prints, bars, costs
        self.frictions, self.policy, self.lots = frictions, policy, lots
        self.position, self.orders, self.resting = 0.0, 0, None
        self.fills: list[dict[str, Any]] = []
        self.booked_at = 0

    def session_rows(self, bar: dict[str, Any]) -> list[int]:
        return [r for r, p in enumerate(self.prints) if p["ts"] < bar["close"]]

    def best(self, side: int, row: int) -> float:
        """The bid (+1) or the ask (-1) after a print."""
        shown = self.prints[row]
        spread = max(self.costs.spread_ticks, 1.0) * self.costs.tick_size
        price = shown["price"]
        if side == 1:
            if shown["side"] == 1:
                price = price - spread
            return math.floor(price / self.costs.tick_size + 1e-6) * self.costs.tick_size
        if shown["side"] == -1:
            price = price + spread
        return -math.floor(-price / self.costs.tick_size + 1e-6) * self.costs.tick_size

    def fill(self, order: dict[str, Any], row: int, position: float, *, maker: bool) -> None:
        bar, costs = self.bars[order["bar"]], self.costs
        side = 1 if position > self.position else -1
        half = bar["spread"] / 2.0 if bar["spread"] > 0 else 0.0
        units = abs(position / self.lots - self.position / self.lots)
        if maker:
            half, slip, got = -half, 0.0, order["limit"]
            price = got - half if side == 1 else got + half
            fee = costs.fee_per_contract / costs.multiplier + got * costs.fee_bps / 1e4
        else:
            price = self.prints[row]["price"]
            fee = costs.fee_per_contract / costs.multiplier + price * costs.fee_bps / 1e4
            slip = costs.slippage_ticks * costs.tick_size
            if bar["volatility"] > 0:
                share = units * self.lots / bar["volume"] if bar["volume"] > 0 else 1.0
                scaled = self.frictions.slippage_volatility + self.frictions.impact * math.sqrt(share)
                slip += price * bar["volatility"] * scaled
            got = price + side * (half + slip)
        self.fills.append(
            {
                "order": order["number"],
                "bar": order["bar"],
                "print": row,
                "booked": self.booked_at,
                "arrived": order["arrived"],
                "side": side,
                "maker": maker,
                "lots": abs(position - self.position),
                "ahead": order["ahead"] if maker else math.nan,
                "price": price,
                "got": got,
                "costs": (fee, half, slip),
                "before": self.position,
                "after": position,
            }
        )
        self.position = position

    def rest(self, order: dict[str, Any], known: int, row: int) -> None:
        """Price an order; one that is live keeps its place where the price is the same."""
        side = order["side"]
        limit, mine, other = self.best(side, known), self.best(side, row - 1), self.best(-side, row - 1)
        tick = self.costs.tick_size
        crosses = other < limit + tick / 2 if side == 1 else other > limit - tick / 2
        if crosses:
            limit = mine
        if self.resting is order and abs(limit - order["limit"]) < tick / 2:
            return
        better = limit > mine + tick / 2 if side == 1 else limit < mine - tick / 2
        ahead = 0.0 if better else self.bars[order["bar"]]["ahead"]
        order.update(limit=limit, queue=ahead, ahead=ahead, number=self.orders, arrived=order["came"])
        self.orders += 1
        self.resting = order

    def arrive(self, message: dict[str, Any], row: int) -> None:
        self.resting = None
        if message["position"] == self.position:
            return
        order = message | {"came": message["arrival"], "arrived": message["arrival"]}
        order["side"] = 1 if message["position"] > self.position else -1
        if message["limit"]:
            order["expires"] = message["arrival"] + self.policy.patience_ns
            self.rest(order, self.bars[message["bar"]]["last"], row)
        else:
            order["number"] = self.orders
            self.orders += 1
            self.fill(order, row, message["position"], maker=False)

    def meet(self, row: int) -> None:
        """A print passes by what rests."""
        order = self.resting
        if order is None:
            return
        shown, tick = self.prints[row], self.costs.tick_size
        if shown["ts"] >= self.bars[order["bar"]]["close"]:
            self.resting = None
            return
        if shown["ts"] > order["expires"]:
            if self.policy.then_market:
                late = order | {"number": self.orders, "arrived": order["expires"]}
                self.orders += 1
                self.resting = None
                self.fill(late, row, order["position"], maker=False)
                return
            while order["expires"] + self.policy.patience_ns < shown["ts"]:
                order["expires"] += self.policy.patience_ns
            order["came"] = order["expires"]
            bar = self.bars[order["bar"]]
            sent = order["expires"] - bar["latency"]
            seen = [r for r in range(bar["last"], row) if self.prints[r]["ts"] <= sent]
            self.rest(order, seen[-1] if seen else bar["last"], row)
            order["expires"] += self.policy.patience_ns
        left = abs(order["position"] - self.position)
        through = shown["price"] - order["limit"] if order["side"] == 1 else order["limit"] - shown["price"]
        filled = 0.0
        if through < -tick / 2:
            filled = left
        elif through <= tick / 2 and shown["side"] == -order["side"]:
            served = min(order["queue"], shown["volume"])
            order["queue"] -= served
            filled = min(shown["volume"] - served, left)
        if filled == 0.0:
            return
        whole = filled >= left
        self.fill(order, row, order["position"] if whole else self.position + order["side"] * filled, maker=True)
        if whole:
            self.resting = None


def backtest(
    prints: list[dict[str, Any]],
    bars: list[dict[str, Any]],
    params: DecisionParams,
    costs: CostModel,
    frictions: Frictions,
    policy: OrderPolicy,
    lots: float,
) -> dict[str, Any]:
    """Sides and reasons per bar, fills, and equity after every bar in currency."""
    venue = Venue(prints, bars, costs, frictions, policy, lots)
    state, mail, last_arrival = DecisionState(), [], None
    sides, reasons = [], []
    for row in range(len(prints)):
        while mail and mail[0]["start"] == row and not mail[0]["late"]:
            venue.arrive(mail.pop(0), row)
        venue.meet(row)
        while mail and mail[0]["start"] == row:
            venue.arrive(mail.pop(0), row)
        for i, bar in enumerate(bars):
            if bar["last"] != row:
                continue
            venue.booked_at = i
            one_side = costs.fee_per_contract / costs.multiplier + bar["price"] * costs.fee_bps / 1e4
            one_side = one_side + (costs.spread_ticks / 2.0 + costs.slippage_ticks) * costs.tick_size
            before = state.side
            state, reason = step(
                state,
                ts_ns=bar["ts"],
                session_close_ns=bar["close"],
                expected_return=bar["expected_return"],
                cost=2.0 * one_side / bar["price"],
                usable=bar["usable"],
                session_end=bar["session_end"] or i == len(bars) - 1,
                halted=False,
                params=params,
            )
            sides.append(state.side)
            reasons.append(int(reason))
            forced = reason in (Reason.SESSION_END, Reason.GAP)
            something = venue.position != 0 or venue.resting is not None or mail
            if state.side == before and not (forced and something):
                continue
            limits = {1: min(lots, frictions.max_long), 0: 0.0, -1: -min(lots, frictions.max_short)}
            arrival = bar["ts"] + bar["latency"]
            last_arrival = arrival if last_arrival is None else max(arrival, last_arrival)
            message = {
                "bar": i,
                "arrival": last_arrival,
                "position": limits[state.side],
                "limit": policy.limit and not forced,
                "late": False,
            }
            of_session = venue.session_rows(bar)
            later = [r for r in of_session if r > row and prints[r]["ts"] > last_arrival]
            if later:
                mail.append(message | {"start": later[0]})
            elif not message["limit"]:
                message |= {"start": of_session[-1], "late": True}
                # Its only print may be the one that has just been.
                if of_session[-1] == row and not mail:
                    venue.arrive(message, row)
                else:
                    mail.append(message)
        while mail and mail[0]["start"] == row:
            venue.arrive(mail.pop(0), row)
    return {"sides": sides, "reasons": reasons, "fills": venue.fills, "equity": _equity(bars, venue.fills, costs, lots)}


def _equity(bars: list[dict[str, Any]], fills: list[dict[str, Any]], costs: CostModel, lots: float) -> list[float]:
    """Marked at the bars' closes, in the order of the kernel's sums."""
    equity, held, points = 0.0, 0.0, []
    scale = lots * costs.multiplier
    for i, bar in enumerate(bars):
        gross = held * (bar["price"] - bars[i - 1]["price"]) if held != 0 else 0.0
        paid = [0.0, 0.0, 0.0]
        for fill in fills:
            if fill["booked"] == i:
                change = fill["after"] / lots - held
                gross += change * (bar["price"] - fill["price"])
                paid = [sum_ + abs(change) * part for sum_, part in zip(paid, fill["costs"], strict=True)]
                held = fill["after"] / lots
        equity += gross * scale - (paid[0] + paid[1] + paid[2]) * scale
        points.append(equity)
    return points
