'use client';

import { useTranslations } from 'use-intl';

import { useConnection } from '@/live/hooks';
import { Dot, type Tone } from '@/ui/badge';
import { useProblemTexts } from '@/ui/problem-box';
import { useFormats } from '@/view/formats';
import type { Problem } from '@/api/problem';

const TONES: Record<string, Tone> = { live: 'good', polling: 'accent', connecting: 'neutral', stale: 'warn' };

/** How the page is fed, and when it last heard anything. Told to a screen reader when the state changes. */
export function ConnectionState() {
  const t = useTranslations('connection');
  const { status, ageMs, problem } = useConnection();
  const formats = useFormats();
  return (
    <div
      data-connection={status}
      title={t(`${status}Hint`)}
      className="inline-flex h-7 items-center gap-1.5 rounded-md border border-line px-2 text-xs"
    >
      <Dot tone={TONES[status] ?? 'neutral'} />
      <span role="status" className="font-medium">
        {t(status)}
      </span>
      {status !== 'connecting' && (
        <span className="min-w-9 text-right text-ink-3">{ageMs < 3_000 ? t('now') : formats.age(ageMs)}</span>
      )}
      {problem && <ConnectionProblem problem={problem} />}
    </div>
  );
}

function ConnectionProblem({ problem }: { problem: Problem }) {
  const texts = useProblemTexts(problem);
  return (
    <span role="alert" className="text-down" title={`${texts.expected} · ${texts.actual} · ${texts.remedy}`}>
      {texts.title}
    </span>
  );
}
