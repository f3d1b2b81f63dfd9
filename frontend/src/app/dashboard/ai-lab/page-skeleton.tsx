import { PANEL_HEIGHT } from '@/ui/sizes';

/** Boxes in the places and sizes of the panels. */
export function PageSkeleton() {
  return (
    <div aria-hidden className="mx-auto max-w-[112rem]">
      <div className="h-14 border-b border-line bg-panel" />
      <div className="grid gap-3 p-3 xl:grid-cols-12">
        <Box className={`${PANEL_HEIGHT.flow} xl:col-span-12`} />
        <Box className={`${PANEL_HEIGHT.prices} xl:col-span-8`} />
        <Box className={`${PANEL_HEIGHT.prices} xl:col-span-4`} />
        <Box className={`${PANEL_HEIGHT.signals} xl:col-span-8`} />
        <Box className={`${PANEL_HEIGHT.signals} xl:col-span-4`} />
      </div>
    </div>
  );
}

function Box({ className }: { className: string }) {
  return (
    <div className={`rounded-lg border border-line bg-panel p-3 ${className}`}>
      <div className="skeleton h-4 w-28" />
    </div>
  );
}
