import type { ReactNode } from 'react';

export type Tone = 'neutral' | 'accent' | 'good' | 'bad' | 'warn';

const TONES: Record<Tone, string> = {
  neutral: 'bg-raised text-ink-2 ring-line',
  accent: 'bg-accent-soft text-accent ring-accent/25',
  good: 'bg-up-soft text-up ring-up/25',
  bad: 'bg-down-soft text-down ring-down/25',
  warn: 'bg-warn-soft text-warn ring-warn/25',
};

export function Badge({ tone = 'neutral', children }: { tone?: Tone; children: ReactNode }) {
  return (
    <span
      className={`inline-flex h-[1.125rem] items-center gap-1 rounded px-1.5 text-2xs font-semibold whitespace-nowrap ring-1 ring-inset ${TONES[tone]}`}
    >
      {children}
    </span>
  );
}

const DOTS: Record<Tone, string> = {
  neutral: 'bg-ink-3',
  accent: 'bg-accent',
  good: 'bg-up',
  bad: 'bg-down',
  warn: 'bg-warn',
};

/** A coloured dot; the word beside it says the same. */
export function Dot({ tone }: { tone: Tone }) {
  return <span aria-hidden className={`inline-block size-2 shrink-0 rounded-full ${DOTS[tone]}`} />;
}
