'use client';

import { useTranslations } from 'use-intl';

import type { PriceData } from '@/charts/price-data';
import { Side } from '@/ui/side';
import { useFormats } from '@/view/formats';

/** One bar in figures: the one under the cursor, else the newest. */
export function Readout({
  data,
  index,
  atCursor,
  price,
}: {
  data: PriceData;
  index: number;
  atCursor: boolean;
  price: (value: number) => string;
}) {
  const t = useTranslations('prices');
  const formats = useFormats();
  const bar = data.bars[Math.min(index, data.bars.length - 1)];
  const first = data.closes[0];
  if (!bar || first === undefined) return null;
  const mark = data.marks.findLast((candidate) => candidate.index === index);
  const change = bar.close / first - 1;
  const tone = change > 0 ? 'text-up' : change < 0 ? 'text-down' : 'text-ink-2';
  return (
    <div
      className="flex min-h-8 flex-wrap items-baseline gap-x-4 gap-y-0.5 px-3"
      aria-live={atCursor ? 'polite' : 'off'}
      data-readout
    >
      <p>
        <span className="text-xl font-semibold tracking-tight">{price(bar.close)}</span>
        <span className={`ml-2 text-xs font-medium ${tone}`} title={t('changeHint')}>
          {formats.number(change, {
            style: 'percent',
            minimumFractionDigits: 2,
            maximumFractionDigits: 2,
            signDisplay: 'exceptZero',
          })}
        </span>
      </p>
      <dl className="flex flex-wrap gap-x-3 text-xs text-ink-2 [&_dt]:mr-1 [&_dt]:inline [&_dt]:text-ink-3 [&_dd]:inline">
        {(['open', 'high', 'low'] as const).map((name) => (
          <div key={name}>
            <dt>
              <abbr title={t(name)} className="no-underline">
                {t(`${name}Short`)}
              </abbr>
            </dt>
            <dd>{price(bar[name])}</dd>
          </div>
        ))}
        <div>
          <dt>{t('volume')}</dt>
          <dd>{formats.number(bar.volume, { maximumFractionDigits: 4 })}</dd>
        </div>
        <div>
          <dt className="sr-only">{t('time')}</dt>
          <dd title={formats.exactNs(bar.ts_close_ns)}>{formats.timeNs(bar.ts_close_ns)}</dd>
        </div>
      </dl>
      {mark && atCursor && <Side side={mark.side} />}
    </div>
  );
}
