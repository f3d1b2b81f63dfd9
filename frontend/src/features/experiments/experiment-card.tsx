'use client';

import { memo } from 'react';
import { useTranslations } from 'use-intl';

import type { ExperimentItem } from '@/api/types';
import { nsToMs } from '@/format/time';
import { Badge, type Tone } from '@/ui/badge';
import { Button } from '@/ui/button';
import { GateChecklist } from '@/ui/gate-checklist';
import { Icon } from '@/ui/icon';
import { useFormats } from '@/view/formats';

const TONES: Record<ExperimentItem['status'], Tone> = {
  queued: 'neutral',
  running: 'accent',
  done: 'good',
  failed: 'bad',
  stopped: 'warn',
};

export const ExperimentCard = memo(function ExperimentCard({
  item,
  open,
  onStop,
}: {
  item: ExperimentItem;
  open: boolean;
  onStop: (item: ExperimentItem) => void;
}) {
  const t = useTranslations('experiments');
  const formats = useFormats();
  const running = item.status === 'running' || item.status === 'queued';
  const wall = nsToMs(item.updated_ns) - nsToMs(item.created_ns);
  return (
    <li className="px-3 py-2.5" data-experiment={item.id} data-experiment-status={item.status}>
      <div className="flex items-center gap-2">
        <h3 className="min-w-0 flex-1 truncate font-semibold" title={item.id}>
          {item.name}
        </h3>
        {running && (
          <Button look="quiet" aria-label={t('stopNamed', { name: item.name })} onClick={() => onStop(item)}>
            {t('stop')}
          </Button>
        )}
        <Badge tone={TONES[item.status]}>{t(`status.${item.status}`)}</Badge>
      </div>
      <p className="mt-0.5 flex flex-wrap gap-x-2 text-2xs text-ink-3">
        <span title={formats.exactNs(item.created_ns)}>{formats.timeNs(item.created_ns, 'dateTime')}</span>
        <span>{running ? t('runningFor', { age: formats.age(wall) }) : t('took', { age: formats.age(wall) })}</span>
        {item.model_id && (
          <span className="min-w-0 truncate font-mono" title={item.model_id}>
            {item.model_id}
          </span>
        )}
      </p>
      {running && <Progress value={item.progress} stage={item.stage} queued={item.status === 'queued'} />}
      {item.error && (
        <p className="mt-1.5 flex gap-1.5 rounded bg-down-soft px-2 py-1 text-xs break-words text-down">
          <Icon name="alert" size={14} className="mt-px" />
          <span className="min-w-0">
            {item.stage && item.status === 'failed' && <span className="font-medium">{item.stage}: </span>}
            {item.error}
          </span>
        </p>
      )}
      {item.gate && <GateResult gate={item.gate} open={open} />}
    </li>
  );
});

function Progress({ value, stage, queued }: { value: number; stage: string; queued: boolean }) {
  const t = useTranslations('experiments');
  const formats = useFormats();
  const text = queued ? t('waiting') : stage || t('starting');
  return (
    <div className="mt-2">
      <div className="mb-1 flex justify-between gap-2 text-xs text-ink-2">
        <span className="min-w-0 truncate">{text}</span>
        {!queued && <span>{formats.percent(value)}</span>}
      </div>
      <div
        role="progressbar"
        aria-label={text}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(value * 100)}
        className="h-1.5 overflow-hidden rounded-full bg-line"
      >
        <div className="h-full rounded-full bg-accent transition-[width] duration-500" style={{ width: `${value * 100}%` }} />
      </div>
    </div>
  );
}

function GateResult({ gate, open }: { gate: NonNullable<ExperimentItem['gate']>; open: boolean }) {
  const t = useTranslations('experiments');
  const held = gate.rules.filter((rule) => rule.passed).length;
  return (
    <details open={open} className="group mt-1.5">
      <summary className="flex min-h-6 list-none items-center gap-1.5 rounded text-xs">
        <Icon name="chevron" size={12} className="-rotate-90 text-ink-3 transition-transform group-open:rotate-0" />
        <span className={`font-medium ${gate.passed ? 'text-up' : 'text-warn'}`}>
          {gate.passed ? t('gatePassed') : t('gateRefused')}
        </span>
        <span className="text-ink-3">{t('gateCount', { held, of: gate.rules.length })}</span>
      </summary>
      <div className="pl-1">
        <GateChecklist rules={gate.rules} />
      </div>
    </details>
  );
}
