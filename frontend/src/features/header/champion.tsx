'use client';

import { useEffect, useState } from 'react';
import { useTranslations } from 'use-intl';

import { api, problemOfError, unwrap } from '@/api/client';
import type { Problem } from '@/api/problem';
import type { DataStatus, ModelDetail, PointerItem } from '@/api/types';
import { DATA } from '@/live/channels';
import { useChannel } from '@/live/hooks';
import { Badge, type Tone } from '@/ui/badge';
import { Dialog } from '@/ui/dialog';
import { GateChecklist } from '@/ui/gate-checklist';
import { ProblemBox } from '@/ui/problem-box';
import { useFormats } from '@/view/formats';

const MODES: Record<PointerItem['mode'], Tone> = { live: 'good', canary: 'accent', shadow: 'warn' };

/** The model that decides; where none may, the one that is watched, and why it is only watched. */
export function Champion() {
  const t = useTranslations('champion');
  const mode = useTranslations('mode');
  const { data } = useChannel<DataStatus>(DATA);
  const [open, setOpen] = useState(false);
  if (data === undefined) return <div aria-hidden className="skeleton h-4 w-48" />;
  const pointer = data.champion ?? data.challenger;
  if (pointer === null) {
    return (
      <p className="min-w-0 text-ink-2" data-champion="none">
        {t('none')}
      </p>
    );
  }
  return (
    <div className="flex min-w-0 items-center gap-2" data-champion={pointer.mode}>
      <span className="hidden text-ink-3 sm:inline">{data.champion ? t('champion') : t('challenger')}</span>
      <button
        type="button"
        onClick={() => setOpen(true)}
        title={t('details')}
        className="flex min-h-6 min-w-0 items-center gap-2 rounded hover:[&>span:first-child]:underline"
      >
        <span className="min-w-0 truncate font-mono text-xs font-semibold">{pointer.model_id}</span>
        <Badge tone={MODES[pointer.mode]}>{mode(pointer.mode)}</Badge>
        {pointer.mode === 'shadow' && <span className="text-xs whitespace-nowrap text-warn underline">{t('why')}</span>}
      </button>
      <Dialog open={open} onClose={() => setOpen(false)} title={pointer.model_id} closeLabel={t('close')}>
        <Details pointer={pointer} />
      </Dialog>
    </div>
  );
}

function Details({ pointer }: { pointer: PointerItem }) {
  const t = useTranslations('champion');
  const formats = useFormats();
  const [model, setModel] = useState<ModelDetail>();
  const [problem, setProblem] = useState<Problem>();
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    const round = new AbortController();
    unwrap(
      api.GET('/ml/models/{model_id}', { params: { path: { model_id: pointer.model_id } }, signal: round.signal }),
    ).then(
      (found) => {
        setModel(found);
        setProblem(undefined);
      },
      (error: unknown) => {
        if (!round.signal.aborted) setProblem(problemOfError(error));
      },
    );
    return () => round.abort();
  }, [pointer.model_id, pointer.version, attempt]);
  const facts: [string, string][] = [
    [t('role'), t(pointer.role)],
    [t('since'), formats.timeNs(pointer.set_ns, 'dateTime')],
    [t('digest'), pointer.digest.slice(0, 16)],
  ];
  if (model) {
    facts.push(
      [t('architecture'), `${model.architecture} · ${model.kind}`],
      [t('inputs'), `${model.bar_spec} · ${model.feature_set}`],
      [t('backend'), model.backend],
    );
  }
  return (
    <div className="flex flex-col gap-3">
      <p className={pointer.mode === 'shadow' ? 'text-warn' : 'text-ink-2'}>{t(`about.${pointer.mode}`)}</p>
      <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1 text-xs sm:grid-cols-[auto_1fr_auto_1fr]">
        {facts.map(([name, value]) => (
          <div key={name} className="contents">
            <dt className="text-ink-3">{name}</dt>
            <dd className="min-w-0 break-words">{value}</dd>
          </div>
        ))}
      </dl>
      {problem && <ProblemBox problem={problem} onRetry={() => setAttempt((n) => n + 1)} />}
      {!model && !problem && <div aria-hidden className="skeleton h-40" />}
      {model?.gate && (
        <div>
          <h3 className="text-xs font-semibold">{t('gate')}</h3>
          <GateChecklist rules={model.gate.rules} />
        </div>
      )}
      {model && !model.gate && <p className="text-ink-2">{model.history[0]?.reason ?? t('noGate')}</p>}
    </div>
  );
}
