/** Event times: nanoseconds since the epoch as text, shown in the exchange's time by default. */

const MS = 1_000_000n;

/** Whole milliseconds of a nanosecond time. Its low digits do not fit a number; they stay in the text. */
export function nsToMs(ns: string): number {
  const value = BigInt(ns);
  const ms = value / MS;
  return Number(value < 0n && value % MS !== 0n ? ms - 1n : ms);
}

/** Nanoseconds within the second, as nine digits. */
export function nsFraction(ns: string): string {
  const value = BigInt(ns) % 1_000_000_000n;
  return (value < 0n ? value + 1_000_000_000n : value).toString().padStart(9, '0');
}

/** Where prices of an exchange are made; its time is what a trader there reads on the wall. */
const ZONES: Readonly<Record<string, string>> = {
  B3: 'America/Sao_Paulo',
  BMF: 'America/Sao_Paulo',
  BOVESPA: 'America/Sao_Paulo',
  US: 'America/New_York',
  NYSE: 'America/New_York',
  NASDAQ: 'America/New_York',
  COMEX: 'America/New_York',
  CME: 'America/Chicago',
  BINANCE: 'UTC',
};

export const DEFAULT_ZONE = 'America/Sao_Paulo';

export type ZoneChoice = 'exchange' | 'utc' | 'browser';

/** The IANA zone to show. Exchanges of different zones on one page force UTC, so that rows compare. */
export function resolveZone(choice: ZoneChoice, exchanges: readonly string[], browserZone: string): string {
  if (choice === 'utc') return 'UTC';
  if (choice === 'browser') return browserZone;
  const zones = new Set(exchanges.map((name) => ZONES[name.toUpperCase()] ?? 'UTC'));
  if (zones.size === 0) return DEFAULT_ZONE;
  return zones.size === 1 ? [...zones][0]! : 'UTC';
}

export type TimeStyle = 'time' | 'minute' | 'date' | 'day' | 'dateTime' | 'iso';

const OPTIONS: Record<TimeStyle, Intl.DateTimeFormatOptions> = {
  time: { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' },
  minute: { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  date: { year: 'numeric', month: 'short', day: '2-digit' },
  day: { month: 'short', day: '2-digit' },
  dateTime: {
    year: 'numeric',
    month: 'short',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  },
  iso: {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  },
};

const cache = new Map<string, Intl.DateTimeFormat>();

/** A time in a zone, by a cached formatter: making one costs a thousand times as much as using it. */
export function formatTime(ms: number, style: TimeStyle, locale: string, timeZone: string): string {
  const key = `${style}|${locale}|${timeZone}`;
  let format = cache.get(key);
  if (format === undefined) {
    format = new Intl.DateTimeFormat(locale, { ...OPTIONS[style], timeZone });
    cache.set(key, format);
  }
  return format.format(ms);
}

/** A time with all nine digits of its second, for tooltips and copies: `2026-11-21 10:32:05.123456789`. */
export function formatNs(ns: string, timeZone: string): string {
  return `${formatTime(nsToMs(ns), 'iso', 'sv-SE', timeZone)}.${nsFraction(ns)}`;
}

export type AgeUnit = 'second' | 'minute' | 'hour' | 'day';

/** An age in its largest whole unit. */
export function splitAge(ms: number): { value: number; unit: AgeUnit } {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 60) return { value: Math.floor(seconds), unit: 'second' };
  if (seconds < 3_600) return { value: Math.floor(seconds / 60), unit: 'minute' };
  if (seconds < 86_400) return { value: Math.floor(seconds / 3_600), unit: 'hour' };
  return { value: Math.floor(seconds / 86_400), unit: 'day' };
}

/**
 * What a signal's age is measured against: the tape's newest print of its symbol while a recording plays, and
 * the server's clock where the tape is of now.
 */
export function eventNowMs(serverNowMs: number, lastEventMs: number | null): number {
  const LIVE_WITHIN_MS = 600_000;
  if (lastEventMs === null) return serverNowMs;
  return Math.abs(serverNowMs - lastEventMs) <= LIVE_WITHIN_MS ? serverNowMs : lastEventMs;
}
