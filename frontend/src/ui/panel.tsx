'use client';

import { type ReactNode, useId } from 'react';
import { useTranslations } from 'use-intl';

import type { Problem } from '@/api/problem';
import type { Live } from '@/live/hooks';
import { useFormats } from '@/view/formats';

import { Dot } from './badge';
import { Icon } from './icon';
import { ProblemBox, useProblemTexts } from './problem-box';

interface EmptyText {
  /** Why there is nothing. */
  reason: string;
  /** What to do, or what will happen. */
  next: string;
}

/**
 * A panel in every state: a skeleton of its size while loading, an error where there is nothing to show, and
 * what it has otherwise, dimmed with its time where that is old. A lost connection never empties it.
 */
export function Panel({
  title,
  live,
  actions,
  skeleton,
  empty,
  className = '',
  bodyClassName = '',
  children,
}: {
  title: string;
  live: Live<unknown>;
  actions?: ReactNode;
  skeleton: ReactNode;
  /** Given where there are data and nothing in them. */
  empty?: EmptyText | null;
  className?: string;
  bodyClassName?: string;
  children: ReactNode;
}) {
  const id = useId();
  const t = useTranslations('panel');
  return (
    <section
      aria-labelledby={id}
      data-status={live.status}
      className={`flex min-w-0 flex-col rounded-lg border border-line bg-panel shadow-[0_1px_2px_var(--shade)] ${className}`}
    >
      <header className="flex min-h-11 flex-wrap items-center gap-x-3 gap-y-1.5 px-3 py-2">
        <h2 id={id} className="text-[0.8125rem] font-semibold tracking-tight">
          {title}
        </h2>
        <StatusTag live={live} />
        <div className="ml-auto flex flex-wrap items-center justify-end gap-2">{actions}</div>
      </header>
      <div
        aria-busy={live.status === 'loading'}
        className={`flex min-h-0 flex-1 flex-col ${live.status === 'stale' ? 'stale' : ''} ${bodyClassName}`}
      >
        {live.status === 'loading' && (
          <>
            <span className="sr-only">{t('loading')}</span>
            {skeleton}
          </>
        )}
        {live.status === 'error' && (
          <div className="grid flex-1 place-items-center p-3">
            {live.problem && <ProblemBox problem={live.problem} onRetry={live.retry} />}
          </div>
        )}
        {live.data !== undefined && (empty ? <Empty {...empty} /> : children)}
      </div>
    </section>
  );
}

function StatusTag({ live }: { live: Live<unknown> }) {
  const t = useTranslations('panel');
  const formats = useFormats();
  if (live.status === 'loading' || live.status === 'error') return null;
  if (live.status === 'live') {
    return (
      <span title={t('liveHint')} className="inline-flex items-center">
        <Dot tone="good" />
        <span className="sr-only">{t('live')}</span>
      </span>
    );
  }
  const stale = live.status === 'stale';
  return (
    <span className={`inline-flex items-center gap-1.5 text-2xs ${stale ? 'text-warn' : 'text-ink-2'}`}>
      <Dot tone={stale ? 'warn' : 'accent'} />
      {stale ? t('asOf', { time: formats.time(live.asOfMs) }) : t('polling')}
      {stale && live.problem && <StaleReason problem={live.problem} retry={live.retry} />}
    </span>
  );
}

/** In the header's line, so that the panel keeps its size. */
function StaleReason({ problem, retry }: { problem: Problem; retry: () => void }) {
  const t = useTranslations('problem');
  const texts = useProblemTexts(problem);
  return (
    <>
      <span className="hidden max-w-52 truncate 2xl:inline" title={`${texts.title}: ${texts.actual}`}>
        · {texts.title}
      </span>
      <button
        type="button"
        onClick={retry}
        title={`${texts.title}: ${texts.actual}. ${texts.remedy}`}
        className="h-6 min-w-6 rounded px-1 font-medium underline"
      >
        {t('retry')}
      </button>
    </>
  );
}

function Empty({ reason, next }: EmptyText) {
  return (
    <div className="grid flex-1 place-items-center p-6 text-center">
      <div className="max-w-xs">
        <Icon name="empty" size={24} className="mx-auto mb-2 text-ink-3" />
        <p className="font-medium">{reason}</p>
        <p className="mt-1 text-ink-2">{next}</p>
      </div>
    </div>
  );
}

/** Rows of a table that is not there yet. */
export function SkeletonRows({ rows, height = 'h-4' }: { rows: number; height?: string }) {
  return (
    <div aria-hidden className="flex flex-col gap-3 px-3 py-2">
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} className={`skeleton ${height}`} style={{ width: `${92 - ((index * 13) % 24)}%` }} />
      ))}
    </div>
  );
}
