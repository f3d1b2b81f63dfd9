-- What tapelab keeps in PostgreSQL. Applied at every start, so each statement can be repeated.
-- Times that a person never types are nanoseconds since the Unix epoch (bigint, *_ns).

-- Trade prints as ingested. The first eight columns are the ones a collector of one's own fills; the
-- rest identify a print within its stream. There is no unique index: the tick sink writes each print
-- once, by moving its mark in the same transaction, and TimescaleDB takes none without the timestamp.
CREATE TABLE IF NOT EXISTS ticks_raw (
    symbol            text             NOT NULL,
    price             double precision NOT NULL,
    volume            double precision NOT NULL,
    "timestamp"       timestamptz      NOT NULL,
    buy_agent         integer,
    sell_agent        integer,
    exchange          text,
    trade_type        smallint,
    stream            bigint,
    seq               bigint,
    ts_event_ns       bigint,
    aggressor         smallint,
    aggressor_source  smallint,
    flags             integer,
    trade_id          bigint
);
ALTER TABLE ticks_raw
    ADD COLUMN IF NOT EXISTS stream bigint,
    ADD COLUMN IF NOT EXISTS seq bigint,
    ADD COLUMN IF NOT EXISTS ts_event_ns bigint,
    ADD COLUMN IF NOT EXISTS aggressor smallint,
    ADD COLUMN IF NOT EXISTS aggressor_source smallint,
    ADD COLUMN IF NOT EXISTS flags integer,
    ADD COLUMN IF NOT EXISTS trade_id bigint;
CREATE INDEX IF NOT EXISTS ticks_raw_identity ON ticks_raw (symbol, stream, seq);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        PERFORM create_hypertable('ticks_raw', 'timestamp', chunk_time_interval => INTERVAL '1 day',
                                  if_not_exists => TRUE, migrate_data => TRUE);
    END IF;
END
$$;

-- How far the tick sink has written each stream; moved in the transaction that writes the prints.
CREATE TABLE IF NOT EXISTS tick_sink_marks (
    symbol    text   NOT NULL,
    stream    bigint NOT NULL,
    lineage   text   NOT NULL,
    next_seq  bigint NOT NULL,
    PRIMARY KEY (symbol, stream)
);

-- A stream is one unbroken run of a source for a symbol; its number is an epoch that only grows.
CREATE TABLE IF NOT EXISTS streams (
    stream      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol      text        NOT NULL,
    source      text        NOT NULL,
    lineage     text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS streams_of_symbol ON streams (symbol, stream);

-- Experiments are the trainer's queue and its history.
CREATE TABLE IF NOT EXISTS experiments (
    number        bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            text             NOT NULL UNIQUE GENERATED ALWAYS AS ('exp-' || number::text) STORED,
    name          text             NOT NULL,
    status        text             NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed', 'stopped')),
    config        jsonb            NOT NULL,
    result        jsonb,
    error         text,
    stage         text             NOT NULL DEFAULT '',
    progress      double precision NOT NULL DEFAULT 0,
    worker        text,
    attempts      integer          NOT NULL DEFAULT 0,
    created_ns    bigint           NOT NULL,
    updated_ns    bigint           NOT NULL,
    heartbeat_ns  bigint
);
CREATE INDEX IF NOT EXISTS experiments_open ON experiments (number) WHERE status IN ('queued', 'running');

-- What happened to an experiment or a model; seq counts per subject from 1.
CREATE TABLE IF NOT EXISTS experiment_events (
    subject  text   NOT NULL,
    seq      bigint NOT NULL,
    kind     text   NOT NULL,
    ts_ns    bigint NOT NULL,
    data     jsonb  NOT NULL,
    PRIMARY KEY (subject, seq)
);

-- Models. The manifest is kept as the text it was written as, because its digest is over those bytes.
CREATE TABLE IF NOT EXISTS models (
    model_id       text   PRIMARY KEY,
    digest         text   NOT NULL,
    experiment_id  text,
    manifest       text   NOT NULL,
    gate           jsonb,
    created_ns     bigint NOT NULL
);

-- Which model was pointed to, by whom and why: rows are only ever added. "below" is the version that
-- a rollback of this row returns to.
CREATE TABLE IF NOT EXISTS pointer_history (
    version   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    role      text   NOT NULL CHECK (role IN ('champion', 'challenger')),
    symbol    text   NOT NULL,
    model_id  text   NOT NULL REFERENCES models (model_id),
    digest    text   NOT NULL,
    mode      text   NOT NULL CHECK (mode IN ('live', 'canary', 'shadow')),
    action    text   NOT NULL CHECK (action IN ('set', 'rollback', 'retire')),
    below     bigint REFERENCES pointer_history (version),
    reason    text   NOT NULL,
    gate      jsonb  NOT NULL,
    set_ns    bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS pointer_history_current ON pointer_history (role, symbol, version DESC);
CREATE OR REPLACE FUNCTION tapelab_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP;
END
$$;
CREATE OR REPLACE TRIGGER pointer_history_append_only BEFORE UPDATE OR DELETE ON pointer_history
    FOR EACH ROW EXECUTE FUNCTION tapelab_append_only();

-- Every configuration whose test results were ever looked at, and on which data: rows are only ever added.
-- The returns per block of event time are kept so that trials can be compared on what they have in common.
CREATE TABLE IF NOT EXISTS trials (
    number         bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment_id  text,
    name           text             NOT NULL,
    config_digest  text             NOT NULL,
    data_digest    text             NOT NULL,
    symbols        text[]           NOT NULL,
    first_ns       bigint           NOT NULL,
    last_ns        bigint           NOT NULL,
    sharpe         double precision,
    block_ns       bigint           NOT NULL,
    blocks         bigint[]         NOT NULL,
    returns        double precision[] NOT NULL,
    recorded_ns    bigint           NOT NULL
);
CREATE INDEX IF NOT EXISTS trials_of_span ON trials (last_ns, first_ns);
CREATE OR REPLACE TRIGGER trials_append_only BEFORE UPDATE OR DELETE ON trials
    FOR EACH ROW EXECUTE FUNCTION tapelab_append_only();

-- Who halted or resumed a symbol (or all of them: *), when and why: rows are only ever added. A symbol's newest row
-- says whether it is halted; Redis holds a copy of those that are.
CREATE TABLE IF NOT EXISTS halts (
    number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol  text   NOT NULL,
    action  text   NOT NULL CHECK (action IN ('halt', 'resume')),
    reason  text   NOT NULL,
    by      text   NOT NULL,
    set_ns  bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS halts_of_symbol ON halts (symbol, number DESC);
CREATE OR REPLACE TRIGGER halts_append_only BEFORE UPDATE OR DELETE ON halts
    FOR EACH ROW EXECUTE FUNCTION tapelab_append_only();
