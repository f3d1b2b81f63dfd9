/** Numbers through `Intl`, by cached formatters. */

const cache = new Map<string, Intl.NumberFormat>();

export function formatNumber(value: number, locale: string, options: Intl.NumberFormatOptions = {}): string {
  const key = locale + JSON.stringify(options);
  let format = cache.get(key);
  if (format === undefined) {
    format = new Intl.NumberFormat(locale, options);
    cache.set(key, format);
  }
  return format.format(value);
}

/** A counter: in full up to 99,999, then short (1.2M). */
export function formatCount(value: number, locale: string): string {
  if (Math.abs(value) < 100_000) return formatNumber(value, locale, { maximumFractionDigits: 0 });
  return formatNumber(value, locale, { notation: 'compact', maximumFractionDigits: 1 });
}

/** A rate per second: one digit below 100, whole above. */
export function formatRate(value: number, locale: string): string {
  if (value >= 100_000) return formatCount(value, locale);
  return formatNumber(value, locale, { maximumFractionDigits: value > 0 && value < 100 ? 1 : 0 });
}

/** A fraction of the price in basis points, with its sign where it is a return. */
export function formatBps(fraction: number, locale: string, signed = false): string {
  return formatNumber(fraction * 1e4, locale, {
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
    signDisplay: signed ? 'exceptZero' : 'auto',
  });
}

/** A latency in milliseconds: three significant digits at most. */
export function formatMs(ms: number, locale: string): string {
  return formatNumber(ms, locale, ms >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });
}

/** A gate's figure: small ones keep four significant digits, whole ones none. */
export function formatFigure(value: number, locale: string): string {
  if (Number.isInteger(value)) return formatNumber(value, locale);
  if (value !== 0 && Math.abs(value) < 1e-4) {
    return formatNumber(value, locale, { notation: 'scientific', maximumSignificantDigits: 2 });
  }
  return formatNumber(value, locale, { maximumSignificantDigits: 4 });
}

/** Decimals that a list of prices needs, up to 8: all of them are shown alike. */
export function priceDecimals(prices: Iterable<number>): number {
  let decimals = 0;
  for (const price of prices) {
    if (!Number.isFinite(price)) continue;
    const [digits = '', exponent] = Math.abs(price).toString().split('e');
    const fraction = (digits.split('.')[1] ?? '').length - Number(exponent ?? 0);
    decimals = Math.max(decimals, Math.min(8, fraction));
  }
  return decimals;
}

export function formatPrice(price: number, decimals: number, locale: string): string {
  return formatNumber(price, locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}
