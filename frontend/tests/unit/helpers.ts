import type { BarItem, ExperimentItem, SignalItem } from '@/api/types';

/** A nanosecond time `s` seconds into a fixed day; its last digits do not fit a JavaScript number. */
export const ns = (s: number) => `${1_795_435_200 + s}123456789`;

export function signal(n: number, over: Partial<SignalItem> = {}): SignalItem {
  return {
    signal_id: `s${n}`,
    role: 'champion',
    symbol: 'WINZ26',
    exchange: 'B3',
    stream: '4',
    lineage: 'a',
    seq: String(n),
    side: 1,
    previous_side: 0,
    reason: 'edge',
    mode: 'live',
    score: 0.6,
    expected_return: 0.0002,
    expected_cost: 0.0001,
    threshold: 0,
    ref_price: 131_240,
    ts_event_ns: ns(n),
    valid_until_ns: ns(n + 2),
    model_id: 'm',
    model_digest: 'd',
    feature_set_id: 'f',
    feature_lineage: 'l',
    feature_seq: String(n),
    input_topic: 'ml.features.v1',
    input_partition: 0,
    input_offset: String(n),
    components: {},
    weights: {},
    halted: false,
    halt_reason: '',
    schema: 1,
    ...over,
  };
}

export function bar(n: number, over: Partial<BarItem> = {}): BarItem {
  return {
    symbol: 'WINZ26',
    spec: 'tick:50',
    stream: '4',
    seq: String(n),
    ts_open_ns: ns(n - 1),
    ts_close_ns: ns(n),
    day: 20_261_123,
    flags: 0,
    n: 50,
    open: 1,
    high: 3,
    low: 1,
    close: 2,
    volume: 10,
    ...over,
  };
}

export function experiment(id: string, over: Partial<ExperimentItem> = {}): ExperimentItem {
  return {
    id,
    name: id,
    status: 'running',
    created_ns: ns(0),
    updated_ns: ns(1),
    progress: 0.5,
    stage: 'fold 2 of 4',
    model_id: null,
    gate: null,
    error: null,
    ...over,
  };
}
