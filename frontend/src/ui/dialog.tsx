'use client';

import { type ReactNode, useEffect, useId, useRef } from 'react';

import { Icon } from './icon';

/** The browser's modal dialog: it traps the focus, closes on Escape and gives the focus back. */
export function Dialog({
  open,
  onClose,
  title,
  closeLabel,
  children,
}: {
  open: boolean;
  onClose: () => void;
  title: string;
  closeLabel: string;
  children: ReactNode;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (!dialog) return;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) dialog.close();
  }, [open]);
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === ref.current) onClose();
      }}
      className="m-auto w-[min(34rem,calc(100vw-1.5rem))] rounded-lg border border-line bg-panel p-0 shadow-2xl"
    >
      {open && (
        <div className="p-4">
          <div className="mb-3 flex items-start justify-between gap-3">
            <h2 id={id} className="text-sm font-semibold">
              {title}
            </h2>
            <button
              type="button"
              aria-label={closeLabel}
              onClick={onClose}
              className="-m-1 rounded p-1.5 text-ink-3 hover:bg-raised hover:text-ink"
            >
              <Icon name="cross" />
            </button>
          </div>
          {children}
        </div>
      )}
    </dialog>
  );
}
