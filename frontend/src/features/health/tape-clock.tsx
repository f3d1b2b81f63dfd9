'use client';

import { useTranslations } from 'use-intl';

import type { DataStatus } from '@/api/types';
import { nsToMs } from '@/format/time';
import { useFormats } from '@/view/formats';

/** The event time of the newest print: a recording has its own day and pace. */
export function TapeClock({ status }: { status: DataStatus }) {
  const t = useTranslations('flow');
  const formats = useFormats();
  const times = status.symbols.flatMap((symbol) => (symbol.last_ts_event_ns ? [nsToMs(symbol.last_ts_event_ns)] : []));
  if (times.length === 0) return null;
  return (
    <span className="text-xs text-ink-2" title={formats.zone}>
      {t('tape')} <span className="font-medium text-ink">{formats.time(Math.max(...times), 'dateTime')}</span>
    </span>
  );
}
