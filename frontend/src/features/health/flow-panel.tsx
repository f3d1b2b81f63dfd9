'use client';

import { useTranslations } from 'use-intl';

import type { DataStatus, ServiceState } from '@/api/types';
import { DATA } from '@/live/channels';
import { useChannel } from '@/live/hooks';
import { Dot } from '@/ui/badge';
import { Icon } from '@/ui/icon';
import { Panel } from '@/ui/panel';
import { PANEL_HEIGHT } from '@/ui/sizes';
import { useFormats } from '@/view/formats';

import { serviceTone } from './service-tone';
import { TapeClock } from './tape-clock';

/** A stage of the flow and the service that makes it. */
const STAGES = [
  { name: 'ticks', service: 'ingest', rate: 'ticks_per_s' },
  { name: 'bars', service: 'bars', rate: 'bars_per_s' },
  { name: 'features', service: 'features', rate: 'features_per_s' },
  { name: 'signals', service: 'inference', rate: 'signals_per_s' },
] as const;

/** The way of the data from left to right, with what flows now and what has flowed in all. */
export function FlowPanel({ className = '' }: { className?: string }) {
  const t = useTranslations('flow');
  const live = useChannel<DataStatus>(DATA);
  const { data } = live;
  return (
    <Panel
      title={t('title')}
      live={live}
      actions={data && <TapeClock status={data} />}
      className={`${PANEL_HEIGHT.flow} ${className}`}
      skeleton={
        <div aria-hidden className="grid grid-cols-2 gap-3 px-3 pb-3 sm:grid-cols-4 lg:grid-cols-6">
          {Array.from({ length: 6 }, (_, index) => (
            <div key={index} className="skeleton h-17" />
          ))}
        </div>
      }
    >
      {data && <Flow data={data} />}
    </Panel>
  );
}

function Flow({ data }: { data: DataStatus }) {
  return (
    <div className="grid flex-1 gap-px overflow-hidden rounded-b-lg border-t border-line bg-line lg:grid-cols-[2fr_1fr]">
      <ol className="grid grid-cols-2 gap-px sm:grid-cols-4">
        {STAGES.map((stage, index) => (
          <Stage
            key={stage.name}
            name={stage.name}
            rate={data.rates[stage.rate]}
            total={data.totals[stage.name]}
            service={data.services.find((service) => service.name === stage.service)}
            last={index === STAGES.length - 1}
          />
        ))}
      </ol>
      <div className="grid grid-cols-[2fr_1fr] gap-px">
        <Latency {...data.latency_ms} />
        <Dead data={data} />
      </div>
    </div>
  );
}

function Stage({
  name,
  rate,
  total,
  service,
  last,
}: {
  name: (typeof STAGES)[number]['name'];
  rate: number;
  total: number;
  service: ServiceState | undefined;
  last: boolean;
}) {
  const t = useTranslations('flow');
  const formats = useFormats();
  return (
    <li className="relative bg-panel px-3 py-2">
      <p className="flex items-center gap-1.5 text-xs text-ink-2">
        {service && <Dot tone={serviceTone(service)} />}
        {t(name)}
        {service && <span className="sr-only">{t('service', { name: service.name, state: stateOf(service) })}</span>}
      </p>
      <p className="mt-0.5 text-xl leading-7 font-semibold tracking-tight" data-rate={name}>
        {formats.rate(rate)}
        <span className="ml-1 text-xs font-normal text-ink-3">{t('perSecond')}</span>
      </p>
      <p className="text-2xs text-ink-3">{t('total', { n: formats.count(total) })}</p>
      {!last && (
        <Icon
          name="arrow"
          size={14}
          className="absolute top-1/2 right-0 z-10 hidden translate-x-1/2 -translate-y-1/2 rounded-full bg-panel text-ink-3 sm:block"
        />
      )}
    </li>
  );
}

function stateOf(service: ServiceState): 'ready' | 'up' | 'down' {
  return !service.up ? 'down' : service.ready ? 'ready' : 'up';
}

function Latency({ p50, p95, p99, n }: DataStatus['latency_ms']) {
  const t = useTranslations('flow');
  const formats = useFormats();
  const parts = [
    ['p50', p50, 'bg-accent'],
    ['p95', p95, 'bg-accent/60'],
    ['p99', p99, 'bg-accent/30'],
  ] as const;
  const widest = Math.max(p99 ?? 0, p95 ?? 0, p50 ?? 0);
  return (
    <div className="bg-panel px-3 py-2">
      <p className="text-xs text-ink-2">{t('latency')}</p>
      {n === 0 || p50 === null ? (
        <p className="mt-1 text-2xs text-ink-3">{t('noLatency')}</p>
      ) : (
        <dl className="mt-1 grid grid-cols-[auto_1fr_auto] items-center gap-x-2 text-2xs">
          {parts.map(([name, value, colour]) => (
            <div key={name} className="contents">
              <dt className="text-ink-3">{name}</dt>
              <dd aria-hidden className="h-1.5 rounded-full bg-raised">
                <div
                  className={`h-full rounded-full ${colour}`}
                  style={{ width: `${widest > 0 ? (100 * (value ?? 0)) / widest : 0}%` }}
                />
              </dd>
              <dd className="text-right font-medium" data-latency={name}>
                {value === null ? '–' : `${formats.ms(value)} ms`}
              </dd>
            </div>
          ))}
        </dl>
      )}
    </div>
  );
}

function Dead({ data }: { data: DataStatus }) {
  const t = useTranslations('flow');
  const formats = useFormats();
  const dead = data.totals.dead;
  return (
    <div className="bg-panel px-3 py-2">
      <p className="text-xs text-ink-2">{t('dead')}</p>
      <p className={`mt-0.5 text-xl leading-7 font-semibold tracking-tight ${dead > 0 ? 'text-down' : ''}`}>
        {formats.count(dead)}
      </p>
      <p className="text-2xs text-ink-3">{dead > 0 ? t('deadSome') : t('deadNone')}</p>
    </div>
  );
}
