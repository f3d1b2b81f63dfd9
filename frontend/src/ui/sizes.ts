/** Heights that a panel has in every state, so that nothing moves when data come. */
export const PANEL_HEIGHT = {
  flow: 'min-h-[8.25rem]',
  prices: 'min-h-[27.5rem]',
  signals: 'min-h-[30rem]',
} as const;
