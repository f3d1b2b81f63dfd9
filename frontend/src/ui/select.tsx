import type { ComponentProps } from 'react';

import { Icon } from './icon';

/** The browser's own select in the page's clothes. */
export function Select({ label, className = '', ...rest }: ComponentProps<'select'> & { label: string }) {
  return (
    <span className={`relative inline-flex min-w-0 ${className}`}>
      <select
        aria-label={label}
        className="h-7 w-full min-w-0 appearance-none truncate rounded-md border border-line bg-panel pr-6 pl-2 text-xs font-medium text-ink hover:border-line-strong"
        {...rest}
      />
      <Icon name="chevron" size={12} className="pointer-events-none absolute top-2 right-1.5 text-ink-3" />
    </span>
  );
}
