'use client';

import { Suspense, lazy, useCallback, useId, useMemo, useState } from 'react';
import { useTranslations } from 'use-intl';

import type { BarItem, DataStatus, Items, SignalItem } from '@/api/types';
import { priceData } from '@/charts/price-data';
import { priceDecimals } from '@/format/number';
import { DATA, SIGNALS, barsChannel } from '@/live/channels';
import { type Live, useChannel } from '@/live/hooks';
import { Panel } from '@/ui/panel';
import { Segmented } from '@/ui/segmented';
import { Select } from '@/ui/select';
import { PANEL_HEIGHT } from '@/ui/sizes';
import { useFormats } from '@/view/formats';
import { WINDOWS, useView } from '@/view/state';

import { BarsTable } from './bars-table';
import { Readout } from './readout';

// Charts are not needed to show the first view.
const PriceChart = lazy(() => import('@/charts/price-chart'));

const NO_SIGNALS: SignalItem[] = [];

/** Closes of one symbol's bars with its signals, as a picture or as a table of the same figures. */
export function PricesPanel({ className = '' }: { className?: string }) {
  const t = useTranslations('prices');
  const [{ sym, n, view }, setView] = useView();
  const status = useChannel<DataStatus>(DATA);
  const symbols = status.data?.symbols.map((symbol) => symbol.symbol) ?? [];
  const symbol = sym !== null && (symbols.includes(sym) || status.data === undefined) ? sym : (symbols[0] ?? null);
  const bars = useChannel<Items<BarItem>>(symbol === null ? null : barsChannel(symbol));
  const signals = useChannel<Items<SignalItem>>(SIGNALS);
  // Without a symbol there is no channel to follow, and the state of the status is this panel's.
  const live: Live<unknown> = symbol === null ? status : bars;
  const items = bars.data?.items;
  return (
    <Panel
      title={t('title')}
      live={live}
      className={`${PANEL_HEIGHT.prices} ${className}`}
      skeleton={<ChartSkeleton />}
      empty={emptyText(symbol, items, t)}
      actions={
        <>
          {symbols.length > 0 && (
            <Select
              label={t('symbol')}
              value={symbol ?? ''}
              onChange={(event) => void setView({ sym: event.target.value })}
            >
              {symbols.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </Select>
          )}
          <Segmented
            label={t('window')}
            value={n}
            onChange={(value) => void setView({ n: value })}
            options={WINDOWS.map((value) => ({ value, label: String(value), name: t('bars', { n: value }) }))}
          />
          <Segmented
            label={t('view')}
            value={view}
            onChange={(value) => void setView({ view: value })}
            options={[
              { value: 'chart', label: t('chart') },
              { value: 'table', label: t('table') },
            ]}
          />
        </>
      }
    >
      {symbol !== null && items && items.length > 0 && (
        <Prices symbol={symbol} bars={items} signals={signals.data?.items ?? NO_SIGNALS} count={n} table={view === 'table'} />
      )}
    </Panel>
  );
}

function emptyText(symbol: string | null, items: BarItem[] | undefined, t: ReturnType<typeof useTranslations<'prices'>>) {
  if (symbol === null) return { reason: t('noSymbols'), next: t('noSymbolsNext') };
  if (items?.length === 0) return { reason: t('empty', { symbol }), next: t('emptyNext') };
  return null;
}

function Prices({
  symbol,
  bars,
  signals,
  count,
  table,
}: {
  symbol: string;
  bars: BarItem[];
  signals: SignalItem[];
  count: number;
  table: boolean;
}) {
  const t = useTranslations('prices');
  const formats = useFormats();
  const [cursor, setCursor] = useState<number | null>(null);
  const caption = useId();
  const data = useMemo(() => priceData(bars, signals, count), [bars, signals, count]);
  const decimals = useMemo(() => priceDecimals(data.closes), [data.closes]);
  const price = useCallback((value: number) => formats.price(value, decimals), [formats, decimals]);
  const axisTime = useCallback(
    (ms: number, withDate: boolean) => formats.time(ms) + (withDate ? `\n${formats.time(ms, 'day')}` : ''),
    [formats],
  );
  const last = data.bars.length - 1;
  const lastBar = data.bars[last];
  if (!lastBar) return null;
  const summary = t('summary', {
    symbol,
    n: data.bars.length,
    spec: lastBar.spec,
    from: formats.time(data.timesMs[0]!, 'dateTime'),
    to: formats.time(data.timesMs[last]!, 'dateTime'),
    low: price(Math.min(...data.closes)),
    high: price(Math.max(...data.closes)),
    last: price(lastBar.close),
    signals: data.marks.length,
  });
  return (
    <figure aria-labelledby={caption} className="flex min-h-0 flex-1 flex-col">
      <figcaption id={caption} className="sr-only">
        {summary}
      </figcaption>
      {table ? (
        <BarsTable data={data} price={price} caption={summary} />
      ) : (
        <>
          <Readout data={data} index={cursor ?? last} atCursor={cursor !== null} price={price} />
          <div className="relative min-h-64 flex-1 pl-1">
            <div className="absolute inset-0 left-1">
              <Suspense fallback={<ChartSkeleton />}>
                <PriceChart
                  key={symbol}
                  data={data}
                  label={t('chartLabel', { symbol })}
                  axisTime={axisTime}
                  price={price}
                  onCursor={setCursor}
                />
              </Suspense>
            </div>
          </div>
        </>
      )}
      <p className="flex flex-wrap items-center gap-x-4 gap-y-1 border-t border-line px-3 py-1.5 text-2xs text-ink-3">
        {!table && (
          <span className="flex flex-wrap gap-x-3">
            <span className="text-up">▲ {t('long')}</span>
            <span className="text-down">▼ {t('short')}</span>
            <span>◆ {t('flat')}</span>
            <span>△ {t('hollow')}</span>
          </span>
        )}
        <span className="ml-auto text-right">
          {t('axis', { spec: lastBar.spec })} · <span data-zone>{formats.zone}</span>
        </span>
      </p>
    </figure>
  );
}

function ChartSkeleton() {
  return (
    <div aria-hidden className="flex h-full flex-1 items-end gap-1 px-3 pb-3">
      {Array.from({ length: 36 }, (_, index) => (
        <div key={index} className="skeleton flex-1" style={{ height: `${38 + 24 * Math.sin(index / 4) + (index % 5) * 3}%` }} />
      ))}
    </div>
  );
}
