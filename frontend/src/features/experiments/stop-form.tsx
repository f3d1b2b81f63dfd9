'use client';

import { useState } from 'react';
import { useTranslations } from 'use-intl';

import { api, problemOfError, unwrap } from '@/api/client';
import type { Problem } from '@/api/problem';
import type { ExperimentItem } from '@/api/types';
import { Button } from '@/ui/button';
import { ProblemBox } from '@/ui/problem-box';

/** Asks before an experiment is stopped: what it has computed so far is lost. */
export function StopForm({ item, onDone }: { item: ExperimentItem; onDone: () => void }) {
  const t = useTranslations('experiments.stopForm');
  const [problem, setProblem] = useState<Problem>();
  const [sending, setSending] = useState(false);

  const stop = async () => {
    setSending(true);
    setProblem(undefined);
    try {
      const params = { path: { id: item.id } };
      await unwrap(api.POST('/ml/experiments/{id}/actions', { params, body: { action: 'stop', reason: t('reason') } }));
      onDone();
    } catch (error) {
      setProblem(problemOfError(error));
      setSending(false);
    }
  };

  return (
    <div className="flex flex-col gap-3">
      <p className="text-xs text-ink-2">{t('question', { name: item.name, id: item.id })}</p>
      {problem && <ProblemBox problem={problem} urgent />}
      <div className="flex justify-end gap-2">
        <Button onClick={onDone}>{t('cancel')}</Button>
        <Button look="primary" disabled={sending} onClick={() => void stop()}>
          {t('confirm')}
        </Button>
      </div>
    </div>
  );
}
