import { describe, expect, it } from 'vitest';

import { priceData } from '@/charts/price-data';

import { bar, signal } from './helpers';

const bars = [1, 2, 3, 4].map((n) => bar(n, { close: n, day: n < 3 ? 20_261_120 : 20_261_123 }));

describe('the chart’s data', () => {
  it('take the newest bars and mark where a day begins', () => {
    const data = priceData(bars, [], 3);
    expect(data.closes).toEqual([2, 3, 4]);
    expect(data.days).toEqual([1]);
  });

  it('mark the signals that were decided on these bars', () => {
    const signals = [
      signal(2, { side: -1, ref_price: 7, mode: 'shadow' }),
      signal(3, { symbol: 'PETR4' }),
      signal(4, { stream: '3' }),
      signal(9),
    ];
    expect(priceData(bars, signals, 10).marks).toEqual([{ index: 1, price: 7, side: -1, hollow: true }]);
  });

  it('are empty where there are no bars', () => {
    expect(priceData([], [signal(1)], 10)).toEqual({ bars: [], timesMs: [], closes: [], marks: [], days: [] });
  });
});
