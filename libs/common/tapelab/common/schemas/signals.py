"""``ml.signals.v1``: what execution engines follow. JSON, 64-bit integers as strings."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Mode = Literal["live", "canary", "shadow"]


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the target position of one symbol.

    ``side`` is the target position (-1 short, 0 flat, +1 long) and ``previous_side`` the one it
    replaces. ``signal_id`` is a function of the input position and the model, so an engine can use it as
    its client order id. ``score`` is the model's own figure: a probability of up, or of a regression the return it
    predicts, in its own unit; 0.5 where no model was asked (``components`` is empty). Returns and costs are
    fractions of the price. Past ``valid_until_ns`` (event
    time) a signal must not open a position; closing one is always right.
    Champion and challenger each hold a position of their own: ``role`` says whose changes.
    ``reason`` is ``edge``, ``flip``, ``exit``, ``session_end``, ``halt``, ``gap``, ``model_change`` or
    ``roll_over`` (another lineage of the same vectors decides from here on).
    """

    signal_id: str
    symbol: str
    exchange: str
    stream: int
    lineage: str
    seq: int
    side: int
    previous_side: int
    reason: str
    mode: Mode
    score: float
    expected_return: float
    expected_cost: float
    threshold: float
    ref_price: float
    ts_event_ns: int
    valid_until_ns: int
    model_id: str
    model_digest: str
    feature_set_id: str
    feature_lineage: str
    feature_seq: int
    input_topic: str
    input_partition: int
    input_offset: int
    components: dict[str, float] = {}
    weights: dict[str, float] = {}
    role: Literal["champion", "challenger"] = "champion"
    halted: bool = False
    halt_reason: str = ""
    schema: int = 1


#: Fields that may pass 2**53 and so travel as strings.
INT64_FIELDS: Final = (
    "stream",
    "seq",
    "ts_event_ns",
    "valid_until_ns",
    "feature_seq",
    "input_offset",
)


def signal_to_builtins(signal: Signal) -> dict[str, Any]:
    """The signal as JSON types, 64-bit integers as strings."""
    fields: dict[str, Any] = msgspec.to_builtins(signal)
    for name in INT64_FIELDS:
        fields[name] = str(fields[name])
    return fields


def encode_signal(signal: Signal) -> bytes:
    """The signal as it stands on the topic."""
    return msgspec.json.encode(signal_to_builtins(signal))


def decode_signal(raw: bytes) -> Signal:
    """The reverse of :func:`encode_signal`.

    Raises:
        msgspec.ValidationError: the bytes are not a signal.
    """
    return _DECODER.decode(raw)


_DECODER: Final = msgspec.json.Decoder(Signal, strict=False)
