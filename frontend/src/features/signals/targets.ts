import type { SignalItem } from '@/api/types';

/** Champion and challenger each hold a position of their own in a symbol. */
export const holderOf = ({ symbol, role }: SignalItem) => `${symbol}/${role}`;

/** Newest signal of every holder; `items` are oldest first. */
export function newestByHolder(items: readonly SignalItem[]): Map<string, SignalItem> {
  return new Map(items.map((item) => [holderOf(item), item]));
}

/** One target per symbol, by name: the champion's, and the challenger's where no champion has spoken. */
export function targets(items: readonly SignalItem[]): SignalItem[] {
  const bySymbol = new Map<string, SignalItem>();
  for (const item of newestByHolder(items).values()) {
    if (item.role === 'champion' || !bySymbol.has(item.symbol)) bySymbol.set(item.symbol, item);
  }
  return [...bySymbol.values()].sort((a, b) => a.symbol.localeCompare(b.symbol));
}
