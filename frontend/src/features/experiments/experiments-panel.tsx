'use client';

import { useState } from 'react';
import { useTranslations } from 'use-intl';

import type { ExperimentItem, Items } from '@/api/types';
import { EXPERIMENTS } from '@/live/channels';
import { useChannel } from '@/live/hooks';
import { Button } from '@/ui/button';
import { Dialog } from '@/ui/dialog';
import { Icon } from '@/ui/icon';
import { Panel } from '@/ui/panel';
import { PANEL_HEIGHT } from '@/ui/sizes';

import { ExperimentCard } from './experiment-card';
import { RunForm } from './run-form';
import { StopForm } from './stop-form';

/** Cards shown; older experiments are behind a button. */
const SHOWN = 20;

/** What trains, how far it is, and what the gate said. */
export function ExperimentsPanel({ className = '' }: { className?: string }) {
  const t = useTranslations('experiments');
  const live = useChannel<Items<ExperimentItem>>(EXPERIMENTS);
  const [asking, setAsking] = useState(false);
  const [stopping, setStopping] = useState<ExperimentItem>();
  const [all, setAll] = useState(false);
  const items = live.data?.items;
  // The newest verdict is the one that matters; it is open from the start.
  const judged = items?.find((item) => item.gate !== null)?.id;
  const shown = all ? items : items?.slice(0, SHOWN);
  return (
    <Panel
      title={t('title')}
      live={live}
      className={`${PANEL_HEIGHT.prices} ${className}`}
      skeleton={<CardsSkeleton />}
      empty={items?.length === 0 ? { reason: t('empty'), next: t('emptyNext') } : null}
      actions={
        <Button look="primary" onClick={() => setAsking(true)}>
          <Icon name="flask" size={14} /> {t('run')}
        </Button>
      }
    >
      <div
        role="group"
        aria-label={t('title')}
        tabIndex={0}
        className="max-h-[36rem] min-h-0 flex-1 overflow-auto border-t border-line xl:max-h-none xl:[contain:size]"
      >
        <ul className="divide-y divide-line">
          {shown?.map((item) => <ExperimentCard key={item.id} item={item} open={item.id === judged} onStop={setStopping} />)}
        </ul>
        {items && items.length > SHOWN && (
          <div className="p-2 text-center">
            <Button onClick={() => setAll(!all)}>{all ? t('fewer') : t('more', { n: items.length - SHOWN })}</Button>
          </div>
        )}
      </div>
      <Dialog open={asking} onClose={() => setAsking(false)} title={t('form.title')} closeLabel={t('form.close')}>
        <RunForm onDone={() => setAsking(false)} />
      </Dialog>
      <Dialog
        open={stopping !== undefined}
        onClose={() => setStopping(undefined)}
        title={t('stopForm.title')}
        closeLabel={t('form.close')}
      >
        {stopping && <StopForm item={stopping} onDone={() => setStopping(undefined)} />}
      </Dialog>
    </Panel>
  );
}

function CardsSkeleton() {
  return (
    <div aria-hidden className="flex flex-col gap-4 border-t border-line p-3">
      {[0, 1, 2].map((index) => (
        <div key={index} className="flex flex-col gap-2">
          <div className="skeleton h-4 w-2/3" />
          <div className="skeleton h-1.5" />
          <div className="skeleton h-4 w-1/3" />
        </div>
      ))}
    </div>
  );
}
