"""The page about a feature set, written from its specs."""

from __future__ import annotations

from itertools import groupby

from tapelab.quant.features.spec import FeatureSet, FeatureSpec, Normalisation

_FAMILIES = {
    "price": "Price and return",
    "flow": "Order flow",
    "time": "Time",
    "volatility": "Volatility and liquidity",
}

_SCALING = {
    Normalisation.NONE: "none",
    Normalisation.ZSCORE: "z-score",
    Normalisation.SCALE: "scale",
}


def document(feature_set: FeatureSet) -> str:
    """``docs/features.md`` as Markdown: what is computed, from what, over which window, and by whom it was proposed."""
    normaliser = feature_set.normaliser
    parts = [
        f"# Feature set `{feature_set.name}`",
        "",
        "<!-- Written from libs/quant/tapelab/quant/features by document.py; do not edit. -->",
        "",
        f"{len(feature_set.specs)} features per bar, id `{feature_set.id}`. The id hashes everything the values "
        "depend on besides the bars and the tick size, the normaliser included; a model says which id it was trained "
        "on and is refused on another.",
        "",
        "**State.** It starts afresh each trading day and after a gap. A row is `warm` from bar "
        f"{feature_set.warmup} on; before that, features that are not defined yet are 0. Rows are always "
        "finite float32.",
        "",
        f"**Normalisation.** Statistics come from the last {normaliser.window} bars of the day *before* the current "
        f"one (at least {normaliser.minimum}); the current bar and the future are not in them. `z-score` is "
        "(value - mean) / standard deviation; `scale` is value / root mean square, which keeps sign and zero; both are "
        f"winsorised at ±{normaliser.clip:g} and 0 where the window does not vary. `none` leaves the raw value.",
        "",
        "**Window** counts bars, the current one included; **from** is the bar of the day from which the raw value is "
        "defined.",
    ]
    for family, specs in groupby(feature_set.specs, key=lambda spec: spec.family):
        parts += ["", f"## {_FAMILIES[family]}", ""]
        parts += ["| feature | definition | unit | window | from | scaling | no value | inputs |"]
        parts += ["|---|---|---|---|---|---|---|---|"]
        members = list(specs)
        parts += [_row(spec) for spec in members]
        parts += ["", "Sources: " + "; ".join(_sources(members)) + "."]
    return "\n".join(parts) + "\n"


def _row(spec: FeatureSpec) -> str:
    cells = (
        f"`{spec.name}`",
        spec.summary.replace("|", "\\|"),
        spec.unit.replace("|", "\\|"),
        str(spec.window),
        str(spec.warmup),
        _SCALING[spec.normalisation],
        spec.nan_policy,
        ", ".join(f"`{name}`" for name in spec.inputs),
    )
    return f"| {' | '.join(cells)} |"


def _sources(specs: list[FeatureSpec]) -> list[str]:
    cited: dict[str, list[str]] = {}
    for spec in specs:
        cited.setdefault(spec.source, []).append(spec.name)
    return [f"{source} ({', '.join(f'`{name}`' for name in names)})" for source, names in cited.items()]
