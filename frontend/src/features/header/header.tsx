'use client';

import { useTranslations } from 'use-intl';

import { Champion } from './champion';
import { ConnectionState } from './connection-state';
import { LanguageToggle, ThemeToggle, ZoneSelect } from './controls';

export function Header() {
  const t = useTranslations('page');
  return (
    <header className="z-20 border-b border-line bg-panel md:sticky md:top-0">
      <div className="mx-auto flex max-w-[112rem] flex-wrap items-center gap-x-4 gap-y-2 px-3 py-2 md:min-h-14 md:px-4">
        <h1 className="flex items-center gap-2 text-sm font-semibold tracking-tight">
          <Logo />
          <span>
            tapelab <span className="font-normal text-ink-3">/</span> {t('title')}
          </span>
        </h1>
        <span aria-hidden className="hidden h-6 w-px bg-line md:block" />
        <Champion />
        <div className="ml-auto flex flex-wrap items-center gap-2">
          <ConnectionState />
          <ZoneSelect />
          <LanguageToggle />
          <ThemeToggle />
        </div>
      </div>
    </header>
  );
}

function Logo() {
  return (
    <svg aria-hidden viewBox="0 0 32 32" width="24" height="24">
      <rect width="32" height="32" rx="7" className="fill-accent" />
      <path
        d="M6 20h4l3-9 5 14 4-10 1.5 5H26"
        fill="none"
        className="stroke-panel"
        strokeWidth="2.6"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
