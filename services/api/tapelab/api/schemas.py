"""What the gateway takes and gives, as OpenAPI describes it.

64-bit integers (nanoseconds, sequence numbers) are JSON strings, because JavaScript would round them.
Returns and costs are fractions of the price; times are nanoseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["champion", "challenger"]
Mode = Literal["live", "canary", "shadow"]
ExperimentStatus = Literal["queued", "running", "done", "failed", "stopped"]


class Problem(BaseModel):
    """An error as ``application/problem+json``."""

    code: str
    title: str
    expected: str
    actual: str
    remedy: str
    status: int
    field: str | None = Field(None, description="The request's field that is wrong.")
    rules: list[GateRule] | None = Field(None, description="Gate rules that refuse a promotion.")


class Health(BaseModel):
    """The gateway lives."""

    service: str
    alive: bool


class ServiceState(BaseModel):
    """Health of one process or store. ``up``: it answers; ``ready``: it can do its work."""

    name: str
    up: bool
    ready: bool
    detail: str


class SymbolStatus(BaseModel):
    """One symbol. Counters run since the start of the log.

    ``lag_s`` is the age of the newest print: seconds since ingest published it. ``session_open`` goes by
    the tape's own clock: the newest print lies in a session that has not ended.
    """

    symbol: str
    exchange: str
    stream: str
    ticks: int
    bars: int
    features: int
    signals: int
    last_price: float | None
    last_ts_event_ns: str | None
    ticks_per_s: float
    lag_s: float | None
    halted: bool
    halt_reason: str
    session_open: bool


class Totals(BaseModel):
    """Records of all symbols since the start of the log; ``dead`` counts dead letters of every topic."""

    ticks: int
    bars: int
    features: int
    signals: int
    dead: int


class Rates(BaseModel):
    """Records per second over the last 5 s."""

    ticks_per_s: float
    bars_per_s: float
    features_per_s: float
    signals_per_s: float


class LatencyMs(BaseModel):
    """Tick to signal: from ingest's publishing the print to the signal's arrival at the gateway.

    Percentiles over the newest 2,000 signals; ``n`` counts signals since the start.
    """

    p50: float | None
    p95: float | None
    p99: float | None
    n: int


class PointerItem(BaseModel):
    """Which model holds a role. ``symbol`` is ``default`` or one symbol, which takes precedence."""

    role: Role
    symbol: str
    model_id: str
    digest: str
    mode: Mode
    version: int
    set_ns: str


class DlqCount(BaseModel):
    """Dead letters of one topic."""

    topic: str
    count: int


class DataStatus(BaseModel):
    """Everything about the flow at one moment. ``champion`` and ``challenger`` are the default pointers."""

    server_ns: str
    services: list[ServiceState]
    symbols: list[SymbolStatus]
    totals: Totals
    rates: Rates
    latency_ms: LatencyMs
    champion: PointerItem | None
    challenger: PointerItem | None
    pointers: list[PointerItem]
    dlq: list[DlqCount]
    problems: list[str] = Field(description="Sequences that stopped at a hole nothing explains.")


class SignalItem(BaseModel):
    """A change of the target position, as on the topic ``ml.signals.v1``."""

    model_config = ConfigDict(protected_namespaces=())

    signal_id: str
    symbol: str
    exchange: str
    stream: str
    lineage: str
    seq: str
    side: int
    previous_side: int
    reason: str
    mode: Mode
    score: float
    expected_return: float
    expected_cost: float
    threshold: float
    ref_price: float
    ts_event_ns: str
    valid_until_ns: str
    model_id: str
    model_digest: str
    feature_set_id: str
    feature_lineage: str
    feature_seq: str
    input_topic: str
    input_partition: int
    input_offset: str
    components: dict[str, float]
    weights: dict[str, float]
    role: Role
    halted: bool
    halt_reason: str
    schema_: int = Field(alias="schema")


class SignalList(BaseModel):
    """Signals, oldest first; ``seq`` is the number of the WebSocket channel they go up to."""

    items: list[SignalItem]
    next: str | None
    seq: str


class BarItem(BaseModel):
    """A closed bar. ``seq`` counts per symbol and stream; ``flags``: 1 session end, 2 after a gap, 4 first of day."""

    symbol: str
    spec: str
    stream: str
    seq: str
    ts_open_ns: str
    ts_close_ns: str
    day: int
    flags: int
    n: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class BarList(BaseModel):
    """Bars of one symbol and specification, oldest first; ``specs`` are the ones that can be asked for."""

    items: list[BarItem]
    next: str | None
    seq: str
    spec: str
    specs: list[str]


class GateRule(BaseModel):
    """One rule of the promotion gate: ``value`` held against ``limit``."""

    id: str
    passed: bool
    value: float | None = None
    limit: float | None = None
    reason: str = ""
    evidence: dict[str, Any] = {}


class Gate(BaseModel):
    """The gate's judgement."""

    passed: bool
    rules: list[GateRule]


