'use client';

import { parseAsNumberLiteral, parseAsString, parseAsStringLiteral, useQueryStates } from 'nuqs';

export const LOCALES = ['en', 'pt-BR'] as const;
export type Locale = (typeof LOCALES)[number];

export const WINDOWS = [100, 250, 500] as const;

const PARSERS = {
  /** Symbol of the price chart; without it the first one. */
  sym: parseAsString,
  /** Bars shown. */
  n: parseAsNumberLiteral(WINDOWS).withDefault(250),
  /** The same figures as a picture or as text. */
  view: parseAsStringLiteral(['chart', 'table']).withDefault('chart'),
  tz: parseAsStringLiteral(['exchange', 'utc', 'browser']).withDefault('exchange'),
  lang: parseAsStringLiteral(LOCALES),
};

/** The view lives in the address, so that it can be shared and kept. */
export function useView() {
  return useQueryStates(PARSERS, { history: 'replace' });
}
