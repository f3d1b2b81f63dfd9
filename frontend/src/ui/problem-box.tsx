'use client';

import { useTranslations } from 'use-intl';

import { BAD_ANSWER, LOGIN_REQUIRED, type Problem, UNREACHABLE } from '@/api/problem';

import { Button } from './button';
import { Icon } from './icon';

/** The texts of a problem: the gateway's own, or the page's where the gateway said nothing. */
export function useProblemTexts(problem: Problem): Pick<Problem, 'title' | 'expected' | 'actual' | 'remedy'> {
  const t = useTranslations('problem');
  if (problem.code !== UNREACHABLE && problem.code !== BAD_ANSWER) {
    return { ...problem, title: problem.title || t('other', { code: problem.code }) };
  }
  return {
    title: t(`${problem.code}.title`),
    expected: t(`${problem.code}.expected`),
    actual: problem.actual,
    remedy: t(`${problem.code}.remedy`),
  };
}

/** What was expected, what came, and what helps. */
export function ProblemBox({
  problem,
  onRetry,
  urgent = false,
}: {
  problem: Problem;
  onRetry?: () => void;
  /** An answer to what the reader just did; told at once. */
  urgent?: boolean;
}) {
  const t = useTranslations('problem');
  const texts = useProblemTexts(problem);
  return (
    <div role={urgent ? 'alert' : undefined} className="w-full max-w-md rounded-md border border-down/30 bg-down-soft/60 p-3 text-left">
      <p className="flex items-center gap-2 font-semibold text-down">
        <Icon name="alert" /> {texts.title}
      </p>
      <dl className="mt-2 grid grid-cols-[auto_1fr] gap-x-3 gap-y-0.5 text-xs">
        {(['expected', 'actual', 'remedy'] as const).map(
          (name) =>
            texts[name] && (
              <div key={name} className="contents">
                <dt className="text-ink-2">{t(name)}</dt>
                <dd className="min-w-0 break-words text-ink">{texts[name]}</dd>
              </div>
            ),
        )}
      </dl>
      {(onRetry || problem.code === LOGIN_REQUIRED) && (
        <div className="mt-3 flex gap-2">
          {problem.code === LOGIN_REQUIRED && (
            <a
              className="inline-flex h-7 items-center rounded-md bg-accent px-2.5 text-xs font-medium text-panel"
              href={`/auth/login?next=${encodeURIComponent('/dashboard/ai-lab/')}`}
            >
              {t('login')}
            </a>
          )}
          {onRetry && (
            <Button onClick={onRetry}>
              <Icon name="retry" size={14} /> {t('retry')}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}
