'use client';

import { useMemo } from 'react';
import { useLocale, useTimeZone, useTranslations } from 'use-intl';

import { formatBps, formatCount, formatFigure, formatMs, formatNumber, formatPrice, formatRate } from '@/format/number';
import { DEFAULT_ZONE, type TimeStyle, formatNs, formatTime, nsToMs, splitAge } from '@/format/time';

/** Every format of the page, in the reader's language and zone. */
export function useFormats() {
  const locale = useLocale();
  const zone = useTimeZone() ?? DEFAULT_ZONE;
  const t = useTranslations('age');
  return useMemo(
    () => ({
      zone,
      time: (ms: number, style: TimeStyle = 'time') => formatTime(ms, style, locale, zone),
      timeNs: (ns: string, style: TimeStyle = 'time') => formatTime(nsToMs(ns), style, locale, zone),
      exactNs: (ns: string) => `${formatNs(ns, zone)} ${zone}`,
      age: (ms: number) => {
        const { value, unit } = splitAge(ms);
        return t(unit, { value });
      },
      /** A delay: tenths of a second below 10 s, where they matter. */
      delay: (ms: number) => {
        if (ms < 10_000) return t('second', { value: formatNumber(ms / 1_000, locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 }) });
        const { value, unit } = splitAge(ms);
        return t(unit, { value });
      },
      number: (value: number, options?: Intl.NumberFormatOptions) => formatNumber(value, locale, options),
      count: (value: number) => formatCount(value, locale),
      rate: (value: number) => formatRate(value, locale),
      bps: (fraction: number, signed = false) => formatBps(fraction, locale, signed),
      ms: (value: number) => formatMs(value, locale),
      figure: (value: number) => formatFigure(value, locale),
      price: (value: number, decimals: number) => formatPrice(value, decimals, locale),
      percent: (value: number, digits = 0) =>
        formatNumber(value, locale, { style: 'percent', minimumFractionDigits: digits, maximumFractionDigits: digits }),
    }),
    [locale, zone, t],
  );
}

export type Formats = ReturnType<typeof useFormats>;