class ExperimentItem(BaseModel):
    """An experiment in a list; ``progress`` runs from 0 to 1."""

    model_config = ConfigDict(protected_namespaces=())

    id: str
    name: str
    status: ExperimentStatus
    created_ns: str
    updated_ns: str
    progress: float
    stage: str
    model_id: str | None
    gate: Gate | None
    error: str | None


class ExperimentList(BaseModel):
    """Experiments, newest first; ``next`` is the cursor of the following page."""

    items: list[ExperimentItem]
    next: str | None
    seq: str


class EventItem(BaseModel):
    """Something that happened; ``seq`` counts per experiment from 1."""

    seq: str
    kind: str
    ts_ns: str
    data: dict[str, Any]


class ExperimentDetail(ExperimentItem):
    """An experiment with everything about it."""

    config: dict[str, Any]
    result: dict[str, Any] | None
    events: list[EventItem]


class ExperimentRequest(BaseModel):
    """A new experiment. ``config`` is the trainer's experiment configuration; it must have a ``name``.

    The name is 1 to 100 letters, digits, '-', '_' and '.', beginning with a letter or a digit.
    """

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]


class ExperimentAction(BaseModel):
    """Something to do with an experiment that is queued or running."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["stop"]
    reason: str = Field("stopped by hand", min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")


class ModelItem(BaseModel):
    """A registered model; ``pointers`` are the roles it holds now, ``gate`` is null before it was judged."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    digest: str
    experiment_id: str | None
    created_ns: str
    kind: str
    architecture: str
    feature_set: str
    bar_spec: str
    backend: str
    metrics: dict[str, Any]
    gate: Gate | None
    pointers: list[PointerItem]


class ModelList(BaseModel):
    """Models, newest first; ``seq`` is the version of the newest pointer change."""

    items: list[ModelItem]
    next: str | None
    seq: str


class PointerChangeItem(BaseModel):
    """One change of a pointer: what it became, and why."""

    pointer: PointerItem
    action: Literal["set", "rollback", "retire"]
    reason: str


class ModelDetail(ModelItem):
    """A model with its manifest and the changes of pointers that concern it, newest first."""

    manifest: dict[str, Any]
    history: list[PointerChangeItem]


class PromoteRequest(BaseModel):
    """Point a role to a model. ``live`` and ``canary`` need a passed gate; ``shadow`` does not."""

    model_config = ConfigDict(extra="forbid")

    role: Role = "champion"
    mode: Mode = "live"
    symbol: str = "default"
    reason: str = Field("promoted by hand", min_length=1, max_length=500)


class RollbackRequest(BaseModel):
    """Point a role back to what it pointed to before."""

    model_config = ConfigDict(extra="forbid")

    role: Role = "champion"
    symbol: str = "default"
    reason: str = Field("rolled back by hand", min_length=1, max_length=500)
    force: bool = Field(False, description="Also to a model that a run's start retired; it may have seen the tape.")


class HaltRequest(BaseModel):
    """Halt a symbol."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500)


class HaltItem(BaseModel):
    """A halted symbol; ``*`` stands for all. ``warning`` says what a halt just set still lacks."""

    symbol: str
    reason: str
    by: str
    set_ns: str
    warning: str = ""


class HaltList(BaseModel):
    """All halts."""

    items: list[HaltItem]
    next: str | None
    seq: str


class LoginRequest(BaseModel):
    """Exchange the gateway's token for a session cookie."""

    model_config = ConfigDict(extra="forbid")

    token: str


Problem.model_rebuild()
