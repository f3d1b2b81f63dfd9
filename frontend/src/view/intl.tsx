'use client';

import { type ReactNode, useEffect } from 'react';
import { IntlProvider } from 'use-intl';

import en from '@messages/en.json';
import ptBR from '@messages/pt-BR.json';

import type { DataStatus } from '@/api/types';
import { resolveZone } from '@/format/time';
import { DATA } from '@/live/channels';
import { useChannel } from '@/live/hooks';

import { LOCALES, type Locale, useView } from './state';
import { readStored } from './stored';

const MESSAGES: Record<Locale, typeof en> = { en, 'pt-BR': ptBR };

export function useChosenLocale(): Locale {
  const [{ lang }] = useView();
  const stored = readStored('lang');
  return lang ?? LOCALES.find((locale) => locale === stored) ?? 'en';
}

/** Language and time zone of everything inside. */
export function ViewProvider({ children }: { children: ReactNode }) {
  const locale = useChosenLocale();
  const [{ tz }] = useView();
  const { data } = useChannel<DataStatus>(DATA);
  const exchanges = data?.symbols.map((symbol) => symbol.exchange) ?? [];
  const zone = resolveZone(tz, exchanges, Intl.DateTimeFormat().resolvedOptions().timeZone);
  useEffect(() => {
    document.documentElement.lang = locale;
  }, [locale]);
  return (
    <IntlProvider locale={locale} messages={MESSAGES[locale]} timeZone={zone}>
      {children}
    </IntlProvider>
  );
}
