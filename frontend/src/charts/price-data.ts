/** Bars and the signals on them, ready to be drawn; x is the bar's place, so that closed hours take no room. */

import type { BarItem, SignalItem } from '@/api/types';
import { nsToMs } from '@/format/time';

export interface Mark {
  index: number;
  price: number;
  side: number;
  /** Shadow signals are drawn hollow: nobody follows them. */
  hollow: boolean;
}

export interface PriceData {
  bars: BarItem[];
  timesMs: number[];
  closes: number[];
  marks: Mark[];
  /** Places at which a trading day begins. */
  days: number[];
}

/**
 * @param bars oldest first.
 * @param signals of any symbol and stream; those of these bars are marked.
 * @param count how many of the newest bars are taken.
 */
export function priceData(bars: readonly BarItem[], signals: readonly SignalItem[], count: number): PriceData {
  const shown = bars.slice(-count);
  const places = new Map(shown.map((bar, index) => [bar.ts_close_ns, index]));
  const symbol = shown[0]?.symbol;
  const stream = shown[0]?.stream;
  const marks: Mark[] = [];
  for (const signal of signals) {
    if (signal.symbol !== symbol || signal.stream !== stream) continue;
    // A signal's event time is the close of the bar it was decided on.
    const index = places.get(signal.ts_event_ns);
    if (index === undefined) continue;
    marks.push({ index, price: signal.ref_price, side: signal.side, hollow: signal.mode === 'shadow' });
  }
  const days = shown.flatMap((bar, index) => (index > 0 && bar.day !== shown[index - 1]!.day ? [index] : []));
  return { bars: shown, timesMs: shown.map((bar) => nsToMs(bar.ts_close_ns)), closes: shown.map((b) => b.close), marks, days };
}
