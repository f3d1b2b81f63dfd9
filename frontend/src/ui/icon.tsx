/** Line icons on a 16-pixel grid; drawn here, so that no icon package is loaded. */

const PATHS = {
  check: 'M3.5 8.5l3 3 6-7',
  cross: 'M4 4l8 8M12 4l-8 8',
  sun: 'M8 5a3 3 0 100 6 3 3 0 000-6zM8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1.100 1.100M11.900 11.900L13 13M13 3l-1.100 1.100M4.100 11.900L3 13',
  moon: 'M13.500 9.500A6 6 0 016.500 2.500a6 6 0 107 7z',
  system: 'M2 3h12v8H2zM6 14h4M8 11v3',
  pause: 'M5.500 3v10M10.500 3v10',
  play: 'M5 3l8 5-8 5z',
  alert: 'M8 2L1.500 13.500h13zM8 6.500v3.500M8 11.900v.1',
  chevron: 'M4 6l4 4 4-4',
  arrow: 'M2 8h11M9.500 4.500L13 8l-3.500 3.500',
  retry: 'M13 8a5 5 0 11-1.500-3.500M13 2v3h-3',
  empty: 'M2 9l2-6h8l2 6v4H2zM2 9h3.500l1 2h3l1-2H14',
  flask: 'M6 2h4M6.700 2v4L3 13h10L9.300 6V2M5 10h6',
} as const;

export type IconName = keyof typeof PATHS;

/** An icon says nothing by itself: a word or a label stands beside it. */
export function Icon({ name, size = 16, className = '' }: { name: IconName; size?: number; className?: string }) {
  return (
    <svg
      aria-hidden
      viewBox="0 0 16 16"
      width={size}
      height={size}
      className={`shrink-0 ${className}`}
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
