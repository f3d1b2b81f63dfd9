'use client';

import { useTranslations } from 'use-intl';

import { Icon } from '@/ui/icon';
import { Segmented } from '@/ui/segmented';
import { Select } from '@/ui/select';
import { useFormats } from '@/view/formats';
import { useChosenLocale } from '@/view/intl';
import { type Locale, useView } from '@/view/state';
import { writeStored } from '@/view/stored';
import { THEMES, setTheme, useTheme } from '@/view/theme';

/** The zone in force is always named; the choice says how it is found. */
export function ZoneSelect() {
  const t = useTranslations('zone');
  const [{ tz }, setView] = useView();
  const { zone } = useFormats();
  const named = (choice: typeof tz) => (choice === tz ? t(`${choice}In`, { zone }) : t(choice));
  return (
    <Select
      label={t('label')}
      className="max-w-56"
      value={tz}
      onChange={(event) => void setView({ tz: event.target.value as typeof tz })}
    >
      {(['exchange', 'utc', 'browser'] as const).map((choice) => (
        <option key={choice} value={choice}>
          {named(choice)}
        </option>
      ))}
    </Select>
  );
}

export function LanguageToggle() {
  const t = useTranslations('language');
  const [, setView] = useView();
  const choose = (lang: Locale) => {
    writeStored('lang', lang);
    void setView({ lang });
  };
  return (
    <Segmented
      label={t('label')}
      value={useChosenLocale()}
      onChange={choose}
      options={[
        { value: 'en', label: 'EN', name: 'EN, English' },
        { value: 'pt-BR', label: 'PT', name: 'PT, Português (Brasil)' },
      ]}
    />
  );
}

const ICONS = { system: 'system', light: 'sun', dark: 'moon' } as const;

export function ThemeToggle() {
  const t = useTranslations('theme');
  const theme = useTheme();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!;
  const label = t('toggle', { now: t(theme), next: t(next) });
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      onClick={() => setTheme(next)}
      className="grid size-7 place-items-center rounded-md border border-line text-ink-2 hover:border-line-strong hover:text-ink"
    >
      <Icon name={ICONS[theme]} />
    </button>
  );
}
