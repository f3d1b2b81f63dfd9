"""``tapelab explain``: a signal computed again from the prints on the topic, step by step."""

from __future__ import annotations

import numpy as np

from tapelab.cli.commands.output import print_json
from tapelab.cli.up.collected import Collected, collect
from tapelab.cli.up.verify import expected_records, joined_ticks
from tapelab.common import topics
from tapelab.common.codec import Identity, decode
from tapelab.common.errors import TapelabError
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.runtime.headers import trace_id
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.schemas.signals import Signal, signal_to_builtins
from tapelab.common.serving.load import load_manifest, load_model
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.quant.features import FEATURE_SETS


async def explain_signal(settings: CommonSettings, signal_id: str, *, as_json: bool) -> None:
    """Print what a signal rests on: prints, bar, features, score, and whether each computes to the same bits.

    Raises:
        TapelabError: there is no such signal, or its input is no longer on the topics.
    """
    found = await collect(settings)
    signal, trace = _signal(found, signal_id)
    vector = _vector(found, signal)
    pipeline, instruments = load_pipeline(settings.config_dir), load_instruments(settings.config_dir)
    ticks_of = next(
        (w for w in found.sequences[topics.TICKS] if (w.symbol, w.stream) == (signal.symbol, signal.stream)), None
    )
    if ticks_of is None:
        raise _gone(signal, f"prints of stream {signal.stream} on {topics.TICKS}")
    ticks = joined_ticks(found.sequences[topics.TICKS][ticks_of])
    bars, vectors = expected_records(
        signal.symbol,
        signal.exchange,
        signal.stream,
        ticks_of.lineage,
        ticks,
        tape_ended=True,
        pipeline=pipeline,
        instruments=instruments,
    )
    bar = Identity(signal.symbol, signal.stream, vector.bar_lineage)
    again: FeatureVector = decode(
        topics.FEATURES, vectors[Identity(signal.symbol, signal.stream, vector.lineage)][vector.seq]
    )
    built: Bar = decode(topics.BARS, bars[bar][vector.bar_seq])
    store = ArtifactStore(settings.artifacts)
    manifest = load_manifest(signal.model_digest, store)
    score = float(load_model(manifest, store).predict(again.array()[None, :], [signal.symbol])[0])
    tick = instruments.of(signal.symbol).tick_size / again.ref_price
    expected_return = manifest.calibration.expected_return(score, tick)
    names = next(s.names for s in FEATURE_SETS.values() if s.id == vector.feature_set_id)
    report = {
        "signal": signal_to_builtins(signal),
        "trace_id": trace,
        "prints": {"first_seq": str(built.first_tick_seq), "last_seq": str(built.last_tick_seq), "n": built.n},
        "bar": {n: getattr(built, n) for n in ("spec", "open", "high", "low", "close", "volume", "ts_close_ns")},
        "features": dict(zip(names, again.array().tolist(), strict=True)),
        "score": score,
        "expected_return": expected_return,
        "model": {"model_id": manifest.model_id, "digest": signal.model_digest, "training": manifest.training},
        "same_bits": {
            "features": bool(np.array_equal(again.array(), vector.array())),
            # A position that is closed because its model left was not scored.
            **(
                {"score": score == signal.score, "expected_return": expected_return == signal.expected_return}
                if signal.components
                else {}
            ),
        },
    }
    if as_json:
        print_json(report)
        return
    print(f"signal {signal.signal_id}: {signal.symbol} {signal.previous_side:+d} -> {signal.side:+d} ({signal.reason})")
    if trace:
        print(f"  trace     {trace}, as the services' logs name it")
    print(
        f"  input     {signal.input_topic}[{signal.input_partition}]@{signal.input_offset}, vector {signal.feature_seq}"
    )
    print(f"  bar       {built.spec} of prints {built.first_tick_seq}..{built.last_tick_seq}, close {built.close:g}")
    print(f"  model     {manifest.model_id} ({manifest.backend}), digest {signal.model_digest}, mode {signal.mode}")
    print(f"  score     {score:.9f}; expected return {expected_return * 1e4:+.3f} bp")
    print(f"  decision  cost {signal.expected_cost * 1e4:.3f} bp + threshold {signal.threshold * 1e4:.3f} bp")
    for name, value in sorted(report["features"].items(), key=lambda item: -abs(item[1])):  # type: ignore[attr-defined]
        print(f"    {name:<28} {value:+.6f}")
    for what, same in report["same_bits"].items():  # type: ignore[attr-defined]
        print(f"  {what}: {'the same bits' if same else 'DIFFERENT from the signal'}")


def _signal(found: Collected, signal_id: str) -> tuple[Signal, str]:
    """The signal and the trace it carries."""
    for sequence in found.sequences[topics.SIGNALS].values():
        for placed in sequence.records:
            if isinstance(placed.record, Signal) and placed.record.signal_id == signal_id:
                return placed.record, trace_id(placed.raw.headers)
    raise TapelabError(
        "no such signal",
        expected=f"the id of a signal on {topics.SIGNALS}",
        actual=signal_id,
        remedy="see 'tapelab signals tail'",
    )


def _vector(found: Collected, signal: Signal) -> FeatureVector:
    who = Identity(signal.symbol, signal.stream, signal.feature_lineage)
    sequence = found.sequences[topics.FEATURES].get(who)
    for entry in sequence.records if sequence else []:
        if isinstance(entry.record, FeatureVector) and entry.record.seq == signal.feature_seq:
            return entry.record
    raise _gone(signal, f"vector {signal.feature_seq} at {signal.input_topic}[{signal.input_partition}]")


def _gone(signal: Signal, what: str) -> TapelabError:
    return TapelabError(
        f"signal {signal.signal_id} cannot be computed again",
        expected=what,
        actual="it is no longer on the topic",
        remedy="retention has passed; play the tape again",
    )
