'use client';

import { useEffect, useRef, useState } from 'react';
import { useTranslations } from 'use-intl';

import type { SignalItem } from '@/api/types';

/** At most one message in this time, however fast signals come. */
const PAUSE_MS = 5_000;

/** Tells a screen reader about new signals: the newest in words, the others as a number. */
export function Announcer({ items }: { items: SignalItem[] }) {
  const t = useTranslations('signals');
  const side = useTranslations('side');
  const [text, setText] = useState('');
  const latest = useRef(items);
  const told = useRef(items.at(-1)?.signal_id);
  useEffect(() => {
    latest.current = items;
  }, [items]);
  useEffect(() => {
    const timer = setInterval(() => {
      const list = latest.current;
      const newest = list.at(-1);
      if (!newest || newest.signal_id === told.current) return;
      const others = list.length - 2 - list.findLastIndex((item) => item.signal_id === told.current);
      told.current = newest.signal_id;
      const name = newest.side > 0 ? 'long' : newest.side < 0 ? 'short' : 'flat';
      setText(t('announce', { symbol: newest.symbol, side: side(name), others: Math.max(0, others) }));
    }, PAUSE_MS);
    return () => clearInterval(timer);
  }, [t, side]);
  return (
    <p className="sr-only" aria-live="polite">
      {text}
    </p>
  );
}
