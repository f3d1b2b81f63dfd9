'use client';

import { NuqsAdapter } from 'nuqs/adapters/next/app';
import { useTranslations } from 'use-intl';

import { ExperimentsPanel } from '@/features/experiments/experiments-panel';
import { Header } from '@/features/header/header';
import { FlowPanel } from '@/features/health/flow-panel';
import { HealthPanel } from '@/features/health/health-panel';
import { PricesPanel } from '@/features/prices/prices-panel';
import { SignalsPanel } from '@/features/signals/signals-panel';
import { ViewProvider } from '@/view/intl';

/** The page: what runs, what it says, what it costs, and whether the data are sound. */
export function AiLab() {
  return (
    <NuqsAdapter>
      <ViewProvider>
        <Body />
      </ViewProvider>
    </NuqsAdapter>
  );
}

function Body() {
  const t = useTranslations('page');
  return (
    <>
      <a
        href="#content"
        className="absolute top-2 left-2 z-50 -translate-y-20 rounded bg-panel px-3 py-2 text-accent focus:translate-y-0"
      >
        {t('skip')}
      </a>
      <Header />
      <main id="content" className="mx-auto grid max-w-[112rem] grid-cols-1 gap-3 p-3 md:grid-cols-2 xl:grid-cols-12">
        <FlowPanel className="md:col-span-2 xl:col-span-12" />
        <PricesPanel className="md:col-span-2 xl:col-span-8" />
        <SignalsPanel className="md:col-span-2 xl:col-span-8 xl:row-start-3" />
        <ExperimentsPanel className="xl:col-span-4 xl:col-start-9 xl:row-start-2" />
        <HealthPanel className="xl:col-span-4 xl:col-start-9 xl:row-start-3" />
      </main>
    </>
  );
}
