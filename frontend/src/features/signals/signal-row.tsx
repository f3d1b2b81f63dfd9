'use client';

import { memo, useState } from 'react';
import { useTranslations } from 'use-intl';

import type { SignalItem } from '@/api/types';
import { eventNowMs, nsToMs } from '@/format/time';
import { useServerNowMs } from '@/live/hooks';
import { Badge, type Tone } from '@/ui/badge';
import { Side } from '@/ui/side';
import { useFormats } from '@/view/formats';

import { reasonName } from './reasons';

const MODES: Record<SignalItem['mode'], Tone> = { live: 'good', canary: 'accent', shadow: 'warn' };

const CELL = 'sm:table-cell sm:px-2 sm:py-1 sm:align-middle';
// Columns that only wide screens have room for; the same conditions hide their headers.
const WIDE = { reason: 'hidden md:table-cell', model: 'hidden lg:table-cell' } as const;
const PLAIN = 'px-2 py-1 align-middle';

interface Props {
  item: SignalItem;
  decimals: number;
  /** Nothing newer is known of its symbol and role: this is the target position in force. */
  current: boolean;
  /** Largest return or cost of the list, for the scale of the bars. */
  widest: number;
  lastEventMs: number | null;
  /** It came while the reader was looking. */
  fresh: boolean;
}

export const SignalRow = memo(function SignalRow({ item, decimals, current, widest, lastEventMs, fresh }: Props) {
  const reasons = useTranslations('reason');
  const modes = useTranslations('mode');
  const formats = useFormats();
  const reason = reasonName(item.reason);
  return (
    <tr
      role="row"
      data-signal={item.signal_id}
      className={`${fresh ? 'arrives' : ''} grid grid-cols-[1fr_auto] gap-x-3 gap-y-0.5 border-b border-line px-3 py-2 sm:table-row hover:bg-raised ${
        current ? 'shadow-[inset_2px_0_0_var(--accent)]' : ''
      }`}
    >
      <td role="cell" title={formats.exactNs(item.ts_event_ns)} className={`${CELL} text-ink-2 sm:pl-3`}>
        {formats.timeNs(item.ts_event_ns)}
      </td>
      <td role="cell" className={`${CELL} text-right font-semibold sm:text-left`}>
        {item.symbol}
      </td>
      <td role="cell" className={CELL}>
        <Side side={item.side} />
      </td>
      <td role="cell" className={`${CELL} text-right font-medium`}>
        {formats.price(item.ref_price, decimals)}
      </td>
      <td role="cell" className={`${CELL} hidden text-right`}>
        {formats.number(item.score, { minimumFractionDigits: 3, maximumFractionDigits: 3 })}
      </td>
      <td role="cell" className={`${CELL} sm:text-right`}>
        <Edge expected={item.expected_return} cost={item.expected_cost} widest={widest} />
      </td>
      <td role="cell" className={`${PLAIN} ${WIDE.reason} whitespace-nowrap text-ink-2`}>
        {reason ? reasons(reason) : item.reason}
      </td>
      <td role="cell" className={`${CELL} text-right sm:text-left`}>
        <Badge tone={MODES[item.mode]}>{modes(item.mode)}</Badge>
      </td>
      <td
        role="cell"
        title={`${item.model_id} · ${item.model_digest}`}
        className={`${PLAIN} ${WIDE.model} max-w-40 truncate font-mono text-2xs text-ink-3`}
      >
        {item.model_id}
      </td>
      <td role="cell" className={`${CELL} hidden text-right whitespace-nowrap text-ink-3 sm:pr-3`}>
        <Age item={item} lastEventMs={lastEventMs} />
      </td>
    </tr>
  );
});

/** Expected return against round-trip cost, in basis points; the tick on the bar is the cost. */
function Edge({ expected, cost, widest }: { expected: number; cost: number; widest: number }) {
  const t = useTranslations('signals');
  const formats = useFormats();
  const share = (value: number) => `${Math.min(100, (100 * value) / widest)}%`;
  const good = Math.abs(expected) > cost;
  return (
    <span className="inline-flex items-center gap-2 whitespace-nowrap" title={t('edgeHint')}>
      <span>
        <span className="font-medium">{formats.bps(expected, true)}</span>
        <span className="text-ink-3"> / {formats.bps(cost)}</span>
      </span>
      <span aria-hidden className="relative hidden h-1.5 w-12 rounded-full bg-line lg:block">
        <span
          className={`absolute inset-y-0 left-0 rounded-full ${good ? 'bg-accent' : 'bg-ink-3/60'}`}
          style={{ width: share(Math.abs(expected)) }}
        />
        <span className="absolute -inset-y-0.5 w-px bg-ink" style={{ left: share(cost) }} />
      </span>
    </span>
  );
}

/** Ticks by itself, so that the row does not. */
function Age({ item, lastEventMs }: { item: SignalItem; lastEventMs: number | null }) {
  const t = useTranslations('signals');
  const formats = useFormats();
  const nowMs = eventNowMs(useServerNowMs(), lastEventMs);
  const [validUntilMs] = useState(() => nsToMs(item.valid_until_ns));
  const ageMs = Math.max(0, nowMs - nsToMs(item.ts_event_ns));
  return <span title={nowMs > validUntilMs ? t('expired') : t('valid')}>{formats.age(ageMs)}</span>;
}
