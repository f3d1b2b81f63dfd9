'use client';

import { useTranslations } from 'use-intl';

import type { SignalItem } from '@/api/types';
import { Side } from '@/ui/side';

import { targets } from './targets';

/** The target position in force of every symbol that has had a signal. */
export function Positions({ items }: { items: SignalItem[] }) {
  const t = useTranslations('signals');
  return (
    <div className="flex flex-wrap items-center gap-x-2 gap-y-1.5 px-3 pb-2 text-xs">
      <span className="text-ink-3">{t('targets')}</span>
      <ul className="flex flex-wrap gap-1.5">
        {targets(items).map((item) => (
          <li
            key={item.symbol}
            className="inline-flex h-6 items-center gap-2 rounded-md bg-raised px-2"
            data-target={`${item.symbol}:${item.side}`}
          >
            <span className="font-semibold">{item.symbol}</span>
            <Side side={item.side} sign={false} />
          </li>
        ))}
      </ul>
    </div>
  );
}
