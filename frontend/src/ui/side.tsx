'use client';

import { useTranslations } from 'use-intl';

export type SideName = 'long' | 'short' | 'flat';

export function sideName(side: number): SideName {
  return side > 0 ? 'long' : side < 0 ? 'short' : 'flat';
}

const MARKS: Record<SideName, string> = { long: '▲', short: '▼', flat: '◆' };
const SIGNS: Record<SideName, string> = { long: '+1', short: '−1', flat: '0' };
const COLOURS: Record<SideName, string> = { long: 'text-up', short: 'text-down', flat: 'text-ink-2' };

/** A target position by mark, sign, word and colour: none of them is needed to read it. */
export function Side({ side, sign = true }: { side: number; sign?: boolean }) {
  const t = useTranslations('side');
  const name = sideName(side);
  return (
    <span className={`inline-flex items-center gap-1 font-semibold whitespace-nowrap ${COLOURS[name]}`}>
      <span aria-hidden className="text-[0.625rem]">
        {MARKS[name]}
      </span>
      {sign && <span className="min-w-[1.1rem] text-right">{SIGNS[name]}</span>}
      {t(name)}
    </span>
  );
}
