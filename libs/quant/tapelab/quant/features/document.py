"""The page about the feature sets, written from their specs."""

from __future__ import annotations

from collections.abc import Iterable

from tapelab.quant.features.spec import FeatureSet, FeatureSpec, Normalisation

_FAMILIES = {
    "price": "Price and return",
    "flow": "Order flow",
    "time": "Time",
    "volatility": "Volatility and liquidity",
    "technical": "Technical",
    "seasonal": "Against earlier days",
}

_SCALING = {
    Normalisation.NONE: "none",
    Normalisation.ZSCORE: "z-score",
    Normalisation.SCALE: "scale",
}


def document(feature_sets: Iterable[FeatureSet]) -> str:
    """``docs/features.md`` as Markdown: what is computed, from what, over which window, and by whom it was proposed.

    Raises:
        ValueError: two sets use one name for different features.
    """
    sets = list(feature_sets)
    members: dict[str, list[str]] = {}
    specs: dict[str, FeatureSpec] = {}
    for n, each in enumerate(sets):
        variant = any(each.specs == other.specs for other in sets[:n])
        for spec in each.specs:
            if specs.setdefault(spec.name, spec) != spec:
                raise ValueError(f"{spec.name} of feature set {each.name} is another feature than the one before")
            if not variant:
                members.setdefault(spec.name, []).append(each.name)
    parts = [
        "# Feature sets",
        "",
        "<!-- Written from libs/quant/tapelab/quant/features by document.py; do not edit. -->",
        "",
        "Named by `config/pipeline.yaml` (what is computed live) and by experiments (what a model reads). The id "
        "hashes everything the values depend on besides the bars and the tick size, the normaliser included; a model "
        "says which id it was trained on and is refused on another.",
        "",
        "| set | id | features | warm from bar | normaliser |",
        "|---|---|---|---|---|",
        *(f"| `{s.name}` | `{s.id}` | {len(s.specs)} | {s.warmup} | {s.normaliser.summary} |" for s in sets),
        "",
        "**State.** It starts afresh each trading day and after a gap. A row is `warm` once every feature of its set "
        "is defined; before that, features that are not defined yet are 0. Rows are always finite float32. Only the "
        "features against earlier days cross days: they read a `DayContext`, a function of the last complete days of "
        "the stream, so a span that begins later than the stream knows fewer days than the live service does.",
        "",
        "**Normalisation.** Statistics come from bars of the day *before* the current one; the current bar and the "
        "future are not in them. `z-score` and `scale` are what the set's normaliser makes of a level and of a "
        "direction: under the rolling one, (value - mean) / standard deviation, and value / root mean square, which "
        "keeps sign and zero. A set that differs from another in its normaliser alone is named in the list above, not "
        "in the tables. Both are winsorised and 0 where the window does not vary. `none` leaves the raw value. A raw "
        "set leaves every value so: its models may scale them by figures fitted on their training rows "
        "(`docs/validation.md`).",
        "",
        "**Window** counts bars, the current one included; **from** is the bar of the day from which the raw value is "
        "defined.",
    ]
    for family, title in _FAMILIES.items():
        chosen = [spec for spec in specs.values() if spec.family == family]
        parts += ["", f"## {title}", ""]
        parts += ["| feature | definition | unit | window | from | scaling | no value | inputs | sets |"]
        parts += ["|---|---|---|---|---|---|---|---|---|"]
        parts += [_row(spec, members[spec.name]) for spec in chosen]
        parts += ["", "Sources: " + "; ".join(_sources(chosen)) + "."]
    return "\n".join(parts) + "\n"


def _row(spec: FeatureSpec, sets: list[str]) -> str:
    cells = (
        f"`{spec.name}`",
        spec.summary.replace("|", "\\|"),
        spec.unit.replace("|", "\\|"),
        str(spec.window),
        str(spec.warmup),
        _SCALING[spec.normalisation],
        spec.nan_policy,
        ", ".join(f"`{name}`" for name in spec.inputs),
        ", ".join(f"`{name}`" for name in sets),
    )
    return f"| {' | '.join(cells)} |"


def _sources(specs: list[FeatureSpec]) -> list[str]:
    cited: dict[str, list[str]] = {}
    for spec in specs:
        cited.setdefault(spec.source, []).append(spec.name)
    return [f"{source} ({', '.join(f'`{name}`' for name in names)})" for source, names in cited.items()]
