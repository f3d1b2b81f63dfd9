/** What each channel holds, and how one more item changes it. Every list is bounded. */

import type { BarItem, ExperimentItem, Items, SignalItem } from '@/api/types';

export const SIGNALS = 'signals';
export const DATA = 'data';
export const EXPERIMENTS = 'experiments';
export const barsChannel = (symbol: string) => `bars:${symbol}`;
export const symbolOfChannel = (ch: string) => (ch.startsWith('bars:') ? ch.slice('bars:'.length) : null);

export const KEPT = { signals: 200, bars: 500, experiments: 200 } as const;

/** The channel's data after one delta. Doubles leave the data as it is. */
export function applyDelta(ch: string, data: unknown, delta: unknown): unknown {
  if (ch === SIGNALS) return appendSignal(data as Items<SignalItem>, delta as SignalItem);
  if (ch === EXPERIMENTS) return upsertExperiment(data as Items<ExperimentItem>, delta as ExperimentItem);
  if (symbolOfChannel(ch) !== null) return appendBar(data as Items<BarItem>, delta as BarItem);
  return delta;
}

/** Signals are kept oldest first, as the gateway gives them. */
function appendSignal(data: Items<SignalItem>, signal: SignalItem): Items<SignalItem> {
  if (data.items.some((known) => known.signal_id === signal.signal_id)) return data;
  return { ...data, items: [...data.items, signal].slice(-KEPT.signals) };
}

/** Bars of the newest stream only: a higher one begins the list anew, a lower one is dropped. */
function appendBar(data: Items<BarItem>, bar: BarItem): Items<BarItem> {
  const last = data.items.at(-1);
  if (last === undefined || BigInt(bar.stream) > BigInt(last.stream)) return { ...data, items: [bar] };
  if (bar.stream !== last.stream || BigInt(bar.seq) <= BigInt(last.seq)) return data;
  return { ...data, items: [...data.items, bar].slice(-KEPT.bars) };
}

/** Experiments are kept newest first. */
function upsertExperiment(data: Items<ExperimentItem>, item: ExperimentItem): Items<ExperimentItem> {
  const at = data.items.findIndex((known) => known.id === item.id);
  if (at < 0) return { ...data, items: [item, ...data.items].slice(0, KEPT.experiments) };
  return { ...data, items: data.items.with(at, item) };
}
