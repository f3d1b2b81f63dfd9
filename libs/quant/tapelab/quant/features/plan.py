"""What the kernel needs to know of a feature set, and how the state it carries is laid out."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from tapelab.quant.day_context import CONTEXT_SLOTS
from tapelab.quant.features import extension, flow, price, seasonal, timing, volatility
from tapelab.quant.features.lanes import Cube, Integers, padded, place_table
from tapelab.quant.features.normalisers import normaliser_slots
from tapelab.quant.features.spec import FeatureSet, FeatureSpec, Normalisation, NormaliserKind

#: The features that every bar's row computes, those that need their own day alone, and every feature the kernel
#: knows, in the order of raw columns.
BASE: Final[tuple[FeatureSpec, ...]] = (*price.SPECS, *flow.SPECS, *timing.SPECS, *volatility.SPECS)
DAY_LOCAL: Final[tuple[FeatureSpec, ...]] = (*BASE, *extension.SPECS)
CATALOGUE: Final[tuple[FeatureSpec, ...]] = (*DAY_LOCAL, *seasonal.SPECS)

#: State: day, bars of the day, gap pending, previous close, then one part per family and the normalisers.
PRICE: Final = 4
FLOW: Final = PRICE + price.SLOTS
VOLATILITY: Final = FLOW + flow.SLOTS
EXTENSION: Final = VOLATILITY + volatility.SLOTS

#: Raised whenever the layout of the state changes, so that a snapshot of another one is refused.
LAYOUT: Final = 2


class Plan(NamedTuple):
    """A feature set, told to the kernel.

    Features that are scaled take *lanes*, in the order of their warm-up; with the rolling normaliser lanes that
    fill up follow.

    Args:
        plain_columns: raw columns of the features that are emitted as they are, shape (P,).
        plain_places: their places in a row.
        plain_warmups: bars from which their raw values are defined.
        columns: raw columns of the lanes, shape (L,).
        places: their places in a row.
        warmups: bars from which their raw values are defined, ascending.
        modes: their ``Normalisation``, shape (L,), or more for lanes that fill up.
        edges: first lane of each group of equal warm-ups, and the last one's end.
        lane_warmups, lane_places: see ``lanes.py``.
        warmup: bars from which every feature is defined.
        window: bars of the normaliser.
        minimum: earlier values it needs.
        clip: bound of a normalised value.
        kind: its ``NormaliserKind``.
        shape: its tail or decay.
        each: floats of state per lane.
        normalisers: where their part of the state begins.
        context: where the state that begins afresh with each day ends, and the day context begins.
        slots: length of the state; beyond ``context`` only for a set that reads the day context.
    """

    plain_columns: Integers
    plain_places: Integers
    plain_warmups: Integers
    columns: Integers
    places: Integers
    warmups: Integers
    modes: Integers
    edges: Integers
    lane_warmups: Integers
    lane_places: Cube
    warmup: int
    window: int
    minimum: int
    clip: float
    kind: int
    shape: float
    each: int
    normalisers: int
    context: int
    slots: int


def extended(feature_set: FeatureSet) -> bool:
    """Whether a set needs the families of ``extension.py``."""
    return any(spec not in BASE for spec in feature_set.specs)


def plan(feature_set: FeatureSet) -> Plan:
    """The plan of a feature set.

    Raises:
        ValueError: it names a feature the kernel does not know.
    """
    known = {spec: column for column, spec in enumerate(CATALOGUE)}
    unknown = [spec.name for spec in feature_set.specs if spec not in known]
    if unknown:
        raise ValueError(f"feature set {feature_set.name} names features the kernel does not know: {unknown}")
    modes_of = dict(zip(feature_set.specs, feature_set.modes, strict=True))
    emitted = [(known[spec], place, spec) for place, spec in enumerate(feature_set.specs)]
    plain = [found for found in emitted if modes_of[found[2]] is Normalisation.NONE]
    scaled = sorted((found for found in emitted if found not in plain), key=lambda found: found[2].warmup)
    warmups = _integers(spec.warmup for _, _, spec in scaled)
    starts = np.flatnonzero(np.diff(warmups, prepend=-1))
    normaliser = feature_set.normaliser
    rolling = normaliser.kind is NormaliserKind.ROLLING
    lanes = padded(len(scaled)) if rolling else len(scaled)
    lane_warmups = np.ones(lanes, dtype=np.int64)
    lane_warmups[: len(scaled)] = warmups
    modes = np.full(lanes, int(Normalisation.SCALE))
    modes[: len(scaled)] = [modes_of[spec] for _, _, spec in scaled]
    seasonal_too = any(column >= len(DAY_LOCAL) for column, _, _ in emitted)
    each = normaliser_slots(normaliser)
    normalisers = EXTENSION + (extension.SLOTS if extended(feature_set) else 0)
    context = normalisers + lanes * each
    return Plan(
        plain_columns=_integers(column for column, _, _ in plain),
        plain_places=_integers(place for _, place, _ in plain),
        plain_warmups=_integers(spec.warmup for _, _, spec in plain),
        columns=_integers(column for column, _, _ in scaled),
        places=_integers(place for _, place, _ in scaled),
        warmups=warmups,
        modes=modes,
        edges=_integers([*starts, len(scaled)]),
        lane_warmups=lane_warmups,
        lane_places=place_table(lane_warmups, normaliser.window, normaliser.minimum),
        warmup=feature_set.warmup,
        window=normaliser.window,
        minimum=normaliser.minimum,
        clip=normaliser.clip,
        kind=int(normaliser.kind),
        shape=normaliser.shape,
        each=each,
        normalisers=normalisers,
        context=context,
        slots=context + (CONTEXT_SLOTS if seasonal_too else 0),
    )


def _integers(values: Any) -> Integers:
    return np.array(list(values), dtype=np.int64)
