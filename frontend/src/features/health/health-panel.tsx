'use client';

import { useTranslations } from 'use-intl';

import type { DataStatus, ServiceState, SymbolStatus } from '@/api/types';
import { priceDecimals } from '@/format/number';
import { DATA } from '@/live/channels';
import { useChannel } from '@/live/hooks';
import { Badge, Dot } from '@/ui/badge';
import { Icon } from '@/ui/icon';
import { Panel, SkeletonRows } from '@/ui/panel';
import { PANEL_HEIGHT } from '@/ui/sizes';
import { useFormats } from '@/view/formats';

import { serviceTone } from './service-tone';

/** Whether every part is there, every symbol moves, and nothing was thrown out on the way. */
export function HealthPanel({ className = '' }: { className?: string }) {
  const t = useTranslations('health');
  const live = useChannel<DataStatus>(DATA);
  const { data } = live;
  return (
    <Panel
      title={t('title')}
      live={live}
      className={`${PANEL_HEIGHT.signals} ${className}`}
      bodyClassName="gap-4 px-3 pb-3"
      skeleton={<SkeletonRows rows={12} />}
    >
      {data && (
        <>
          <Problems problems={data.problems} />
          <Symbols symbols={data.symbols} />
          <Services services={data.services} />
          <DeadLetters counts={data.dlq} />
        </>
      )}
    </Panel>
  );
}

function Problems({ problems }: { problems: string[] }) {
  const t = useTranslations('health');
  if (problems.length === 0) return null;
  return (
    <div role="alert" className="rounded-md bg-down-soft p-2 text-xs text-down">
      <p className="flex items-center gap-1.5 font-semibold">
        <Icon name="alert" size={14} /> {t('problems')}
      </p>
      <ul className="mt-1 list-inside list-disc break-words">
        {problems.map((problem) => (
          <li key={problem}>{problem}</li>
        ))}
      </ul>
    </div>
  );
}

function Heading({ children }: { children: string }) {
  return <h3 className="mb-1 text-2xs font-semibold tracking-wide text-ink-3 uppercase">{children}</h3>;
}

function Symbols({ symbols }: { symbols: SymbolStatus[] }) {
  const t = useTranslations('health');
  const formats = useFormats();
  if (symbols.length === 0) return <p className="text-ink-2">{t('noSymbols')}</p>;
  return (
    <div>
      <Heading>{t('symbols')}</Heading>
      <table className="w-full text-right text-xs">
        <thead className="text-2xs text-ink-3">
          <tr className="border-b border-line [&>th]:py-1 [&>th]:pl-2 [&>th]:font-medium">
            <th scope="col" className="!pl-0 text-left">
              {t('symbol')}
            </th>
            <th scope="col">{t('last')}</th>
            <th scope="col">{t('ticksPerS')}</th>
            <th scope="col">{t('lag')}</th>
            <th scope="col">{t('session')}</th>
          </tr>
        </thead>
        <tbody>
          {symbols.map((symbol) => (
            <tr key={symbol.symbol} className="border-b border-line last:border-0 [&>*]:py-1.5 [&>*]:pl-2">
              <th scope="row" className="!pl-0 text-left font-semibold">
                <span className="block">{symbol.symbol}</span>
                <span className="block text-2xs leading-3 font-normal text-ink-3">
                  {t('counts', { bars: formats.count(symbol.bars), signals: formats.count(symbol.signals) })}
                </span>
              </th>
              <td>
                {symbol.last_price === null ? '–' : formats.price(symbol.last_price, priceDecimals([symbol.last_price]))}
              </td>
              <td>{formats.rate(symbol.ticks_per_s)}</td>
              <td className={isStalled(symbol) ? 'text-warn' : ''}>
                {symbol.lag_s === null ? '–' : formats.delay(symbol.lag_s * 1_000)}
              </td>
              <td>
                <SessionState symbol={symbol} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** No print for long although the session is open; silence in a closed session is as it should be. */
function isStalled(symbol: SymbolStatus): boolean {
  return symbol.session_open && symbol.lag_s !== null && symbol.lag_s > 30;
}

function SessionState({ symbol }: { symbol: SymbolStatus }) {
  const t = useTranslations('health');
  if (symbol.halted) {
    return (
      <span title={symbol.halt_reason}>
        <Badge tone="bad">{t('halted')}</Badge>
      </span>
    );
  }
  if (isStalled(symbol)) return <Badge tone="warn">{t('stalled')}</Badge>;
  return <Badge tone={symbol.session_open ? 'good' : 'neutral'}>{symbol.session_open ? t('open') : t('closed')}</Badge>;
}

function Services({ services }: { services: ServiceState[] }) {
  const t = useTranslations('health');
  const troubled = services.filter((service) => !service.up || !service.ready);
  return (
    <div>
      <Heading>{t('services')}</Heading>
      <ul className="flex flex-wrap gap-1.5">
        {services.map((service) => (
          <li
            key={service.name}
            className="inline-flex h-6 items-center gap-1.5 rounded-md border border-line px-2 text-xs"
            title={service.detail}
          >
            <Dot tone={serviceTone(service)} />
            {service.name}
            <span className={service.up && service.ready ? 'sr-only' : 'text-ink-3'}>
              {!service.up ? t('down') : service.ready ? t('ready') : t('notReady')}
            </span>
          </li>
        ))}
      </ul>
      {troubled.length > 0 && (
        <ul className="mt-2 flex flex-col gap-1 text-xs text-ink-2">
          {troubled.map(
            (service) =>
              service.detail && (
                <li key={service.name} className="break-words">
                  <span className="font-medium text-ink">{service.name}</span>: {service.detail}
                </li>
              ),
          )}
        </ul>
      )}
    </div>
  );
}

function DeadLetters({ counts }: { counts: DataStatus['dlq'] }) {
  const t = useTranslations('health');
  const formats = useFormats();
  const some = counts.filter((entry) => entry.count > 0);
  return (
    <div>
      <Heading>{t('deadLetters')}</Heading>
      {some.length === 0 ? (
        <p className="flex items-center gap-1.5 text-xs text-ink-2">
          <Icon name="check" size={14} className="text-up" /> {t('noDeadLetters', { n: counts.length })}
        </p>
      ) : (
        <>
          <ul className="text-xs">
            {some.map((entry) => (
              <li key={entry.topic} className="flex justify-between gap-3">
                <span className="min-w-0 truncate font-mono">{entry.topic}</span>
                <span className="font-semibold text-down">{formats.count(entry.count)}</span>
              </li>
            ))}
          </ul>
          <p className="mt-1 text-2xs text-ink-3">{t('deadLettersNext')}</p>
        </>
      )}
    </div>
  );
}
