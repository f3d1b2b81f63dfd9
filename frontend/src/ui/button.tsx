import type { ComponentProps } from 'react';

const LOOKS = {
  plain: 'border border-line bg-panel text-ink-2 hover:border-line-strong hover:text-ink',
  primary: 'border border-accent bg-accent text-panel hover:opacity-90 disabled:opacity-50',
  quiet: 'text-ink-2 hover:bg-raised hover:text-ink',
} as const;

export function Button({
  look = 'plain',
  className = '',
  type = 'button',
  ...rest
}: ComponentProps<'button'> & { look?: keyof typeof LOOKS }) {
  return (
    <button
      type={type}
      className={`inline-flex h-7 items-center justify-center gap-1.5 rounded-md px-2.5 text-xs font-medium whitespace-nowrap transition-colors ${LOOKS[look]} ${className}`}
      {...rest}
    />
  );
}
