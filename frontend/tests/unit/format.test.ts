import { describe, expect, it } from 'vitest';

import { formatBps, formatCount, formatFigure, formatRate, priceDecimals } from '@/format/number';
import { eventNowMs, formatNs, formatTime, nsFraction, nsToMs, resolveZone, splitAge } from '@/format/time';

describe('nanosecond times', () => {
  it('keep digits that a number cannot hold', () => {
    expect(nsToMs('1795435205123456789')).toBe(1_795_435_205_123);
    expect(nsFraction('1795435205123456789')).toBe('123456789');
    expect(formatNs('1795435205123456789', 'UTC')).toBe('2026-11-23 12:00:05.123456789');
  });

  it('round down before 1970 too', () => {
    expect(nsToMs('-1')).toBe(-1);
    expect(nsFraction('-1')).toBe('999999999');
  });

  it('are shown in the zone of the exchange, daylight saving of old days included', () => {
    const winter = Date.UTC(2026, 10, 23, 12);
    expect(formatTime(winter, 'time', 'en', 'America/Sao_Paulo')).toBe('09:00:00');
    expect(formatTime(Date.UTC(2017, 11, 15, 12), 'time', 'pt-BR', 'America/Sao_Paulo')).toBe('10:00:00');
    expect(formatTime(Date.UTC(2026, 10, 23, 3), 'time', 'en', 'America/Sao_Paulo')).toBe('00:00:00');
  });
});

describe('the zone', () => {
  it('is the exchange’s, and UTC where exchanges differ', () => {
    expect(resolveZone('exchange', ['B3', 'B3'], 'Asia/Tokyo')).toBe('America/Sao_Paulo');
    expect(resolveZone('exchange', ['US'], 'Asia/Tokyo')).toBe('America/New_York');
    expect(resolveZone('exchange', ['B3', 'US'], 'Asia/Tokyo')).toBe('UTC');
    expect(resolveZone('exchange', [], 'Asia/Tokyo')).toBe('America/Sao_Paulo');
  });

  it('can be chosen', () => {
    expect(resolveZone('utc', ['B3'], 'Asia/Tokyo')).toBe('UTC');
    expect(resolveZone('browser', ['B3'], 'Asia/Tokyo')).toBe('Asia/Tokyo');
  });
});

describe('ages', () => {
  it('are told in the largest whole unit', () => {
    expect(splitAge(-5)).toEqual({ value: 0, unit: 'second' });
    expect(splitAge(59_999)).toEqual({ value: 59, unit: 'second' });
    expect(splitAge(3_599_000)).toEqual({ value: 59, unit: 'minute' });
    expect(splitAge(90_000_000)).toEqual({ value: 1, unit: 'day' });
  });

  it('of signals go by the tape while a recording plays, else by the server', () => {
    expect(eventNowMs(1_000_000_000, 5_000)).toBe(5_000);
    expect(eventNowMs(1_000_000_000, 999_999_000)).toBe(1_000_000_000);
    expect(eventNowMs(7, null)).toBe(7);
  });
});

describe('numbers', () => {
  it('follow the language', () => {
    expect(formatBps(0.00031, 'en', true)).toBe('+3.10');
    expect(formatBps(-0.00031, 'pt-BR', true)).toBe('-3,10');
    expect(formatBps(0, 'en', true)).toBe('0.00');
  });

  it('are short where they are large', () => {
    expect(formatCount(99_999, 'en')).toBe('99,999');
    expect(formatCount(1_234_567, 'en')).toBe('1.2M');
    expect(formatRate(0.64, 'en')).toBe('0.6');
    expect(formatRate(1020.4, 'en')).toBe('1,020');
  });

  it('of the gate keep what matters', () => {
    expect(formatFigure(412, 'en')).toBe('412');
    expect(formatFigure(0.31274, 'en')).toBe('0.3127');
    expect(formatFigure(1.2e-9, 'en')).toBe('1.2E-9');
  });

  it('that are prices are all shown with the decimals that one of them needs', () => {
    expect(priceDecimals([131_240, 131_245])).toBe(0);
    expect(priceDecimals([5412.5, 5413])).toBe(1);
    expect(priceDecimals([1e-7, Number.NaN])).toBe(7);
    expect(priceDecimals([0.1 + 0.2])).toBe(8);
  });
});
