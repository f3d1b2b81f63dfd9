"""The deciding step: vectors and scores in, signals out, wherever the target position changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.common import topics
from tapelab.common.runtime.stage import Dead, Output, Record, Step
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.schemas.signals import Signal
from tapelab.common.storage.pointers import ROLES, Mode, Role
from tapelab.inference.admission import Admitted, Item, admit, poison
from tapelab.inference.context import Bound, View, view_of
from tapelab.inference.state import Numbering, Position, State, decode_state, encode_state, slot
from tapelab.quant.backtest.decision import DecisionState, Reason, step

#: Scores of a batch's vectors by model digest, NaN where the model does not score a vector.
Scores = Mapping[str, npt.NDArray[np.float64]]


class Whose(NamedTuple):
    """The model a signal speaks for."""

    role: Role
    mode: Mode
    model_id: str
    digest: str


class Verdict(NamedTuple):
    """What a signal says about its own decision. ``score`` is None where no model was asked."""

    reason: Reason
    score: float | None = None
    expected_return: float = 0.0
    threshold: float = 0.0
    valid_ns: int = 0
    halted: str = ""


def matches(bound: Bound, vector: FeatureVector) -> bool:
    """Whether a model is made for a vector."""
    return bound.bar_spec == vector.bar_spec and bound.feature_set_id == vector.feature_set_id


class InferenceStage:
    """Decides one partition's vectors, for each symbol and role on its own.

    The same vectors under the same context give the same signals however they are batched. Costs, models
    and halts come with the context; the stage holds no configuration.
    """

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._state = State.empty()

    def admit(self, records: Sequence[Record]) -> Admitted:
        """Take the next records of the log; changes only the reading state."""
        return admit(records, self._state)

    def decide(self, admitted: Admitted, scores: Scores, context: bytes) -> Step:
        """Decide every admitted vector in the log's order."""
        view = view_of(context)
        made = Step([], list(admitted.dead), dict(admitted.halts), {**admitted.counts, "unmodelled": 0})
        for row, item in enumerate(admitted.items):
            wrong = _unfit(item.vector, view)
            if wrong:
                made.dead.append(Dead(item.cause, wrong))
                continue
            asked = [self._role(role, row, item, scores, view, made) for role in ROLES]
            made.counts["unmodelled"] += not any(asked)
        return made

    def snapshot(self) -> bytes:
        """The whole state as bytes."""
        return encode_state(self._state)

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot of this release or an older one: positions carry over.

        Raises:
            RecoveryError: it is not one, or a newer release's.
        """
        self._state = decode_state(blob)

    def _role(self, role: Role, row: int, item: Item, scores: Scores, view: View, made: Step) -> bool:
        """Decide one vector for one role; False if the role has no model for it."""
        vector = item.vector
        bound = view.bound(role, vector.symbol)
        key = slot(vector.symbol, role)
        held = self._state.positions.get(key)
        if bound is None:
            if held is not None:
                self._close(role, item, held, Reason.MODEL_CHANGE, view, made)
            return False
        if not matches(bound, vector):
            return False
        if held is None or (held.stream, held.lineage) != (vector.stream, vector.lineage):
            # Time and prices of another run do not go on from here, so neither do position and cooldown.
            fresh = Position(vector.stream, vector.lineage, bound.mode, bound.model_id, bound.digest)
            self._state.positions[key] = fresh
            if held is not None:
                why = _why_closed(held, vector, bound)
                closes = held.side != 0
                self._close(role, item, held, why, view, made)
                if why is Reason.ROLL_OVER:
                    fresh.take(held.rule)  # the same prints in the same time: the cooldown goes on
                if closes:
                    return True
            held = fresh
        elif held.side != 0 and held.mode != bound.mode:
            # An engine that follows the old mode alone must see its position closed under it.
            self._close(role, item, held, Reason.MODEL_CHANGE, view, made)
            return True
        self._step(role, item, held, bound, float(scores[bound.digest][row]), view, made)
        return True

    def _step(self, role: Role, item: Item, held: Position, bound: Bound, score: float, view: View, made: Step) -> None:
        vector = item.vector
        expected = bound.calibration.expected_return(score, view.tick(vector.symbol, vector.ref_price))
        halted = item.stopped or view.halt_reason(vector.symbol)
        after, reason = step(
            held.rule,
            ts_ns=vector.ts_event_ns,
            session_close_ns=vector.session_close_ns,
            expected_return=expected,
            cost=view.cost(vector.symbol, vector.ref_price),
            usable=vector.warm and not vector.after_gap and not item.broken,
            session_end=vector.session_end,
            halted=bool(halted),
            params=bound.params,
        )
        before = held.side
        held.take(after)
        held.mode, held.model_id, held.digest = bound.mode, bound.model_id, bound.digest
        if after.side != before:
            whose = Whose(role, bound.mode, bound.model_id, bound.digest)
            decision = bound.decision
            verdict = Verdict(reason, score, expected, decision.threshold, decision.valid_ns, halted)
            self._emit(item, whose, before, after.side, verdict, view, made)

    def _close(self, role: Role, item: Item, held: Position, reason: Reason, view: View, made: Step) -> None:
        """Flat, under the mode and the model that opened."""
        if held.side == 0:
            return
        whose = Whose(role, held.mode, held.model_id, held.digest)
        self._emit(item, whose, held.side, 0, Verdict(reason), view, made)
        held.take(DecisionState(0, item.vector.ts_event_ns, item.vector.ts_event_ns))

    def _emit(
        self, item: Item, whose: Whose, previous: int, side: int, verdict: Verdict, view: View, made: Step
    ) -> None:
        vector = item.vector
        lineage = view.lineage(vector.symbol, vector.lineage)
        score = verdict.score
        signal = Signal(
            signal_id=signal_id(vector, whose.role, whose.digest),
            symbol=vector.symbol,
            exchange=vector.exchange,
            stream=vector.stream,
            lineage=lineage,
            seq=self._next_seq(vector, lineage),
            side=side,
            previous_side=previous,
            reason=verdict.reason.name.lower(),
            mode=whose.mode,
            score=0.5 if score is None else score,
            expected_return=verdict.expected_return,
            expected_cost=view.cost(vector.symbol, vector.ref_price),
            threshold=verdict.threshold,
            ref_price=vector.ref_price,
            ts_event_ns=vector.ts_event_ns,
            valid_until_ns=vector.ts_event_ns + verdict.valid_ns,
            model_id=whose.model_id,
            model_digest=whose.digest,
            feature_set_id=vector.feature_set_id,
            feature_lineage=vector.lineage,
            feature_seq=vector.seq,
            input_topic=topics.FEATURES,
            input_partition=self._partition,
            input_offset=item.offset,
            components={} if score is None else {whose.model_id: score},
            weights={} if score is None else {whose.model_id: 1.0},
            role=whose.role,
            halted=bool(verdict.halted),
            halt_reason=verdict.halted,
        )
        made.outputs.append(Output(topics.SIGNALS, signal, item.cause))

    def _next_seq(self, vector: FeatureVector, lineage: str) -> int:
        """Signals are numbered per symbol, stream and lineage, all roles together."""
        key = slot(vector.symbol, lineage)
        numbering = self._state.numbers.get(key)
        if numbering is None or numbering.stream != vector.stream:
            numbering = self._state.numbers[key] = Numbering(vector.stream, 0)
        seq = numbering.next_seq
        numbering.next_seq += 1
        return seq


def _why_closed(held: Position, vector: FeatureVector, bound: Bound) -> Reason:
    """Why a position of other vectors than these ends."""
    if held.stream != vector.stream:
        return Reason.GAP
    # Another model of other bars or features; else the same model, on vectors of another lineage.
    return Reason.MODEL_CHANGE if held.digest != bound.digest else Reason.ROLL_OVER


def signal_id(vector: FeatureVector, role: Role, digest: str) -> str:
    """32 hex digits: a function of the input position, the role and the model."""
    parts = (vector.symbol, vector.stream, vector.lineage, vector.seq, role, digest)
    return hashlib.blake2b(slot(*parts).encode(), digest_size=16).hexdigest()


def _unfit(vector: FeatureVector, view: View) -> str:
    """Why a vector cannot be decided at all; empty if it can."""
    if not view.knows(vector.symbol):
        return str(poison(vector, "a symbol of config/instruments.yaml", vector.symbol))
    n = len(vector.values) // 4
    for role in ROLES:
        bound = view.bound(role, vector.symbol)
        if bound is not None and matches(bound, vector) and bound.n_features != n:
            return str(poison(vector, f"{bound.n_features} values of feature set {bound.feature_set_id}", f"{n}"))
    return ""
