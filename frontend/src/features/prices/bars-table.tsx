'use client';

import { useTranslations } from 'use-intl';

import type { PriceData } from '@/charts/price-data';
import { Side } from '@/ui/side';
import { useFormats } from '@/view/formats';

/** Rows shown, newest first. */
const SHOWN = 60;

/** The chart's figures as text. */
export function BarsTable({ data, price, caption }: { data: PriceData; price: (value: number) => string; caption: string }) {
  const t = useTranslations('prices');
  const formats = useFormats();
  const rows = data.bars.map((bar, index) => ({ bar, index })).reverse().slice(0, SHOWN);
  const marks = new Map(data.marks.map((mark) => [mark.index, mark]));
  return (
    <div
      role="group"
      aria-label={t('table')}
      tabIndex={0}
      className="relative min-h-72 flex-1 overflow-auto border-t border-line [contain:size]"
    >
      <table className="w-full text-right text-xs">
        <caption className="sr-only">{caption}</caption>
        <thead className="text-2xs text-ink-3">
          <tr>
            {(['time', 'open', 'high', 'low', 'close', 'volume', 'signal'] as const).map((column) => (
              <th
                key={column}
                scope="col"
                className="sticky top-0 bg-panel px-2 py-1.5 font-medium shadow-[0_1px_0_var(--line)] first:pl-3 first:text-left last:pr-3"
              >
                {t(column)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ bar, index }) => {
            const mark = marks.get(index);
            return (
              <tr key={bar.seq} className="border-b border-line hover:bg-raised [&>td]:px-2 [&>td]:py-1">
                <td className="!pl-3 text-left whitespace-nowrap text-ink-2" title={formats.exactNs(bar.ts_close_ns)}>
                  {formats.timeNs(bar.ts_close_ns)}
                </td>
                <td>{price(bar.open)}</td>
                <td>{price(bar.high)}</td>
                <td>{price(bar.low)}</td>
                <td className="font-medium">{price(bar.close)}</td>
                <td>{formats.number(bar.volume, { maximumFractionDigits: 4 })}</td>
                <td className="!pr-3">{mark ? <Side side={mark.side} /> : ''}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {data.bars.length > SHOWN && (
        <p className="p-2 text-center text-2xs text-ink-3">{t('newestRows', { n: SHOWN, of: data.bars.length })}</p>
      )}
    </div>
  );
}
