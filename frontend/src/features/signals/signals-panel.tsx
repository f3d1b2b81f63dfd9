'use client';

import { memo, useMemo, useState } from 'react';
import { useTranslations } from 'use-intl';

import type { DataStatus, Items, SignalItem } from '@/api/types';
import { priceDecimals } from '@/format/number';
import { nsToMs } from '@/format/time';
import { DATA, SIGNALS } from '@/live/channels';
import { useChannel } from '@/live/hooks';
import { Button } from '@/ui/button';
import { Icon } from '@/ui/icon';
import { Panel, SkeletonRows } from '@/ui/panel';
import { PANEL_HEIGHT } from '@/ui/sizes';

import { Announcer } from './announcer';
import { Positions } from './positions';
import { SignalRow } from './signal-row';
import { holderOf, newestByHolder } from './targets';

/** Rows shown; older ones are behind a button. */
const SHOWN = 60;

/** Signals as they come, newest first. Freezing holds the list still while the counter goes on. */
export function SignalsPanel({ className = '' }: { className?: string }) {
  const t = useTranslations('signals');
  const live = useChannel<Items<SignalItem>>(SIGNALS);
  const { data: status } = useChannel<DataStatus>(DATA);
  const [frozen, setFrozen] = useState<SignalItem[] | null>(null);
  const items = live.data?.items;
  const shown = frozen ?? items;
  const waiting = frozen && items ? countNewer(items, frozen.at(-1)?.signal_id) : 0;
  const lastEvents = useLastEvents(status);
  return (
    <Panel
      title={t('title')}
      live={live}
      className={`${PANEL_HEIGHT.signals} ${className}`}
      skeleton={<SkeletonRows rows={14} />}
      empty={
        items?.length === 0
          ? { reason: t('empty'), next: status && !status.champion && !status.challenger ? t('emptyNoModel') : t('emptyNext') }
          : null
      }
      actions={
        items !== undefined &&
        items.length > 0 && (
          <>
            {frozen && <span className="text-xs text-warn">{t('waiting', { n: waiting })}</span>}
            <Button aria-pressed={frozen !== null} onClick={() => setFrozen(frozen ? null : items)}>
              <Icon name={frozen ? 'play' : 'pause'} size={12} /> {frozen ? t('resume') : t('freeze')}
            </Button>
          </>
        )
      }
    >
      {shown && (
        <>
          {items && <Positions items={items} />}
          <Table items={shown} lastEvents={lastEvents} />
          {items && <Announcer items={items} />}
        </>
      )}
    </Panel>
  );
}

function countNewer(items: SignalItem[], id: string | undefined): number {
  const at = items.findLastIndex((item) => item.signal_id === id);
  return items.length - 1 - at;
}

/** Newest print's event time by symbol; the same object as long as no whole second has passed. */
function useLastEvents(status: DataStatus | undefined): Readonly<Record<string, number>> {
  const text = JSON.stringify(
    Object.fromEntries(
      (status?.symbols ?? []).flatMap((symbol) =>
        symbol.last_ts_event_ns ? [[symbol.symbol, Math.floor(nsToMs(symbol.last_ts_event_ns) / 1_000) * 1_000]] : [],
      ),
    ),
  );
  return useMemo(() => JSON.parse(text) as Record<string, number>, [text]);
}

const COLUMNS = ['time', 'symbol', 'target', 'price', 'score', 'edge', 'reason', 'mode', 'model', 'age'] as const;
const NUMERIC = new Set<string>(['price', 'score', 'edge', 'age']);

const Table = memo(function Table({
  items,
  lastEvents,
}: {
  items: SignalItem[];
  lastEvents: Readonly<Record<string, number>>;
}) {
  const t = useTranslations('signals');
  const [all, setAll] = useState(false);
  const [first] = useState(() => new Set(items.map((item) => item.signal_id)));
  const newestFirst = useMemo(() => items.toReversed(), [items]);
  const decimals = useMemo(() => decimalsBySymbol(items), [items]);
  const newest = useMemo(() => newestByHolder(items), [items]);
  const widest = useMemo(
    () => items.reduce((most, item) => Math.max(most, Math.abs(item.expected_return), item.expected_cost), 1e-9),
    [items],
  );
  const rows = all ? newestFirst : newestFirst.slice(0, SHOWN);
  return (
    <div
      role="group"
      aria-label={t('title')}
      tabIndex={0}
      className="relative max-h-[36rem] min-h-0 flex-1 overflow-auto border-t border-line xl:max-h-none xl:[contain:size]"
    >
      {/* Roles are spelled out because narrow screens lay the rows out as cards. */}
      <table role="table" className="block w-full text-xs sm:table" data-signals={items.length}>
        <thead role="rowgroup" className="sr-only sm:not-sr-only sm:table-header-group">
          <tr role="row" className="text-2xs text-ink-3">
            {COLUMNS.map((column) => (
              <th
                key={column}
                role="columnheader"
                scope="col"
                className={`sticky top-0 z-10 bg-panel px-2 py-1.5 font-medium whitespace-nowrap shadow-[0_1px_0_var(--line)] first:pl-3 last:pr-3 ${
                  NUMERIC.has(column) ? 'text-right' : 'text-left'
                } ${column === 'model' ? 'hidden lg:table-cell' : ''} ${column === 'reason' ? 'hidden md:table-cell' : ''}`}
              >
                {t(`column.${column}`)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup" className="block sm:table-row-group">
          {rows.map((item) => (
            <SignalRow
              key={item.signal_id}
              item={item}
              decimals={decimals.get(item.symbol) ?? 2}
              current={newest.get(holderOf(item)) === item}
              widest={widest}
              lastEventMs={lastEvents[item.symbol] ?? null}
              fresh={!first.has(item.signal_id)}
            />
          ))}
        </tbody>
      </table>
      {newestFirst.length > SHOWN && (
        <div className="p-2 text-center">
          <Button onClick={() => setAll(!all)}>
            {all ? t('fewer') : t('more', { n: newestFirst.length - SHOWN })}
          </Button>
        </div>
      )}
    </div>
  );
});

function decimalsBySymbol(items: SignalItem[]): Map<string, number> {
  const decimals = new Map<string, number>();
  for (const { symbol, ref_price } of items) {
    decimals.set(symbol, Math.max(decimals.get(symbol) ?? 0, priceDecimals([ref_price])));
  }
  return decimals;
}
